// Demand over all sites: what to promote, what to restock, what fades, and what the noise hides.
import { Fault, get } from "./api.js";
import { h, show } from "./dom.js";
import { empty, faultCard, promised, say } from "./main.js";
import { plot } from "./plot.js";
import { trendMark } from "./try.js";
import { day, known, number, percent, word } from "./words.js";

const SURGE = 0.5;
const FEW = 12; // labels in the noise that are listed at once
const MOST = 1000; // labels that the gateway tells at once
const LEAD = 2; // windows until a restock arrives
const FILTERS = {
  all: () => true,
  rising: (each) => each.trend === "rising" || (each.surge || 0) >= SURGE,
  restock: (each) => each.restock !== null && each.restock > (each.history.at(-1) || 0) * LEAD * 1.1,
  fading: (each) => each.trend === "fading",
};

export async function trendsPage() {
  const asked = new URLSearchParams(location.hash.split("?")[1] || "");
  const at = { region: asked.get("region") || "", action: asked.get("action") || "", filter: "all" };
  const offered = { regions: [], actions: [] };
  const choices = h("div", { class: "row choices" });
  const place = h("div", { class: "stack" });
  const pick = {
    region: choice("region", (name) => name),
    action: choice("action", (name) => (known(`by.${name}`) ? word(`by.${name}`) : name)),
  };
  let turn = 0; // an answer that comes late must not overwrite the next one

  function choice(key, named) {
    const select = h("select", { onchange: () => load({ [key]: select.value }) });
    const label = h("label", { class: "choice" }, h("span", {}, word(`trends.${key}`)), select);
    return { select, label, named };
  }

  function offer(found) {
    if (found) Object.assign(offered, { regions: found.regions, actions: found.actions });
    for (const [key, names] of [["region", offered.regions], ["action", offered.actions]]) {
      const { select, label, named } = pick[key];
      show(select, h("option", { value: "" }, word(`${key}.all`)), names.map((name) => h("option", { value: name }, named(name))));
      select.value = at[key];
      label.hidden = !names.length;
    }
    choices.hidden = !offered.regions.length && !offered.actions.length;
    const chosen = new URLSearchParams(["region", "action"].filter((key) => at[key]).map((key) => [key, at[key]])).toString();
    if (location.hash.startsWith("#/trends")) history.replaceState(null, "", `#/trends${chosen && `?${chosen}`}`);
  }

  async function answer() {
    try {
      return await trendsOf(at);
    } catch (fault) {
      if (!(fault instanceof Fault)) throw fault;
      if (fault.code === "no-trends") return null;
      // A region may lack the action that was chosen before, and a new champion the region.
      const dropped = { "unknown-action": "action", "unknown-region": "region" }[fault.code];
      if (!dropped || !at[dropped]) throw fault;
      at[dropped] = "";
      return answer();
    }
  }

  async function load(chosen) {
    const mine = ++turn;
    Object.assign(at, chosen);
    place.setAttribute("aria-busy", "true");
    let found, failed;
    try {
      found = await answer();
    } catch (fault) {
      if (!(fault instanceof Fault)) throw fault;
      failed = fault;
    }
    if (mine !== turn || !choices.isConnected) return;
    offer(found);
    show(place, failed ? faultCard(failed, () => load({})) : content(found, at));
    place.removeAttribute("aria-busy");
    if (found) say(word("trends.shown", found.trends.length));
  }

  show(choices, pick.region.label, pick.action.label);
  const found = await answer();
  offer(found);
  show(place, content(found, at));
  return [h("h1", {}, word("trends.title")), h("p", { class: "lead" }, word("trends.lead")), choices, place];
}

async function trendsOf(at) {
  const question = new URLSearchParams({ top: String(MOST), lead: String(LEAD) });
  for (const key of ["region", "action"]) if (at[key]) question.set(key, at[key]);
  const found = await get(`/v1/trends?${question}`);
  return { ...found, all: found.trends.length < MOST ? found.trends.length : await labels() };
}

async function labels() {
  const { models, default: served } = await get("/v1/models");
  return models.find((each) => each.version === served).labels;
}

function content(found, at) {
  if (!found) return empty(word("trends.none"), word("trends.how"));
  const clear = found.trends.filter((each) => each.resolvable);
  const hidden = found.trends.filter((each) => !each.resolvable);
  const list = h("div", { class: "trends" });
  const buttons = Object.keys(FILTERS).map((name) => h("button", { type: "button", onclick: () => choose(name) }, word(`filter.${name}`)));
  function choose(name) {
    at.filter = name;
    buttons.forEach((button, i) => {
      const on = Object.keys(FILTERS)[i] === name;
      button.setAttribute("aria-pressed", String(on));
      button.className = on ? "main" : "";
    });
    const chosen = clear.filter(FILTERS[name]);
    show(list, chosen.length ? chosen.map(card) : h("p", { class: "soft" }, word("trends.nothing")));
  }
  choose(at.filter);
  return [h("div", { class: "row apart" }, h("div", { class: "row", role: "group" }, buttons),
    h("p", { class: "soft small" }, [word("trends.asof", day(found.as_of)), found.sites !== null && word("trends.sites", found.sites), known(`unit.${found.unit}`) ? word(`unit.${found.unit}`) : found.unit].filter(Boolean).join(" · "))),
  found.region !== null && h("p", { class: "soft small", role: "note" }, word("promise.region"), promised(found.privacy)),
  found.all > found.trends.length && h("p", { class: "soft small", role: "note" }, word("trends.cut", number(found.trends.length, 0), number(found.all, 0))), list,
  hidden.length ? h("section", { class: "card" }, h("h2", {}, word("unresolved")), h("p", { class: "soft" }, word("unresolved.lead")),
    h("details", { open: hidden.length <= FEW }, h("summary", {}, word("unresolved.count", hidden.length)), h("div", { class: "chips" }, hidden.map((each) => h("span", { class: "tag" }, each.label))))) : null];
}

function card(each) {
  const past = each.history.map((y, i) => [i - each.history.length + 1, y]);
  const ahead = each.horizons.map(({ window, p50 }) => [window, p50]);
  const last = past.at(-1);
  const lines = [{ points: past, band: past.map(([x, y], i) => [x, Math.max(0, y - each.noise[i]), y + each.noise[i]]) }];
  if (last) lines.push({ kind: "ahead", points: [last, ...ahead], band: [[last[0], last[1], last[1]], ...each.horizons.map(({ window, p50, p90 }) => [window, Math.max(0, 2 * p50 - p90), p90])] });
  const first = each.horizons[0];
  const surging = (each.surge || 0) >= SURGE;
  return h("section", { class: "card trend", "aria-label": each.label },
    h("div", { class: "row apart" }, h("h3", {}, each.label), h("span", { class: `tag ${each.trend}` }, trendMark(each.trend), word(each.trend))),
    plot(`${each.label}: ${past.map(([, y]) => number(y, 0)).join(", ")}`, lines, { zero: true, xlabel: word("trends.axis") }),
    h("dl", {}, h("div", {}, h("dt", {}, word("trends.p50")), h("dd", {}, number(first.p50, 0))), h("div", {}, h("dt", {}, word("trends.p90")), h("dd", {}, number(first.p90, 0))),
      each.restock !== null && h("div", {}, h("dt", {}, word("restock.for", LEAD)), h("dd", {}, number(each.restock, 0)))),
    each.surge !== null && h("p", { class: "small" }, h("span", { class: surging ? "tag good" : "tag" }, word("surge")), " ",
      h("span", { class: "figure soft" }, word("surge.of", percent(each.surge), percent(each.surge_low ?? each.surge), percent(each.surge_high ?? each.surge)))));
}
