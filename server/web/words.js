// Everything that the page says, in both languages.
const WORDS = {
  en: {
    skip: "Skip to the page", cancel: "Cancel", theme: "Dark", working: "Working…", points: "{0} points",
    "nav.try": "Try it", "nav.trends": "Trends", "nav.federation": "Federation", "nav.models": "Models",
    foot: "A history typed here is given to the coordinator. For your own shoppers, ask your site's own service: site score.",
    "promise": "Privacy of this model: ", "promise.central": "central ε {0}", "promise.local": "local ε {0}", "promise.delta": " at δ {0}. ",
    "promise.none": "This model was trained without privacy: for comparison only.", "promise.seeded": "Rehearsal: seeded noise, not a release.",
    "token.button": "Token", "token.title": "This gateway asks for a token", "token.text": "Paste the token that “groundswell token create” printed. It is kept until this tab closes.", "token.use": "Use it",
    "fault.title": "That did not work", "fault.unreachable": "The gateway can't be reached.", "fault.scope": "Your token does not allow this page.", "retry": "Try again",
    "try.title": "What will this shopper want next?", "try.lead": "Type what a shopper did, in order. The federation's model answers with the interests of the coming {0}.",
    "try.label": "The shopper's history", "try.place": "bought coffee 8 days ago; searched smartwatch; viewed fitness band", "try.go": "Forecast",
    "try.understood": "Understood as", "try.nolabel": "free text", "comma": ", ", "try.unread": "This model's language model hardly knows the script of: {0}. Where such words land is chance. A multilingual backbone ([model].backbone) would read them.", "try.examples": "Examples",
    "example.1": "bought coffee 15 days ago; bought coffee 8 days ago; bought coffee yesterday",
    "example.2": "searched smartwatch; viewed fitness band", "example.3": "bought diapers 20 days ago; bought baby food 6 days ago; viewed baby wipes",
    "act.purchase": "bought", "act.view": "viewed", "act.search": "searched", "act.cart": "in cart",
    "interests": "Interests of the coming {0}", "prior": "Nothing is known of this shopper: this is what all shoppers do.",
    risen: "Rising most", "risen.none": "Nothing rises clearly; most above usual:", rising: "rising", steady: "steady", fading: "fading", "advice.rising": "promote now", "advice.steady": "keep in stock", "advice.fading": "let it rest",
    "lift": "{0}× usual", why: "Why?", hide: "Hide", "of": "{0} of actions",
    "why.title": "Why {0}?", "why.base": "Without any history: {0}", "why.total": "With this history: {0}", "why.adds": "adds", "why.event": "event", "why.more": "and {0} more", "why.else": "everything else", "why.habit": "Habit: ",
    "habit.never": "never bought before", "habit.once": "bought once, last {0} ago", "habit.times": "bought {0} times, last {1} ago, usually every {2}", "days": "{0} days", "day": "1 day", "day.less": "less than a day",
    recommend: "Recommend", "recommend.lead": "Items that fit these interests", item: "item", label: "category", reason: "why", score: "score", "reason.used": "used {0}× before", "reason.new": "new to this shopper", "only.new": "Only new items", "reason.head": "why",
    "trends.title": "What moves over the shops", "trends.lead": "Demand of the sites together, with the privacy noise counted in. Shops see their own exact counts with site trends.",
    "trends.none": "No demand has been released yet", "trends.how": "The coordinator releases it with the next run; it costs a part of the privacy budget.",
    "trends.region": "Where", "region.all": "All sites", "trends.action": "Counted by", "action.all": "All actions", "by.purchase": "Purchases", "by.view": "Views", "by.search": "Searches", "by.cart": "In cart", "trends.shown": "{0} categories shown",
    "promise.region": "This region's own release: ", "note.this release alone; each site's ledger adds it to all others": "This release alone; each site's ledger adds it to all others. ", "note.alone, the local tier protects little; this rests on secure aggregation": "Alone, the local tier protects little; this rests on secure aggregation. ",
    "trends.asof": "as of {0}", "trends.sites": "{0} sites", "unresolved.count": "{0} categories", "trends.axis": "windows from now", "unit.shoppers a window, very active ones counted in part": "shoppers a window, very active ones counted in part", "trends.p50": "expected", "trends.p90": "at most (90 %)", "restock.for": "Restock for {0} windows", "trends.cut": "The {0} categories of the largest demand are shown, of {1} in all. What is said of the noise counts these alone.", "surge": "surge", "surge.of": "{0} ({1} to {2})", "unresolved": "Not resolvable", "unresolved.lead": "For these the privacy noise is larger than the signal, so no forecast is given.",
    "filter.all": "All", "filter.rising": "Promote", "filter.restock": "Restock", "filter.fading": "Fading", "trends.next": "next window", "trends.nothing": "Nothing here at the moment.",
    "fed.title": "Health of the federation", "fed.lead": "Who takes part, how far the run is, and how much privacy budget is left.",
    "fed.none": "Nothing is known of a federation", "fed.none.how": "This gateway serves a model alone.",
    "fed.state": "State", "fed.sites": "Sites", "fed.rounds": "Rounds closed", "fed.last": "Last score (NDCG@10)", "fed.refusals": "Refusals",
    "state.running": "running", "state.finished": "finished", "state.paused": "paused", "state.stopped": "stopped", "state.failed": "failed", "state.starting": "starting", "state.interrupted": "interrupted", "state.ready": "ready", "state.dropped": "absent", "state.unknown": "unknown",
    "fed.table": "Sites and what their users' budget has left", site: "site", "rounds": "rounds", "row": "ledger row", "left.central": "left, central tier", "left.local": "left, local tier", "left": "{0} of ε {1}",
    "fed.curve": "Learning curve", "fed.spent": "Budget spent", "fed.quality": "How good it is", "fed.quality.lead": "NDCG@10 on weeks the model never saw; higher is better.", round: "round", loss: "loss", central: "central ε", local: "local ε",
    "model.federated_private": "this federation, private", "model.backoff": "own habit + popularity", "model.personal_frequency": "own habit alone", "model.popularity": "popularity alone",
    "models.title": "Model versions", "models.lead": "The champion answers by default. A version is signed and never changes.",
    version: "version", created: "made", aliases: "answers as", promote: "Promote", rollback: "Roll back", "signed": "signed", "unsigned": "not signed", ndcg: "NDCG@10", labels: "labels", window: "window", "asof": "statistics until",
    "promote.title": "Promote {0}?", "promote.text": "From now on {0} answers by default instead of {1}.", "rollback.title": "Roll back?", "rollback.text": "The champion before {0} answers again.", champion: "champion", latest: "latest", "done.promote": "{0} answers now.",
  },
  zh: {
    skip: "跳到正文", cancel: "取消", theme: "深色", working: "正在计算…", points: "{0} 个百分点",
    "nav.try": "试一试", "nav.trends": "趋势", "nav.federation": "联盟", "nav.models": "模型",
    foot: "在此输入的历史会交给协调方。查询本店顾客请用站点自己的服务：site score。",
    "promise": "此模型的隐私保证：", "promise.central": "中心 ε {0}", "promise.local": "本地 ε {0}", "promise.delta": "（δ 为 {0}）。",
    "promise.none": "此模型训练时未加隐私保护，仅供比较。", "promise.seeded": "演练：噪声可复现，不是正式发布。",
    "token.button": "令牌", "token.title": "此网关需要令牌", "token.text": "请粘贴 “groundswell token create” 给出的令牌。关闭标签页后即忘记。", "token.use": "使用",
    "fault.title": "没有成功", "fault.unreachable": "无法连接网关。", "fault.scope": "您的令牌无权查看此页。", "retry": "重试",
    "try.title": "这位顾客接下来想要什么？", "try.lead": "按顺序输入顾客做过的事，联盟模型会给出未来 {0} 的兴趣。",
    "try.label": "顾客的历史", "try.place": "8天前买了咖啡；搜索智能手表；浏览运动手环", "try.go": "预测",
    "try.understood": "理解为", "try.nolabel": "自由文本", "comma": "、", "try.unread": "此模型的语言模型几乎不认识这些文字：{0}。它们落在哪个品类全凭偶然；请改用多语言模型（[model].backbone）。", "try.examples": "示例",
    "example.1": "15天前买了coffee；8天前买了coffee；昨天买了coffee",
    "example.2": "搜索智能手表；浏览运动手环", "example.3": "20天前买了diapers；6天前买了baby food；浏览baby wipes",
    "act.purchase": "购买", "act.view": "浏览", "act.search": "搜索", "act.cart": "加购",
    "interests": "未来 {0} 的兴趣", "prior": "对这位顾客一无所知：这是所有顾客的平均情况。",
    risen: "上升最快", "risen.none": "没有明显上升的兴趣；高于平时最多的：", rising: "上升", steady: "平稳", fading: "消退", "advice.rising": "现在促销", "advice.steady": "保持库存", "advice.fading": "暂缓推广",
    "lift": "平时的 {0} 倍", why: "为什么？", hide: "收起", "of": "占行为的 {0}",
    "why.title": "为什么是 {0}？", "why.base": "没有历史时：{0}", "why.total": "有此历史时：{0}", "why.adds": "贡献", "why.event": "事件", "why.more": "另有 {0} 次", "why.else": "其余全部", "why.habit": "习惯：",
    "habit.never": "以前从未购买", "habit.once": "买过一次，{0}前", "habit.times": "买过 {0} 次，最近一次在 {1}前，通常每 {2}一次", "days": "{0} 天", "day": "1 天", "day.less": "不到一天",
    recommend: "推荐", "recommend.lead": "符合这些兴趣的商品", item: "商品", label: "品类", reason: "理由", score: "得分", "reason.used": "用过 {0} 次", "reason.new": "对这位顾客是新的", "only.new": "只看新商品", "reason.head": "理由",
    "trends.title": "各店铺的动向", "trends.lead": "各站点合计的需求，已计入隐私噪声。各店可用 site trends 查看自己的精确数字。",
    "trends.none": "尚未发布需求数据", "trends.how": "协调方会在下一次运行时发布，这会用去一部分隐私预算。",
    "trends.region": "范围", "region.all": "所有站点", "trends.action": "按行为", "action.all": "所有行为", "by.purchase": "购买", "by.view": "浏览", "by.search": "搜索", "by.cart": "加购", "trends.shown": "显示 {0} 个品类",
    "promise.region": "此地区单独的发布：", "note.this release alone; each site's ledger adds it to all others": "仅指这一次发布；各站点的账本会把它与其他发布累加。", "note.alone, the local tier protects little; this rests on secure aggregation": "单靠本地层保护很弱；这里依靠安全聚合。",
    "trends.asof": "截至 {0}", "trends.sites": "{0} 个站点", "unresolved.count": "{0} 个品类", "trends.axis": "距今的期数", "unit.shoppers a window, very active ones counted in part": "每期顾客数，特别活跃者只计一部分", "trends.p50": "预期", "trends.p90": "至多（90%）", "restock.for": "补货（{0} 期）", "trends.cut": "仅显示需求最大的 {0} 个品类，共 {1} 个。噪声的统计只针对这些品类。", "surge": "激增", "surge.of": "{0}（{1} 至 {2}）", "unresolved": "无法分辨", "unresolved.lead": "这些品类的隐私噪声大于信号，因此不给出预测。",
    "filter.all": "全部", "filter.rising": "促销", "filter.restock": "补货", "filter.fading": "消退", "trends.next": "下一期", "trends.nothing": "目前没有。",
    "fed.title": "联盟的状况", "fed.lead": "谁在参与，进行到哪一步，还剩多少隐私预算。",
    "fed.none": "没有联盟的信息", "fed.none.how": "此网关只提供一个模型。",
    "fed.state": "状态", "fed.sites": "站点", "fed.rounds": "已完成轮次", "fed.last": "最近得分（NDCG@10）", "fed.refusals": "拒绝",
    "state.running": "进行中", "state.finished": "已完成", "state.paused": "已暂停", "state.stopped": "已停止", "state.failed": "失败", "state.starting": "启动中", "state.interrupted": "已中断", "state.ready": "就绪", "state.dropped": "缺席", "state.unknown": "未知",
    "fed.table": "各站点及其顾客剩余的预算", site: "站点", "rounds": "轮次", "row": "账本行", "left.central": "剩余，中心层", "left.local": "剩余，本地层", "left": "{0} / ε {1}",
    "fed.curve": "学习曲线", "fed.spent": "已用预算", "fed.quality": "效果如何", "fed.quality.lead": "在模型从未见过的各周上的 NDCG@10，越高越好。", round: "轮", loss: "损失", central: "中心 ε", local: "本地 ε",
    "model.federated_private": "本联盟（隐私）", "model.backoff": "个人习惯 + 热度", "model.personal_frequency": "仅个人习惯", "model.popularity": "仅热度",
    "models.title": "模型版本", "models.lead": "默认由冠军版本回答。版本经过签名，永不改变。",
    version: "版本", created: "生成于", aliases: "别名", promote: "启用", rollback: "回退", "signed": "已签名", "unsigned": "未签名", ndcg: "NDCG@10", labels: "品类数", window: "窗口", "asof": "统计截至",
    "promote.title": "启用 {0}？", "promote.text": "从现在起默认由 {0} 代替 {1} 回答。", "rollback.title": "回退？", "rollback.text": "将由 {0} 之前的冠军版本回答。", champion: "冠军", latest: "最新", "done.promote": "现在由 {0} 回答。",
  },
};
const KEY = "groundswell-language";
let language = localStorage.getItem(KEY) || (navigator.language.startsWith("zh") ? "zh" : "en");

export const current = () => language;

export function use(name) {
  language = name;
  localStorage.setItem(KEY, name);
}

export function word(key, ...values) {
  const text = WORDS[language][key] ?? WORDS.en[key] ?? key;
  return values.reduce((found, value, i) => found.replaceAll(`{${i}}`, value), text);
}

export const known = (key) => key in WORDS.en;
export const locale = () => (language === "zh" ? "zh-CN" : "en-GB");
export const number = (value, digits = 2) => new Intl.NumberFormat(locale(), { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
export const percent = (value) => new Intl.NumberFormat(locale(), { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(value);
export const points = (value) => word("points", (value >= 0 ? "+" : "−") + number(Math.abs(value) * 100, Math.abs(value) < 0.001 ? 2 : 1));
export const power = (value) => (value ? value.toExponential(0).replace("e-", " × 10⁻").replace("1 × ", "").replace(/⁻(\d+)/, (_, digits) => "⁻" + [...digits].map((d) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[d]).join("")) : "–");
export const day = (text) => new Intl.DateTimeFormat(locale(), { dateStyle: "medium" }).format(new Date(text));
export const days = (count) => (count < 1 ? word("day.less") : count === 1 ? word("day") : word("days", count));

export function span(window) {
  const found = /^(\d+)([wdhms])$/.exec(window || "");
  if (!found) return window || "";
  const unit = { w: "week", d: "day", h: "hour", m: "minute", s: "second" }[found[2]];
  return new Intl.NumberFormat(locale(), { style: "unit", unit, unitDisplay: "long" }).format(Number(found[1]));
}
