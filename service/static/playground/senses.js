// The panel Senses: a word in several sentences, as points, as a table of cosines, under a mix that is dragged.

import { byId, codePoints, element, exampleButtons } from "./elements.js";
import { SENSES } from "./examples.js";
import { aligned, cosines, innerProducts, mixedProducts, plane } from "./layers.js";
import * as link from "./link.js";
import { call, floats } from "./server.js";
import { say } from "./words.js";

const MOST_OCCURRENCES = 60; // more cannot be told apart in the picture
const SHAPES = ["circle", "triangle", "rect", "rectRot", "star", "cross"]; // colours alone do not reach everybody

let shown = null; // {occurrences, products, numLayers, points}: of the last reply
let chart = null;
let page = null;

export function start(thePage) {
  page = thePage;
  exampleButtons(byId("senses-examples"), SENSES, (example) => {
    byId("senses-word").value = example.word;
    byId("senses-text").value = example.text;
    link.write({ weights: "", gamma: "" });
    page.run(show);
  });
  byId("senses-form").addEventListener("submit", (event) => {
    event.preventDefault();
    page.run(show);
  });
  byId("senses-task").addEventListener("change", (event) => {
    const task = page.tasks.find((each) => each.name === event.target.value);
    if (task) setMix(task.weights, task.gamma);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    chart?.destroy();
    chart = null;
    if (shown) draw();
  });
}

/** Fill the form from the page's address, or with the first example, and show it. */
export function open(fields) {
  byId("senses-word").value = fields.word || SENSES[0].word;
  byId("senses-text").value = fields.text || SENSES[0].text;
  return show();
}

/** The language has changed. */
export function sayAgain() {
  if (!shown) return;
  makeControls();
  draw();
}

/** The labelled occurrences as examples of a task, or null when they have fewer than two senses. */
export function examples() {
  const found = occurrencesIn(byId("senses-text").value, byId("senses-word").value.trim());
  const labelled = found.filter((each) => each.label);
  if (new Set(labelled.map((each) => each.label)).size < 2) return null;
  return labelled.map(({ text, start, end, label }) => ({ text, start, end, label, word: byId("senses-word").value.trim() }));
}

async function show() {
  const word = byId("senses-word").value.trim();
  const text = byId("senses-text").value;
  const occurrences = occurrencesIn(text, word);
  if (occurrences.length < 2) throw new Error(say("tooFew"));
  if (occurrences.length > MOST_OCCURRENCES) throw new Error(say("tooMany", MOST_OCCURRENCES));
  const reply = await call("POST", "v1/embed", {
    model: page.model(),
    inputs: occurrences.map((each) => each.text),
    spans: occurrences.map((each) => [[each.start, each.end]]),
    layer: "all",
    encoding: "base64",
  });
  const numLayers = reply.embeddings[0].shape[0];
  const layers = stacked(reply.embeddings.map((each) => floats(each.vectors)), numLayers, reply.dimension);
  shown = {
    occurrences,
    numLayers,
    products: innerProducts(layers, [numLayers, occurrences.length, reply.dimension]),
    points: null,
  };
  link.write({ word, text });
  makeControls();
  byId("senses-result").hidden = byId("senses-details").hidden = false;
  listOccurrences();
  draw();
}

/** Every place where a word begins with `word`, one entry each. Offsets are code points. */
function occurrencesIn(text, word) {
  const begins = new RegExp(`(?<![\\p{L}\\p{N}])${word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}`, "giu");
  const occurrences = [];
  text.split("\n").forEach((line, i) => {
    const [sentence, label = ""] = line.split(/\s#\s*/, 2).map((part) => part.trim());
    if (!sentence) return;
    const matches = [...sentence.matchAll(begins)];
    if (!word || matches.length === 0) throw new Error(say("notFound", i + 1, word));
    for (const match of matches) {
      const start = codePoints(sentence.slice(0, match.index)).length;
      occurrences.push({ text: sentence, label, start, end: start + codePoints(match[0]).length });
    }
  });
  return occurrences;
}

/** One array of layers x rows x dimension from one of layers x 1 x dimension for each row. */
function stacked(rows, numLayers, dimension) {
  const all = new Float32Array(numLayers * rows.length * dimension);
  rows.forEach((row, i) => {
    for (let layer = 0; layer < numLayers; layer++) {
      all.set(row.subarray(layer * dimension, (layer + 1) * dimension), (layer * rows.length + i) * dimension);
    }
  });
  return all;
}

function makeControls() {
  const fields = link.read();
  const given = (fields.weights || "").split(",").map(Number);
  const fits = fields.weights && given.length === shown.numLayers && given.every((w) => w >= 0 && w <= 1);
  const weights = fits ? given : contextual();
  byId("senses-sliders").replaceChildren(
    ...weights.map((weight, layer) => slider(`senses-layer-${layer}`, say("layer", layer), weight, 1)),
    slider("senses-gamma", say("gamma"), fields.gamma >= 0 && fields.gamma <= 1.5 && fields.gamma ? fields.gamma : 1, 1.5),
  );
  const alone = weights.map((_, chosen) => [say("only", chosen), weights.map((_, layer) => Number(layer === chosen))]);
  const presets = [...alone, [say("equal"), weights.map(() => 1 / weights.length)]];
  byId("senses-presets").replaceChildren(
    ...presets.map(([name, preset]) => {
      const button = element("button", { type: "button" }, name);
      button.addEventListener("click", () => setMix(preset, 1));
      return button;
    }),
  );
  const fitting = page.tasks.filter((task) => task.weights.length === shown.numLayers);
  byId("senses-task-label").hidden = fitting.length === 0;
  byId("senses-task").replaceChildren(
    element("option", { value: "" }, say("none")),
    ...fitting.map((task) => element("option", { value: task.name }, task.name)),
  );
}

/** The layers above the word itself in equal parts. */
function contextual() {
  return Array.from({ length: shown.numLayers }, (_, layer) => Number(layer > 0) / (shown.numLayers - 1));
}

function slider(id, label, value, max) {
  const input = element("input", { id, type: "range", min: 0, max, step: 0.01, value });
  input.addEventListener("input", () => {
    byId("senses-task").value = "";
    draw();
  });
  return element("div", { class: "slider" }, element("label", { for: id }, label), input, element("output", { for: id }));
}

function setMix(weights, gamma) {
  weights.forEach((weight, layer) => (byId(`senses-layer-${layer}`).value = weight));
  byId("senses-gamma").value = gamma;
  draw();
}

/** The sliders' weights, scaled to add up to 1, and gamma. */
function mix() {
  const raw = Array.from({ length: shown.numLayers }, (_, layer) => Number(byId(`senses-layer-${layer}`).value));
  const sum = raw.reduce((total, value) => total + value, 0);
  const weights = raw.map((value) => (sum > 0 ? value / sum : 1 / raw.length));
  return { raw, weights, gamma: Number(byId("senses-gamma").value) };
}

function draw() {
  const { raw, weights, gamma } = mix();
  weights.forEach((weight, layer) => {
    byId(`senses-layer-${layer}`).nextElementSibling.value = `${(100 * weight).toFixed(0)} %`;
  });
  byId("senses-gamma").nextElementSibling.value = gamma.toFixed(2);
  link.write({ weights: raw.join(","), gamma });

  const numRows = shown.occurrences.length;
  const mixed = mixedProducts(shown.products, weights, 1);
  shown.points = aligned(plane(mixed, numRows), shown.points);
  drawPoints(gamma, Math.sqrt(mixed[0]));
  const similarity = cosines(mixed, numRows);
  drawHeatmap(similarity);
  byId("senses-summary").textContent = summary(similarity);
}

/** length: of a vector, about. */
function drawPoints(gamma, length) {
  const labels = [...new Set(shown.occurrences.map((each) => each.label))];
  // Room for gamma at its highest, so that it moves the points and not the axes; and never so near that rounding
  // errors of equal vectors look like a picture.
  const reach = Math.max(1.6 * Math.max(...shown.points.flat().map(Math.abs)), 0.05 * length);
  const datasets = labels.map((label, i) => {
    const color = getComputedStyle(document.documentElement).getPropertyValue(`--sense-${i % SHAPES.length}`).trim();
    const members = shown.occurrences.flatMap((each, n) => (each.label === label ? [n] : []));
    return {
      label: label || byId("senses-word").value,
      data: members.map((n) => ({ x: gamma * shown.points[n][0], y: gamma * shown.points[n][1], n })),
      backgroundColor: color,
      borderColor: color,
      borderWidth: 2,
      pointStyle: SHAPES[i % SHAPES.length],
      radius: 8,
      hoverRadius: 11,
    };
  });
  chart ??= newChart();
  chart.data.datasets = datasets;
  for (const axis of [chart.options.scales.x, chart.options.scales.y]) [axis.min, axis.max] = [-reach, reach];
  chart.options.plugins.legend.display = labels.length > 1;
  chart.update("none");
}

function newChart() {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink").trim();
  const axis = { ticks: { display: false }, grid: { color: style.getPropertyValue("--line").trim() }, border: { display: false } };
  return new Chart(byId("senses-plot"), {
    type: "scatter",
    data: { datasets: [] },
    options: {
      animation: false,
      maintainAspectRatio: false,
      scales: { x: { ...axis }, y: { ...axis } },
      plugins: {
        legend: { labels: { color: ink, usePointStyle: true } },
        tooltip: { callbacks: { label: (item) => shown.occurrences[item.raw.n].text } },
      },
      onHover: (_, items) => hover(items.length ? chart.data.datasets[items[0].datasetIndex].data[items[0].index].n : null),
    },
    plugins: [{ id: "numbers", afterDatasetsDraw: (drawn) => drawNumbers(drawn, ink) }],
  });
}

function drawNumbers(drawn, ink) {
  const { ctx } = drawn;
  ctx.save();
  ctx.fillStyle = ink;
  ctx.font = "12px system-ui";
  drawn.data.datasets.forEach((dataset, i) => {
    if (!drawn.isDatasetVisible(i)) return;
    drawn.getDatasetMeta(i).data.forEach((point, k) => ctx.fillText(dataset.data[k].n + 1, point.x + 10, point.y - 8));
  });
  ctx.restore();
}

function hover(n) {
  byId("senses-hovered").replaceChildren(...(n === null ? [] : [`${n + 1}. `, ...marked(shown.occurrences[n])]));
  byId("senses-list").querySelectorAll("li").forEach((item, i) => item.classList.toggle("hovered", i === n));
}

function marked({ text, start, end }) {
  const characters = codePoints(text);
  const part = (from, to) => characters.slice(from, to).join("");
  return [part(0, start), element("mark", {}, part(start, end)), part(end)];
}

function listOccurrences() {
  byId("senses-list").replaceChildren(
    ...shown.occurrences.map((each) =>
      element("li", {}, ...marked(each), ...(each.label ? [" ", element("span", { class: "label" }, each.label)] : [])),
    ),
  );
}

function drawHeatmap(similarity) {
  const { occurrences } = shown;
  const order = occurrences.map((_, n) => n).sort((i, j) => occurrences[i].label.localeCompare(occurrences[j].label) || i - j);
  const name = (n) => `${n + 1}${occurrences[n].label ? ` ${occurrences[n].label}` : ""}`;
  // Vectors of a language model all point somewhat the same way: colours span what there is, numbers say what it is.
  const least = Math.min(...similarity);
  const head = element("tr", {}, element("td"), ...order.map((n) => element("th", { scope: "col", title: name(n) }, `${n + 1}`)));
  const rows = order.map((i) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, name(i)),
      ...order.map((j) => {
        const cosine = similarity[i * occurrences.length + j];
        return element("td", { "--share": (least < 1 ? (cosine - least) / (1 - least) : 1).toFixed(3) }, cosine.toFixed(2));
      }),
    ),
  );
  byId("senses-heatmap").replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
}

function summary(similarity) {
  const { occurrences } = shown;
  const numRows = occurrences.length;
  const others = (i) => occurrences.flatMap((_, j) => (j === i ? [] : [j]));
  const nearest = (i) => others(i).reduce((best, j) => (similarity[i * numRows + j] > similarity[i * numRows + best] ? j : best));
  if (new Set(occurrences.map((each) => each.label)).size > 1) {
    const same = occurrences.filter((each, i) => occurrences[nearest(i)].label === each.label).length;
    return say("nearestSame", same, numRows);
  }
  const pairs = occurrences.map((_, i) => [i, nearest(i)]);
  const [i, j] = pairs.reduce((best, pair) => (similarity[pair[0] * numRows + pair[1]] > similarity[best[0] * numRows + best[1]] ? pair : best));
  return say("nearestPair", Math.min(i, j) + 1, Math.max(i, j) + 1, similarity[i * numRows + j].toFixed(2));
}
