// Pages, language, theme and token: everything that stays while pages come and go.
import { Fault, get, token } from "./api.js";
import { h, show } from "./dom.js";
import { federationPage } from "./federation.js";
import { modelsPage } from "./models.js";
import { trendsPage } from "./trends.js";
import { tryPage } from "./try.js";
import { current, known, number, power, use, word } from "./words.js";

const PAGES = { try: tryPage, trends: trendsPage, federation: federationPage, models: modelsPage };
const THEME = "groundswell-theme";
const main = document.getElementById("main");
let turn = 0; // a page that comes late must not overwrite the next one

export function say(text) {
  document.getElementById("say").textContent = text;
}

// Asks in a dialog; resolves to the field's value (or true), or to null where the answer is no.
export function ask({ title, text, yes, field = false }) {
  const dialog = document.getElementById("ask");
  const value = document.getElementById("ask-value");
  document.getElementById("ask-title").textContent = title;
  document.getElementById("ask-text").textContent = text;
  document.getElementById("ask-yes").textContent = yes;
  document.getElementById("ask-field").hidden = !field;
  value.value = "";
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const answer = dialog.returnValue === "yes" ? (field ? value.value.trim() : true) : null;
      value.value = "";
      resolve(answer);
    }, { once: true });
  });
}

async function askToken() {
  const given = await ask({ title: word("token.title"), text: word("token.text"), yes: word("token.use"), field: true });
  if (given === null) return;
  token.set(given);
  start();
}

export function faultCard(fault, again) {
  const reason = fault.code === "unreachable" ? word("fault.unreachable") : fault.status === 403 ? word("fault.scope") : fault.message;
  return h("section", { class: "card fault", role: "alert" },
    h("h2", {}, word("fault.title")), h("p", {}, reason),
    h("button", { type: "button", onclick: fault.status === 401 ? askToken : again }, fault.status === 401 ? word("token.button") : word("retry")));
}

export const busy = () => h("p", { class: "soft" }, h("span", { class: "busy", "aria-hidden": "true" }), word("working"));

export const empty = (title, text) => h("section", { class: "card empty" }, mark(), h("h2", {}, title), h("p", {}, text));

function mark() {
  return document.querySelector(".brand svg").cloneNode(true);
}

// Both tiers: an epsilon never stands alone.
export function promised({ central, local }) {
  const notes = [...new Set([central.note, local.note])].filter(Boolean).map((note) => (known(`note.${note}`) ? word(`note.${note}`) : `${note}. `));
  return [h("strong", {}, word("promise.central", number(central.epsilon))), " · ",
    h("strong", {}, word("promise.local", number(local.epsilon))), word("promise.delta", power(central.delta)),
    notes.map((note) => h("span", { class: "warn" }, note))];
}

async function promise(model) {
  const place = document.getElementById("promise");
  const { central, local } = model.privacy;
  if (central.epsilon === null || local.epsilon === null) {
    show(place, h("span", { class: "warn" }, word("promise.none")));
    return;
  }
  show(place, word("promise"), promised(model.privacy));
  const health = await get("/v1/federation").catch(() => null);
  if (health && health.seeded) place.append(h("span", { class: "warn" }, word("promise.seeded")));
}

function names() {
  document.documentElement.lang = current() === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = word(element.dataset.word);
  const other = document.getElementById("language");
  other.textContent = current() === "zh" ? "English" : "中文";
  other.lang = current() === "zh" ? "en" : "zh";
}

async function open() {
  const name = location.hash.replace("#/", "").split("?")[0] || "try";
  const page = PAGES[name] || tryPage;
  for (const link of document.querySelectorAll("#nav a")) {
    if (link.getAttribute("href") === `#/${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${word(`nav.${name}`)} · Groundswell`;
  const mine = ++turn;
  show(main, busy());
  try {
    const built = await page();
    if (mine === turn) show(main, built);
  } catch (fault) {
    if (!(fault instanceof Fault)) throw fault;
    if (mine === turn) show(main, faultCard(fault, open));
  }
}

async function start() {
  names();
  const open_ = open();
  try {
    const models = await get("/v1/models");
    const model = models.models.find((each) => each.version === models.default);
    if (model) await promise(model);
  } catch (fault) {
    if (!(fault instanceof Fault)) throw fault;
  }
  await open_;
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  document.getElementById("theme").setAttribute("aria-pressed", String(name === "dark"));
}

const wanted = localStorage.getItem(THEME) || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
theme(wanted);
document.getElementById("theme").addEventListener("click", () => {
  const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem(THEME, next);
  theme(next);
});
document.getElementById("language").addEventListener("click", () => {
  use(current() === "zh" ? "en" : "zh");
  start();
});
document.getElementById("token").addEventListener("click", askToken);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
window.addEventListener("hashchange", async () => {
  await open();
  main.focus({ preventScroll: true });
});
start();
