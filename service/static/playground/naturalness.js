// The panel Naturalness: how much each token surprises the two directions.

import { byId, codePoints, element, exampleButtons } from "./elements.js";
import { NATURALNESS } from "./examples.js";
import * as link from "./link.js";
import { call } from "./server.js";
import { say } from "./words.js";

const DARKEST = 12; // nats: a probability of one in 160,000, far below a guess from the vocabulary

let page = null;
let scored = null; // {sentences, scores} of the last reply

export function start(thePage) {
  page = thePage;
  exampleButtons(byId("naturalness-examples"), NATURALNESS, (example) => {
    byId("naturalness-text").value = example.text;
    page.run(show);
  });
  byId("naturalness-form").addEventListener("submit", (event) => {
    event.preventDefault();
    page.run(show);
  });
}

export function open(fields) {
  byId("naturalness-text").value = fields.read || NATURALNESS[0].text;
  return show();
}

export function sayAgain() {
  if (scored) draw();
}

async function show() {
  const text = byId("naturalness-text").value;
  const sentences = text.split("\n").filter((line) => line.trim());
  const reply = await call("POST", "v1/score", { model: page.model(), inputs: sentences });
  scored = { sentences, scores: reply.scores };
  link.write({ read: text });
  byId("naturalness-result").hidden = false;
  draw();
}

function draw() {
  byId("naturalness-token").textContent = "";
  byId("naturalness-list").replaceChildren(
    ...scored.scores.map((score, i) =>
      element(
        "li",
        {},
        ...colouredTokens(scored.sentences[i], score),
        " ",
        element("span", { class: "label" }, say("perplexity", score.perplexity?.toFixed(1) ?? "∞")),
      ),
    ),
  );
}

/** The sentence as it was written, each token a button in the colour of its surprise. */
function colouredTokens(sentence, { tokens, forward, backward }) {
  const characters = codePoints(sentence);
  const parts = [];
  let at = 0;
  tokens.forEach((token, t) => {
    parts.push(characters.slice(at, token.start).join(""));
    at = Math.max(at, token.end);
    const [left, right] = [forward.log_probabilities[t], backward.log_probabilities[t]];
    const surprise = Math.min(1, -(left + right) / 2 / DARKEST);
    const detail = say("tokenDetail", token.text, probability(left), probability(right));
    const button = element("button", { type: "button", class: "token", "--share": surprise.toFixed(3) }, token.text);
    const tell = () => (byId("naturalness-token").textContent = detail);
    for (const event of ["click", "focus", "mouseenter"]) button.addEventListener(event, tell);
    parts.push(button);
  });
  return [...parts, characters.slice(at).join("")];
}

const probability = (logarithm) => Math.exp(logarithm).toPrecision(2);
