// Demand over all sites: what to promote, what to restock, what fades, and what the noise hides.
import { Fault, get } from "./api.js";
import { h, show } from "./dom.js";
import { empty } from "./main.js";
import { plot } from "./plot.js";
import { trendMark } from "./try.js";
import { day, known, number, percent, word } from "./words.js";

const SURGE = 0.5;
const FEW = 12; // labels in the noise that are listed at once
const FILTERS = {
  all: () => true,
  rising: (each) => each.trend === "rising" || (each.surge || 0) >= SURGE,
  restock: (each) => each.restock !== null && each.restock > (each.history.at(-1) || 0) * 1.1,
  fading: (each) => each.trend === "fading",
};

export async function trendsPage() {
  const head = [h("h1", {}, word("trends.title")), h("p", { class: "lead" }, word("trends.lead"))];
  let found;
  try {
    found = await get("/v1/trends?top=200");
  } catch (fault) {
    if (!(fault instanceof Fault) || fault.code !== "no-trends") throw fault;
    return [...head, empty(word("trends.none"), word("trends.how"))];
  }
  const clear = found.trends.filter((each) => each.resolvable);
  const hidden = found.trends.filter((each) => !each.resolvable);
  const list = h("div", { class: "trends" });
  const buttons = Object.keys(FILTERS).map((name) => h("button", { type: "button", "aria-pressed": String(name === "all"), onclick: () => choose(name) }, word(`filter.${name}`)));
  function choose(name) {
    buttons.forEach((button, i) => {
      const on = Object.keys(FILTERS)[i] === name;
      button.setAttribute("aria-pressed", String(on));
      button.className = on ? "main" : "";
    });
    const chosen = clear.filter(FILTERS[name]);
    show(list, chosen.length ? chosen.map(card) : h("p", { class: "soft" }, word("trends.nothing")));
  }
  choose("all");
  return [...head, h("div", { class: "stack" }, h("div", { class: "row apart" }, h("div", { class: "row", role: "group" }, buttons),
    h("p", { class: "soft small" }, [word("trends.asof", day(found.as_of)), found.sites !== null && word("trends.sites", found.sites), known(`unit.${found.unit}`) ? word(`unit.${found.unit}`) : found.unit].filter(Boolean).join(" · "))), list,
  hidden.length ? h("section", { class: "card" }, h("h2", {}, word("unresolved")), h("p", { class: "soft" }, word("unresolved.lead")),
    h("details", { open: hidden.length <= FEW }, h("summary", {}, word("unresolved.count", hidden.length)), h("div", { class: "chips" }, hidden.map((each) => h("span", { class: "tag" }, each.label))))) : null)];
}

function card(each) {
  const past = each.history.map((y, i) => [i - each.history.length + 1, y]);
  const ahead = each.horizons.map(({ window, p50 }) => [window, p50]);
  const last = past.at(-1);
  const lines = [{ points: past, band: past.map(([x, y]) => [x, Math.max(0, y - each.noise), y + each.noise]) }];
  if (last) lines.push({ kind: "ahead", points: [last, ...ahead], band: [[last[0], last[1], last[1]], ...each.horizons.map(({ window, p50, p90 }) => [window, Math.max(0, 2 * p50 - p90), p90])] });
  const first = each.horizons[0];
  const surging = (each.surge || 0) >= SURGE;
  return h("section", { class: "card trend", "aria-label": each.label },
    h("div", { class: "row apart" }, h("h3", {}, each.label), h("span", { class: `tag ${each.trend}` }, trendMark(each.trend), word(each.trend))),
    plot(`${each.label}: ${past.map(([, y]) => number(y, 0)).join(", ")}`, lines, { zero: true, xlabel: word("trends.axis") }),
    h("dl", {}, h("div", {}, h("dt", {}, word("trends.p50")), h("dd", {}, number(first.p50, 0))), h("div", {}, h("dt", {}, word("trends.p90")), h("dd", {}, number(first.p90, 0))),
      each.restock !== null && h("div", {}, h("dt", {}, word("restock")), h("dd", {}, number(each.restock, 0)))),
    each.surge !== null && h("p", { class: "small" }, h("span", { class: surging ? "tag good" : "tag" }, word("surge")), " ",
      h("span", { class: "figure soft" }, word("surge.of", percent(each.surge), percent(each.surge_low ?? each.surge), percent(each.surge_high ?? each.surge)))));
}
