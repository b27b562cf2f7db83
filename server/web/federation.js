// Health of the federation: sites, budgets on both tiers, learning curves, quality.
import { get } from "./api.js";
import { h } from "./dom.js";
import { empty } from "./main.js";
import { plot } from "./plot.js";
import { known, number, word } from "./words.js";

const GOOD = new Set(["running", "finished", "ready"]);

export async function federationPage() {
  const found = await get("/v1/federation");
  const head = [h("h1", {}, word("fed.title")), h("p", { class: "lead" }, word("fed.lead"))];
  if (found.state === "unknown" && !found.sites.length) return [...head, empty(word("fed.none"), word("fed.none.how"))];
  return [...head, states(found), h("div", { class: "stack" }, sites(found), h("div", { class: "pair" }, curves(found), quality(found)))];
}

const stateWord = (state) => (known(`state.${state}`) ? word(`state.${state}`) : state);
const stateTag = (state) => h("span", { class: `tag ${GOOD.has(state) ? "good" : state === "dropped" ? "warn" : "bad"}` }, stateWord(state));

function states(found) {
  const scored = found.rounds.filter((each) => each["ndcg@10"] !== null);
  const last = scored.at(-1);
  const refusals = found.sites.flatMap((site) => Object.values(site.refusals)).reduce((sum, count) => sum + count, 0);
  const box = (title, value) => h("div", { class: "card state" }, h("div", { class: "soft small" }, title), h("div", { class: "big figure" }, value));
  return h("div", { class: "states" }, box(word("fed.state"), stateWord(found.state)), box(word("fed.sites"), String(found.sites.length)),
    box(word("fed.rounds"), String(found.rounds.length)), last && box(word("fed.last"), number(last["ndcg@10"], 4)), box(word("fed.refusals"), String(refusals)));
}

function sites(found) {
  if (!found.sites.length) return null;
  const rows = found.sites.some((site) => site.ledger_row !== null);
  return h("section", { class: "card" }, h("h2", {}, word("fed.table")), h("div", { class: "wide" }, h("table", {},
    h("thead", {}, h("tr", {}, [["site"], ["fed.state"], ["rounds", 1], ...(rows ? [["row", 1]] : []), ["left.central"], ["left.local"]].map(([key, number_]) => h("th", { scope: "col", class: number_ && "number" }, word(key))))),
    h("tbody", {}, found.sites.map((site) => h("tr", {}, h("th", { scope: "row" }, site.name), h("td", {}, stateTag(site.state)),
      h("td", { class: "number" }, site.rounds ?? ""), rows && h("td", { class: "number" }, site.ledger_row ?? ""), h("td", {}, budget(site.central)), h("td", {}, budget(site.local))))))));
}

function budget(tier) {
  if (!tier) return "–";
  const left = Math.max(0, tier.cap - tier.used);
  const share = left / tier.cap;
  return [h("span", { class: "figure small" }, word("left", number(left), number(tier.cap))),
    h("div", { class: `meter ${share < 0.1 ? "over" : share < 0.25 ? "near" : ""}`, "aria-hidden": "true" }, h("i", { share }))];
}

function curves(found) {
  const of = (key) => found.rounds.filter((each) => each[key] !== null && each[key] !== undefined).map((each) => [each.round, each[key]]);
  const [ndcg, loss, central, local] = [of("ndcg@10"), of("loss"), of("central_epsilon"), of("local_epsilon")];
  const legend = (...keys) => h("p", { class: "legend" }, keys.map((key, i) => h("span", {}, h("i", { class: i ? "second" : "" }), word(key))));
  const cards = [];
  if (ndcg.length > 1) cards.push(h("section", { class: "card" }, h("h2", {}, word("fed.curve")), plot("NDCG@10", [{ points: ndcg }], { xlabel: word("round") }), legend("ndcg")));
  else if (loss.length > 1) cards.push(h("section", { class: "card" }, h("h2", {}, word("fed.curve")), plot(word("loss"), [{ points: loss }], { xlabel: word("round") }), legend("loss")));
  if (central.length > 1) cards.push(h("section", { class: "card" }, h("h2", {}, word("fed.spent")), plot(word("fed.spent"), [{ points: central }, { points: local, kind: "second" }], { zero: true, xlabel: word("round") }), legend("central", "local")));
  return cards;
}

function quality(found) {
  if (!found.quality.length) return null;
  const most = Math.max(...found.quality.map((each) => each.value));
  return h("section", { class: "card" }, h("h2", {}, word("fed.quality")), h("p", { class: "soft" }, word("fed.quality.lead")), h("div", { class: "wide" }, h("table", {},
    h("tbody", {}, found.quality.map((each) => h("tr", {}, h("th", { scope: "row" }, word(`model.${each.model}`)),
      h("td", {}, h("div", { class: `meter ${each.model === "federated_private" ? "" : "steady"}`, "aria-hidden": "true" }, h("i", { share: each.value / most }))),
      h("td", { class: "number" }, number(each.value, 4), each.sd ? ` ± ${number(each.sd, 4)}` : "")))))));
}
