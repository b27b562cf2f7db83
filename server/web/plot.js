// Line plots as SVG: axes, one or two lines, bands; a table for those who can't see them follows.
import { svg } from "./dom.js";
import { number } from "./words.js";

const W = 520, H = 220, LEFT = 46, RIGHT = 14, TOP = 12, TICKS = 30, LABEL = 18;

function ticks(low, high, count = 4) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= raw);
  const first = Math.ceil(low / step - 1e-9) * step;
  return Array.from({ length: Math.floor((high - first) / step + 1e-9) + 1 }, (_, i) => first + i * step);
}

const digits = (step) => Math.max(0, Math.min(4, -Math.floor(Math.log10(step || 1) + 1e-9)));

// lines: [{points: [[x, y]], kind, band: [[x, low, high]]}]
export function plot(title, lines, { zero = false, xlabel = "" } = {}) {
  const all = lines.flatMap((line) => [...line.points, ...(line.band || []).flatMap(([x, a, b]) => [[x, a], [x, b]])]);
  const xs = all.map((p) => p[0]), ys = all.map((p) => p[1]);
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  let [y0, y1] = [zero ? Math.min(0, ...ys) : Math.min(...ys), Math.max(...ys)];
  if (y1 - y0 < 1e-9) [y0, y1] = [y0 - 0.5, y1 + 0.5];
  const pad = (y1 - y0) * 0.06;
  [y0, y1] = [zero && y0 === 0 ? 0 : y0 - pad, y1 + pad];
  const bottom = TICKS + (xlabel ? LABEL : 0);
  const X = (x) => LEFT + ((x - x0) / (x1 - x0 || 1)) * (W - LEFT - RIGHT);
  const Y = (y) => H - bottom - ((y - y0) / (y1 - y0)) * (H - TOP - bottom);
  const path = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${X(x).toFixed(1)} ${Y(y).toFixed(1)}`).join("");
  const marks = ticks(y0, y1);
  const decimals = digits(marks.length > 1 ? marks[1] - marks[0] : 1);
  return svg("svg", { viewBox: `0 0 ${W} ${H}`, class: "plot", role: "img", "aria-label": title },
    marks.map((y) => [
      svg("line", { class: "grid", x1: LEFT, x2: W - RIGHT, y1: Y(y), y2: Y(y) }),
      svg("text", { x: LEFT - 8, y: Y(y) + 4, "text-anchor": "end" }, number(y, decimals)),
    ]),
    ticks(x0, x1, 5).filter((x) => Number.isInteger(x)).map((x) => svg("text", { x: X(x), y: H - bottom + 18, "text-anchor": "middle" }, String(x))),
    xlabel && svg("text", { x: W - RIGHT, y: H - 4, "text-anchor": "end" }, xlabel),
    lines.map((line) => [
      line.band && line.band.length > 1 && svg("path", { class: line.kind === "ahead" ? "ahead-band" : "band", d: `${path(line.band.map(([x, , b]) => [x, b]))}${path([...line.band].reverse().map(([x, a]) => [x, a])).replace("M", "L")}Z` }),
      svg("path", { class: line.kind === "ahead" ? "ahead" : `line ${line.kind || ""}`, d: path(line.points) }),
      line.points.length < 3 && line.points.map(([x, y]) => svg("circle", { class: "dot", cx: X(x), cy: Y(y), r: 3 })),
    ]),
  );
}
