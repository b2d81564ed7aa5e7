// The panel Cloze: what fits into a blank, by both directions.

import { bar, byId, element, exampleButtons, softmax } from "./elements.js";
import { CLOZE } from "./examples.js";
import * as link from "./link.js";
import { call } from "./server.js";
import { say } from "./words.js";

let page = null;
let ranked = null; // the last reply's candidates

export function start(thePage) {
  page = thePage;
  exampleButtons(byId("cloze-examples"), CLOZE, (example) => {
    byId("cloze-text").value = example.text;
    byId("cloze-candidates").value = example.candidates;
    page.run(show);
  });
  byId("cloze-form").addEventListener("submit", (event) => {
    event.preventDefault();
    page.run(show);
  });
}

export function open(fields) {
  byId("cloze-text").value = fields.cloze || CLOZE[0].text;
  byId("cloze-candidates").value = fields.cloze ? fields.candidates || "" : CLOZE[0].candidates;
  return show();
}

export function sayAgain() {
  if (ranked) draw();
}

async function show() {
  const text = byId("cloze-text").value;
  const written = byId("cloze-candidates").value;
  const candidates = [...new Set(written.split(",").map((each) => each.trim()).filter(Boolean))];
  const body = { model: page.model(), text };
  if (candidates.length) body.candidates = candidates;
  ranked = (await call("POST", "v1/cloze", body)).candidates;
  link.write({ cloze: text, candidates: written });
  byId("cloze-result").hidden = false;
  draw();
}

function draw() {
  const forward = softmax(ranked.map((each) => each.forward));
  const backward = softmax(ranked.map((each) => each.backward));
  const columns = ["candidate", "both", "leftToRight", "rightToLeft"].map((name) => say(name));
  const head = element("tr", {}, ...columns.map((name) => element("th", { scope: "col" }, name)));
  const rows = ranked.map((each, i) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, each.text),
      ...[each.share, forward[i], backward[i]].map((share, k) =>
        element("td", {}, bar(share, `${each.text}, ${columns[k + 1]}`)),
      ),
    ),
  );
  byId("cloze-table").replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
}
