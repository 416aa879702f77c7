// Score against cost and latency, drawn anew as limits move. Names are set as text; a point says more under the pointer.
const NS = "http://www.w3.org/2000/svg";
const COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888"];
const SHAPES = [
  (x, y, r) => `M${x - r},${y}a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0`,
  (x, y, r) => `M${x - r},${y - r}h${2 * r}v${2 * r}h${-2 * r}z`,
  (x, y, r) => `M${x},${y - 1.2 * r}l${1.2 * r},${2.1 * r}h${-2.4 * r}z`,
  (x, y, r) => `M${x},${y - 1.3 * r}l${1.3 * r},${1.3 * r}l${-1.3 * r},${1.3 * r}l${-1.3 * r},${-1.3 * r}z`,
  (x, y, r) => `M${x},${y + 1.2 * r}l${1.2 * r},${-2.1 * r}h${-2.4 * r}z`,
  (x, y, r) => cross(x, y, r, [[1, 0], [0, 1], [-1, 0], [0, -1]]),
  (x, y, r) => cross(x, y, r, [[0.7, 0.7], [-0.7, 0.7], [-0.7, -0.7], [0.7, -0.7]]),
];
// Four arms as one outline; each direction is the last one turned by a quarter.
function cross(x, y, r, arms) {
  const at = ([ax, ay], along, aside) => `${x + r * (along * ax - aside * ay)},${y + r * (along * ay + aside * ax)}`;
  return `M${arms.map((arm) => [at(arm, 0.45, -0.45), at(arm, 1.3, -0.45), at(arm, 1.3, 0.45)].join("L")).join("L")}z`;
}
const W = 470, H = 330, LEFT = 46, RIGHT = 14, TOP = 24, BOTTOM = 44;

const svg = (tag, attributes, text) => {
  const made = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
};
const div = (cls, text) => {
  const made = document.createElement("div");
  made.className = cls;
  if (text !== undefined) made.textContent = text;
  return made;
};

function scaleX(points, key) {
  const known = points.map((p) => p[key]).filter((x) => x !== null);
  const paid = known.filter((x) => x > 0);
  const low = paid.length ? Math.min(...paid) : 1e-6, high = paid.length ? Math.max(...paid) : 1e-5;
  const from = Math.log10(low) - (known.some((x) => x <= 0) ? 0.8 : 0.25), to = Math.log10(high) + 0.25;
  const at = (x) => {
    const place = x > 0 ? Math.log10(x) : from + 0.2;
    return LEFT + ((W - LEFT - RIGHT) * (Math.min(Math.max(place, from), to) - from)) / (to - from);
  };
  const free = known.some((x) => x <= 0), left = free ? at(0) : -APART; // what is free has its own word there
  return { at, ticks: apart(ticksBetween(10 ** from, 10 ** to), at, left), free, beyond: (x) => x > 0 && Math.log10(x) > to, before: (x) => x <= 0 || Math.log10(x) < from };
}

const MOST = 5, APART = 60; // numbers on an axis; pixels between them

// Round numbers along a logarithmic axis, as many as there is room for; below half a decade evenly spaced ones.
function ticksBetween(low, high) {
  for (const steps of [[1, 2, 3, 4, 6, 8], [1, 2, 5], [1, 3], [1]]) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) found.push(...steps.map((step) => Number(`${step}e${power}`)));
    const inside = found.filter((x) => x >= low && x <= high);
    if (inside.length < 2) break;
    if (inside.length <= MOST || steps.length === 1) return inside.filter((_, index) => index % Math.ceil(inside.length / MOST) === 0);
  }
  const power = 10 ** Math.floor(Math.log10((high - low) / 2)), step = [5, 2, 1].map((x) => x * power).find((x) => x <= (high - low) / 2);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, index) => Number(((first + index) * step).toPrecision(6)));
}

function apart(ticks, at, left) {
  const kept = [];
  for (const tick of ticks) if (at(tick) - (kept.length ? at(kept.at(-1)) : left) >= APART) kept.push(tick);
  return kept;
}

// A number in full: 0.0007, not 7e-4.
const short = (x) => {
  const digits = Math.max(0, 2 - Math.floor(Math.log10(x)));
  return x.toFixed(digits).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
};

const UNBOUNDED = "too few items bound it";

// Where an interval goes on beyond what is drawn: on which side, whether it has an end at all, and that in words.
function ends(p, spec, x) {
  const [lo, hi] = spec.reach.map((name) => p[name]), found = [];
  if (!(p[spec.key] > 0) || lo === null) return found;
  const exact = (value) => spec.unit(String(Number(value.toPrecision(3))));
  if (hi === null) found.push({ side: 1, open: true, said: `no end: ${UNBOUNDED}` });
  else if (x.beyond(hi)) found.push({ side: 1, open: false, said: `goes on to ${exact(hi)}` });
  if (lo <= 0) found.push({ side: -1, open: true, said: `no lower end: ${UNBOUNDED}` });
  else if (x.before(lo)) found.push({ side: -1, open: false, said: `goes down to ${exact(lo)}` });
  return found;
}

// An interval along the axis, with an arrow where it goes on, and a dashed tail where it has no end.
function interval(group, p, spec, x, y, bars) {
  const [lo, hi] = spec.reach.map((name) => p[name]), on = ends(p, spec, x);
  if (!(p[spec.key] > 0) || lo === null) return on;
  for (const side of [-1, 1]) {
    const end = on.find((each) => each.side === side), frame = side > 0 ? W - RIGHT : LEFT;
    const to = end ? frame : x.at(side > 0 ? hi : lo);
    group.append(svg("line", { x1: x.at(p[spec.key]), x2: to, y1: y, y2: y, ...bars, ...(end?.open ? { "stroke-dasharray": "3 3" } : {}) }));
    if (end) group.append(svg("path", { d: `M${to - 7 * side},${y - 4}L${to},${y}L${to - 7 * side},${y + 4}`, fill: "none", class: end.open ? "goes-on open" : "goes-on", ...bars }));
  }
  return on;
}

function panel(box, points, state, spec, tip) {
  const picture = svg("svg", { viewBox: `0 0 ${W} ${H}`, width: W, height: H, role: "img", "aria-label": spec.label });
  const x = scaleX(points, spec.key);
  const scores = points.flatMap((p) => [p.score_lo, p.score_hi]);
  const low = Math.max(0, Math.min(...scores, state.min_score) - 0.04), high = Math.min(1, Math.max(...scores, state.min_score) + 0.04);
  const y = (value) => TOP + ((H - TOP - BOTTOM) * (high - value)) / (high - low || 1);
  const line = (x1, y1, x2, y2, cls, more = {}) => picture.append(svg("line", { x1, y1, x2, y2, class: cls, ...more }));
  const step = high - low > 0.5 ? 0.2 : high - low > 0.2 ? 0.1 : 0.05;
  for (let value = Math.ceil(low / step) * step; value <= high + 1e-9; value += step) {
    line(LEFT, y(value), W - RIGHT, y(value), "grid");
    picture.append(svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(2)));
  }
  for (const tick of x.ticks) {
    line(x.at(tick), TOP, x.at(tick), H - BOTTOM, "grid");
    picture.append(svg("text", { x: x.at(tick), y: H - BOTTOM + 15, "text-anchor": "middle" }, spec.unit(short(tick))));
  }
  if (x.free) picture.append(svg("text", { x: x.at(0), y: H - BOTTOM + 15, "text-anchor": "middle" }, spec.zero));
  line(LEFT, H - BOTTOM, W - RIGHT, H - BOTTOM, "axis");
  line(LEFT, TOP, LEFT, H - BOTTOM, "axis");
  picture.append(svg("text", { x: (LEFT + W) / 2, y: H - 8, "text-anchor": "middle" }, spec.label));
  picture.append(svg("text", { x: LEFT, y: 14 }, "score (mean, 95 % interval)"));
  if (state.min_score > low) line(LEFT, y(state.min_score), W - RIGHT, y(state.min_score), "axis", { "stroke-dasharray": "5 4" });
  if (spec.limit !== null && spec.limit > 0) {
    const said = `limit ${spec.unit(String(spec.limit))}`; // one outside the frame is said, and drawn nowhere
    if (x.beyond(spec.limit)) picture.append(svg("text", { x: W - RIGHT - 4, y: TOP + 12, "text-anchor": "end", class: "limit" }, `${said} →`));
    else if (x.before(spec.limit)) picture.append(svg("text", { x: LEFT + 4, y: TOP + 12, class: "limit" }, `← ${said}`));
    else line(x.at(spec.limit), TOP, x.at(spec.limit), H - BOTTOM, "axis", { "stroke-dasharray": "5 4" });
  }
  const shown = points.filter((p) => p[spec.key] !== null), said = [];
  if (spec.key === "cost") {
    const path = shown.filter((p) => p.frontier).sort((a, b) => a.cost - b.cost);
    picture.append(svg("polyline", {
      points: path.map((p) => `${x.at(p.cost)},${y(p.score)}`).join(" "), fill: "none", stroke: "#888888", "stroke-width": 1.2,
    }));
  }
  for (const p of shown) {
    const color = COLORS[p.color % COLORS.length], cx = x.at(p[spec.key]), cy = y(p.score);
    const group = svg("g", { tabindex: 0, opacity: p.outside ? 0.55 : 1, role: "img", "aria-label": p.candidate });
    const bars = { stroke: color, "stroke-width": 1.2 };
    group.append(svg("line", { x1: cx, x2: cx, y1: y(p.score_lo), y2: y(p.score_hi), ...bars }));
    const on = interval(group, p, spec, x, cy, bars).map((each) => `${spec.short}: ${each.said}`);
    if (on.length) said.push([p.candidate, on]);
    group.append(svg("path", { d: SHAPES[p.shape % SHAPES.length](cx, cy, 5), fill: color, class: "point" }));
    if (p.chosen) group.append(svg("circle", { cx, cy, r: 10, fill: "none", stroke: "currentColor", "stroke-width": 2, class: "chosen" }));
    const say = () => {
      tip.textContent = [p.said, ...on].join("\n");
      tip.hidden = false;
      const at = box.getBoundingClientRect(), own = picture.getBoundingClientRect();
      const left = own.left - at.left + (cx * own.width) / W;
      tip.style.left = `${left > at.width * 0.6 ? Math.max(left - 300, 0) : left + 14}px`;
      tip.style.top = `${own.top - at.top + (cy * own.height) / H + 14}px`;
    };
    group.addEventListener("pointerenter", say);
    group.addEventListener("focus", say);
    for (const leave of ["pointerleave", "blur"]) group.addEventListener(leave, () => { tip.hidden = true; });
    picture.append(group);
  }
  if (shown.length < points.length)
    picture.append(svg("text", { x: W - RIGHT - 4, y: H - BOTTOM - 6, "text-anchor": "end" }, `${points.length - shown.length} not shown: ${spec.missing}`));
  box.append(picture);
  return said;
}

function render({ model, el: root }) {
  begin(root);
  const draw = () => {
    root.replaceChildren();
    const state = model.get("state");
    if (!state.points) return;
    const box = div("figure"), tip = div("tip");
    tip.hidden = true;
    const costs = panel(box, state.points, state, {
      key: "cost", short: "cost", reach: ["cost_lo", "cost_hi"], unit: (x) => `$${x}`, zero: "free", limit: null,
      label: "cost per accepted answer (USD, all attempts)", missing: "cost unknown, or none accepted",
    }, tip);
    const times = panel(box, state.points, state, {
      key: "p95_s", short: "latency", reach: ["p95_lo", "p95_hi"], unit: (x) => `${x} s`, zero: "0 s", limit: state.p95_latency_s,
      label: "latency, p95 (s, 95 % interval)", missing: "latency unknown",
    }, tip);
    box.append(tip);
    const legend = div("legend");
    for (const p of state.points) {
      const entry = div("", p.candidate);
      const mark = svg("svg", { width: 16, height: 14 });
      mark.append(svg("path", { d: SHAPES[p.shape % SHAPES.length](8, 7, 4.5), fill: COLORS[p.color % COLORS.length], opacity: p.outside ? 0.55 : 1 }));
      entry.prepend(mark, " ");
      const on = [...costs, ...times].filter(([name]) => name === p.candidate).flatMap(([, own]) => own);
      if (on.length) entry.append(el("span", ` (${on.join("; ")})`, "dim"));
      if (p.chosen) entry.style.fontWeight = "600";
      legend.append(entry);
    }
    root.append(box, legend, div("dim", "ring: chosen; pale: outside the limits; line: no other scores better for less; dashed: limits" +
      (costs.length + times.length ? "; arrow: an interval that goes on; dashed tail: one without an end" : "")));
  };
  model.on("change:state", draw);
  draw();
}

export default { render };
