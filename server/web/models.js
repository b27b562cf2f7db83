// Model versions: which one answers, what each promises, promote and roll back.
import { Fault, get, post } from "./api.js";
import { h, show } from "./dom.js";
import { ask, faultCard, say } from "./main.js";
import { day, known, number, word } from "./words.js";

const NUMBERS = new Set(["labels", "central", "local", "ndcg"]);

export async function modelsPage() {
  const place = h("div", { class: "stack" });
  table(place, await get("/v1/models"));
  return [h("h1", {}, word("nav.models")), h("p", { class: "lead" }, word("models.lead")), place];
}

function table(place, found, fault) {
  const several = found.models.length > 1;
  const act = (question, path, done) => async () => {
    if (!(await ask(question))) return;
    try {
      const after = await post(path);
      table(place, after);
      say(word("done.promote", after.default));
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      table(place, found, error);
    }
  };
  const promote = (version) => act({ title: word("promote.title", version), text: word("promote.text", version, found.default), yes: word("promote") }, `/v1/models/${version}/promote`);
  const rollback = act({ title: word("rollback.title"), text: word("rollback.text", found.default), yes: word("rollback") }, "/v1/rollback");
  const heads = ["version", "aliases", "created", "labels", "window", "asof", "central", "local", "ndcg"];
  show(place, fault && faultCard(fault, () => table(place, found)),
    h("section", { class: "card" }, h("div", { class: "row apart" }, h("h2", {}, word("models.title")), several && found.default && h("button", { type: "button", id: "rollback", onclick: rollback }, word("rollback"))),
      h("div", { class: "wide" }, h("table", {}, h("thead", {}, h("tr", {}, heads.map((key) => h("th", { scope: "col", class: NUMBERS.has(key) && "number" }, word(key))), several && h("th", {}, h("span", { class: "unseen" }, word("promote"))))),
        h("tbody", {}, found.models.map((model) => h("tr", {}, h("th", { scope: "row" }, model.version),
          h("td", {}, model.aliases.map((alias) => [h("span", { class: `tag ${alias === "champion" ? "good" : ""}` }, known(alias) ? word(alias) : alias), " "])),
          h("td", {}, model.created ? day(model.created) : "–"), h("td", { class: "number" }, String(model.labels)), h("td", {}, model.window),
          h("td", {}, model.statistics_as_of ? day(model.statistics_as_of) : "–"), h("td", { class: "number" }, epsilon(model.privacy.central)), h("td", { class: "number" }, epsilon(model.privacy.local)),
          h("td", { class: "number" }, model.metrics["ndcg@10"] === undefined ? "–" : number(model.metrics["ndcg@10"], 4)),
          several && h("td", {}, !model.aliases.some((alias) => alias.startsWith("champion")) && h("button", { type: "button", class: "small", onclick: promote(model.version) }, word("promote"), h("span", { class: "unseen" }, ` ${model.version}`))))))))));
}

const epsilon = (tier) => (tier.epsilon === null ? "–" : number(tier.epsilon));
