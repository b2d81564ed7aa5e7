// The panel Tasks: what has been learned, and a place to try it.

import { bar, byId, codePoints, element } from "./elements.js";
import { call } from "./server.js";
import * as senses from "./senses.js";
import { say } from "./words.js";

const POLL_MS = 400;

let page = null;
let chosen = null; // the task that is tried

export function start(thePage) {
  page = thePage;
  byId("tasks-learn").addEventListener("click", () => page.run(learn));
  byId("tasks-form").addEventListener("submit", (event) => {
    event.preventDefault();
    page.run(predict);
  });
}

export async function open() {
  await page.readTasks();
  draw();
}

export function sayAgain() {
  draw();
}

function draw() {
  byId("tasks-none").hidden = page.tasks.length > 0;
  byId("tasks-list").replaceChildren(...page.tasks.map(card));
  if (chosen) choose(page.tasks.find((task) => task.name === chosen.name) ?? null);
}

function card(task) {
  const button = element("button", { type: "button" }, say("tryIt"));
  button.setAttribute("aria-label", `${say("tryIt")}: ${task.name}`);
  button.addEventListener("click", () => {
    choose(task);
    byId("tasks-text").focus();
  });
  const weights = task.weights.map((weight, layer) =>
    element("li", {}, `${say("layer", layer)} `, bar(weight, `${task.name}, ${say("layer", layer)}`)),
  );
  return element(
    "li",
    { class: "card" },
    element("h2", {}, task.name),
    element("p", { class: "hint" }, `${say("kinds")[task.kind]} · ${task.model}`),
    element("ul", { class: "weights", "aria-label": say("layerWeights", task.name) }, ...weights),
    ...(task.verdict ? [element("p", { lang: "en" }, task.verdict)] : []),
    button,
  );
}

function choose(task) {
  chosen = task;
  byId("tasks-form").hidden = task === null;
  if (task === null) return;
  byId("tasks-chosen").textContent = task.name;
  byId("tasks-word-field").hidden = task.kind !== "sense";
  byId("tasks-word").required = task.kind === "sense";
  byId("tasks-result").replaceChildren();
}

async function predict() {
  if (chosen.num_labels === 0) throw new Error(say("noHead"));
  const text = byId("tasks-text").value.trim();
  const words = text.split(/\s+/);
  const input = { classify: { text }, tag: { words }, sense: chosen.kind === "sense" ? senseInput(text) : null }[chosen.kind];
  const path = `v1/tasks/${encodeURIComponent(chosen.name)}/predict`;
  const [prediction] = (await call("POST", path, { inputs: [input] })).predictions;
  byId("tasks-result").replaceChildren(...{ classify: shares, sense: senseShares, tag: (told) => taggedWords(words, told) }[chosen.kind](prediction));
}

function senseInput(text) {
  const word = byId("tasks-word").value.trim();
  const at = text.toLowerCase().indexOf(word.toLowerCase());
  if (at < 0) throw new Error(say("notFound", 1, word));
  const start = codePoints(text.slice(0, at)).length;
  return { text, start, end: start + codePoints(word).length, word };
}

function senseShares(prediction) {
  return prediction.known ? shares(prediction) : [element("p", {}, say("unknownWord", prediction.word))];
}

function shares({ label, probabilities }) {
  const rows = Object.entries(probabilities).map(([name, share]) =>
    element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, bar(share, name))),
  );
  return [element("p", {}, element("strong", {}, label)), element("table", {}, element("tbody", {}, ...rows))];
}

function taggedWords(words, { labels, probabilities }) {
  const rows = words.map((word, i) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, word),
      element("td", {}, labels[i]),
      element("td", {}, bar(probabilities[i][labels[i]], `${word}: ${labels[i]}`)),
    ),
  );
  return [element("table", {}, element("tbody", {}, ...rows))];
}

/** Fit a sense task to the labelled sentences of the panel Senses. */
async function learn() {
  const examples = senses.examples();
  if (examples === null) throw new Error(say("labelsNeeded"));
  const name = `senses-${page.model()}`;
  const path = `v1/tasks/${encodeURIComponent(name)}/fit`;
  await call("POST", path, { kind: "sense", model: page.model(), examples });
  for (;;) {
    const fit = await call("GET", path);
    if (fit.state === "done") break;
    if (fit.state === "failed" || fit.state === "cancelled") throw new Error(fit.message);
    page.tell(say("learning", Math.round(100 * fit.progress)));
    await new Promise((wake) => setTimeout(wake, POLL_MS));
  }
  page.tell(say("learned", name));
  await open();
  choose(page.tasks.find((task) => task.name === name));
  byId("tasks-word").value = byId("senses-word").value;
}
