// The try-it page: a history in words becomes interests, items, and reasons.
import { Fault, get, post } from "./api.js";
import { h, show } from "./dom.js";
import { busy, faultCard, say } from "./main.js";
import { current, day, days, known, number, percent, points, span, word } from "./words.js";

const EXAMPLES = ["example.1", "example.2", "example.3"];
const SHOWN = 8; // interests on the page
const NOTED = 1.05; // lift from which a label is named where none rises
const state = { typed: null, language: null };

export async function tryPage() {
  const models = await get("/v1/models");
  const model = models.models.find((each) => each.version === models.default);
  const window_ = span(model && model.window);
  const field = h("textarea", { id: "typed", name: "typed", spellcheck: false, placeholder: word("try.place"), "aria-describedby": "typed-lead" });
  if (state.typed === null || state.language !== current()) state.typed = word("example.1");
  state.language = current();
  field.value = state.typed;
  const understood = h("div", { id: "understood", "aria-live": "polite" });
  const answer = h("div", { id: "answer", class: "stack" });
  const form = h("form", { class: "card", onsubmit: (event) => { event.preventDefault(); forecast(); } },
    h("label", { for: "typed" }, h("h2", {}, word("try.label"))), field,
    h("p", { class: "soft small" }, word("try.examples")),
    h("div", { class: "chips" }, EXAMPLES.map((key) => h("button", { type: "button", onclick: () => { field.value = word(key); forecast(); } }, word(key)))),
    h("div", { class: "row end" }, h("button", { class: "main", type: "submit" }, word("try.go"))), understood);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); forecast(); }
  });

  let turn = 0; // an answer that comes late must not overwrite the next one
  async function forecast() {
    const mine = ++turn;
    state.typed = field.value;
    show(answer, busy());
    try {
      const typed = await post("/v1/typed", { text: field.value });
      if (mine !== turn) return;
      show(understood, understoodList(typed));
      const events = typed.events.map(({ time, action, text, label }) => ({ time, action, text, ...(label ? { label } : {}) }));
      const history = { events, at: typed.now };
      const found = await post("/v1/predict", { ...history, top: 1000 });
      if (mine !== turn) return;
      const items = h("div", {});
      show(answer, interestsCard(found, history, window_), items);
      say(`${word("interests", window_)}: ${found.interests.slice(0, 3).map((each) => each.label).join(", ")}`);
      recommend(items, history, false);
    } catch (fault) {
      if (!(fault instanceof Fault)) throw fault;
      if (mine === turn) show(answer, faultCard(fault, forecast));
    }
  }

  forecast();
  return [h("h1", {}, word("try.title")), h("p", { class: "lead", id: "typed-lead" }, word("try.lead", window_)), h("div", { class: "two" }, form, answer)];
}

function understoodList({ events, unread }) {
  if (!events.length) return [];
  return [h("h3", {}, word("try.understood")), h("ul", { class: "events" }, events.map((event) =>
    h("li", {}, h("span", { class: "tag" }, act(event.action)), h("span", {}, event.text, " ",
      event.label ? h("span", { class: "soft small" }, `→ ${event.label}`) : h("span", { class: "soft small" }, `(${word("try.nolabel")})`)),
    h("span", { class: "soft small figure" }, day(event.time))))),
  unread.length ? h("p", { class: "small", id: "unread", role: "note" }, h("span", { class: "warn" }, word("try.unread", unread.join(word("comma"))))) : null];
}

const act = (action) => (known(`act.${action}`) ? word(`act.${action}`) : action);

function interestsCard(found, history, window_) {
  const shown = found.interests.slice(0, SHOWN);
  const most = Math.max(...shown.map((each) => each.probability));
  const above = found.interests.filter((each) => each.lift >= NOTED).sort((a, b) => b.lift - a.lift);
  const rising = above.filter((each) => each.trend === "rising");
  const risen = (rising.length ? rising : above).slice(0, SHOWN);
  return h("section", { class: "card", "aria-labelledby": "interests-title" },
    h("h2", { id: "interests-title" }, word("interests", window_)),
    found.basis === "prior" && h("p", { class: "tag warn" }, word("prior")),
    risen.length && found.basis !== "prior" ? h("div", { id: "risen" }, h("h3", {}, word(rising.length ? "risen" : "risen.none")), h("ul", { class: "chips" }, risen.map((each) =>
      h("li", { class: `tag ${each.trend}` }, trendMark(each.trend), each.label, " ", h("span", { class: "figure" }, `×${number(each.lift, 1)}`))))) : null,
    h("ol", { class: "interests" }, shown.map((each) => interest(each, history, most))));
}

function interest(each, history, most) {
  const why = h("div", { hidden: true });
  const button = h("button", { type: "button", class: "small", "aria-expanded": "false", onclick: toggle }, word("why"), h("span", { class: "unseen" }, ` ${each.label}`));
  async function toggle() {
    const opening = why.hidden;
    why.hidden = !opening;
    button.setAttribute("aria-expanded", String(opening));
    button.firstChild.textContent = opening ? word("hide") : word("why");
    if (opening && !why.childNodes.length) {
      show(why, busy());
      try {
        show(why, reasons(await post("/v1/explain", { ...history, label: each.label })));
      } catch (fault) {
        if (!(fault instanceof Fault)) throw fault;
        show(why, faultCard(fault, toggle));
      }
    }
  }
  return h("li", { class: "interest" },
    h("div", { class: "head" },
      h("div", {}, h("span", { class: "name" }, each.label), h("span", { class: `tag ${each.trend}` }, trendMark(each.trend), word(each.trend)), h("span", { class: "advice" }, word(`advice.${each.trend}`))),
      h("div", {}, h("span", { class: "soft small figure" }, word("lift", number(each.lift, 1))), h("strong", { class: "figure" }, percent(each.probability)), button)),
    h("div", { class: `meter ${each.trend}`, "aria-hidden": "true" }, h("i", { share: each.probability / most })), why);
}

export const trendMark = (trend) => ({ rising: "▲ ", steady: "● ", fading: "▼ " })[trend];

function reasons(found) {
  const largest = Math.max(...found.contributions.map((each) => Math.abs(each.contribution)), 1e-9);
  const part = (value) => h("div", { class: "part", "aria-hidden": "true" },
    h("span", {}, value < 0 && h("i", { class: "down", share: -value / largest })), h("span", {}, value >= 0 && h("i", { class: "up", share: value / largest })));
  return h("section", { class: "why", "aria-label": word("why.title", found.label) },
    h("p", { class: "small" }, h("strong", {}, word("why.habit")), habit(found.habit)),
    h("p", { class: "small soft" }, word("why.base", percent(found.baseline)), " → ", word("why.total", percent(found.probability))),
    h("div", { class: "wide" }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, word("why.event")), h("th", { scope: "col" }, h("span", { class: "unseen" }, word("why.adds"))), h("th", { scope: "col", class: "number" }, word("why.adds")))),
      h("tbody", {}, found.contributions.map((each) => h("tr", {},
        h("td", {}, each.what === "everything else" ? word("why.else") : `${act(each.action)} ${each.what}`, " ",
          h("span", { class: "soft small" }, day(each.time), each.events > 1 ? ` (${word("why.more", each.events - 1)})` : "")),
        h("td", {}, part(each.contribution)), h("td", { class: "number" }, points(each.contribution))))))));
}

function habit({ times, last_days: last, every_days: every }) {
  if (!times) return word("habit.never");
  if (times === 1 || every === null) return word("habit.once", days(Math.floor(last)));
  return word("habit.times", times, days(Math.floor(last)), days(Math.round(every)));
}

async function recommend(place, history, onlyNew) {
  try {
    const found = await post("/v1/recommend", { ...history, top: 6, filters: { only_new: onlyNew, per_label: 2 } });
    const only = h("input", { type: "checkbox", id: "only-new", onchange: () => recommend(place, history, only.checked) });
    only.checked = onlyNew;
    show(place, h("section", { class: "card", "aria-labelledby": "recommend-title" },
      h("div", { class: "row apart" }, h("h2", { id: "recommend-title" }, word("recommend")), h("label", { class: "row small" }, only, word("only.new"))),
      h("div", { class: "wide" }, h("table", {}, h("caption", {}, word("recommend.lead")),
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, word("item")), h("th", { scope: "col" }, word("label")), h("th", { scope: "col" }, word("reason.head")), h("th", { scope: "col", class: "number" }, word("score")))),
        h("tbody", {}, found.items.map((each) => h("tr", {}, h("td", {}, h("strong", {}, each.item)), h("td", {}, each.label),
          h("td", {}, h("span", { class: `tag ${each.trend}` }, trendMark(each.trend), word(each.trend)), " ", h("span", { class: "soft small" }, each.uses ? word("reason.used", each.uses) : word("reason.new"))),
          h("td", { class: "number" }, percent(each.score)))))))));
  } catch (fault) {
    if (!(fault instanceof Fault)) throw fault;
    show(place, faultCard(fault, () => recommend(place, history, onlyNew)));
  }
}
