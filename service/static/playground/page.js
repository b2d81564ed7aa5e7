// The page: panels, language, model, key, errors, and its address.

import * as cloze from "./cloze.js";
import { byId, element } from "./elements.js";
import * as link from "./link.js";
import * as naturalness from "./naturalness.js";
import * as senses from "./senses.js";
import { call, setKey } from "./server.js";
import * as tasks from "./tasks.js";
import { say, speak } from "./words.js";

const PANELS = { senses, cloze, naturalness, tasks };
const opened = new Set();

/** What the panels are given. */
const page = {
  tasks: [], // those of the chosen model
  model: () => byId("model").value,
  tell,
  run,
  readTasks,
};

let running = 0; // the newest run: an older one that ends later says nothing

/** Do what a person asked for; what goes wrong is said in a sentence. */
async function run(action) {
  const mine = ++running;
  byId("error").hidden = true;
  byId("main").setAttribute("aria-busy", "true");
  tell(say("working"));
  try {
    await action();
    if (mine === running) tell("");
  } catch (error) {
    if (error.status === 401) askForKey(action);
    if (mine === running) complain(error);
  } finally {
    if (mine === running) byId("main").removeAttribute("aria-busy");
  }
}

function tell(sentence) {
  byId("status").textContent = sentence;
}

function complain(error) {
  tell("");
  byId("error").textContent = error.status === 0 ? say("unreachable") : error.message;
  byId("error").hidden = false;
}

let waiting = null; // what a key is asked for

function askForKey(action) {
  waiting = action;
  byId("key-form").hidden = false;
  byId("key").focus();
}

async function readTasks() {
  const all = (await call("GET", "v1/tasks")).tasks;
  page.tasks = all.filter((task) => task.model === page.model());
}

async function readModels() {
  const models = (await call("GET", "v1/models")).data.map((model) => model.id).filter((id) => !id.includes(":"));
  byId("model").replaceChildren(...models.map((id) => element("option", { value: id }, id)));
  const wanted = link.read().model;
  if (models.includes(wanted)) byId("model").value = wanted;
}

async function begin() {
  await readModels();
  await openPanel();
}

/** The panel of the page's address. Its first opening fills and shows it. */
async function openPanel() {
  const fields = link.read();
  const name = fields.panel in PANELS ? fields.panel : "senses";
  for (const each of Object.keys(PANELS)) {
    const tab = byId(`tab-${each}`);
    tab.setAttribute("aria-selected", String(each === name));
    tab.tabIndex = each === name ? 0 : -1;
    byId(`panel-${each}`).hidden = each !== name;
  }
  if (opened.has(name)) return;
  opened.add(name);
  try {
    if (name === "senses") await readTasks().catch(withoutStore);
    await PANELS[name].open(fields);
  } catch (error) {
    opened.delete(name);
    throw error;
  }
}

/** The store of tasks may be away, or closed to this key, while the model answers: senses do without its mixes. */
function withoutStore(error) {
  if (error.status === 401 || error.status === 0) throw error;
}

function chooseLanguage(name) {
  byId("language").value = speak(name);
  for (const panel of opened) PANELS[panel].sayAgain();
}

function start() {
  const names = Object.keys(PANELS);
  chooseLanguage(link.read().lang || (navigator.language.startsWith("ko") ? "ko" : "en"));
  for (const panel of Object.values(PANELS)) panel.start(page);
  for (const name of names) {
    byId(`tab-${name}`).addEventListener("click", () => {
      link.write({ panel: name });
      run(openPanel);
    });
  }
  document.querySelector('[role="tablist"]').addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const at = names.findIndex((name) => byId(`tab-${name}`) === document.activeElement);
    const next = byId(`tab-${names[(at + step + names.length) % names.length]}`);
    next.focus();
    next.click();
  });
  byId("language").addEventListener("change", (event) => {
    link.write({ lang: event.target.value });
    chooseLanguage(event.target.value);
  });
  byId("model").addEventListener("change", (event) => {
    link.write({ model: event.target.value });
    opened.clear();
    run(openPanel);
  });
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    setKey(byId("key").value);
    byId("key").value = "";
    byId("key-form").hidden = true;
    run(waiting);
  });
  byId("copy-link").addEventListener("click", () =>
    navigator.clipboard.writeText(location.href).then(
      () => tell(say("copied")),
      () => tell(say("notCopied")),
    ),
  );
  addEventListener("hashchange", () => location.reload()); // a link pasted into this tab's address bar
  run(begin);
}

start();
