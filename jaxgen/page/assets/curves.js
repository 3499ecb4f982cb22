// Learning curves as SVG. The arithmetic comes first and knows no document.

function smoothed(values, width) {
  // Means over a window of `width` values around each; gaps (null) are left out and stay gaps.
  const half = Math.floor(width / 2);
  return values.map((value, i) => {
    if (value === null || half === 0) return value;
    let sum = 0, count = 0;
    for (let j = Math.max(0, i - half); j <= Math.min(values.length - 1, i + half); j++)
      if (values[j] !== null) { sum += values[j]; count++; }
    return sum / count;
  });
}

function ticks(low, high, count) {
  // Round numbers from low to high, about `count` of them.
  if (!(high > low)) return [low];
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((x) => x * power).find((x) => x >= raw * 0.9999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

function logTicks(low, high) {
  // Powers of ten, with 2 and 5 between them where they are few.
  const found = [], first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
  const within = Math.log10(high / low) <= 3 ? [1, 2, 5] : [1];
  for (let e = first; e <= last; e++)
    for (const x of within) {
      const tick = Number((x * 10 ** e).toPrecision(12));
      if (tick >= low * 0.9999 && tick <= high * 1.0001) found.push(tick);
    }
  return found.length > 1 ? found : ticks(low, high, 4);
}

function range(lines, log) {
  // The interval of all values and bands; on a log scale only of the positive ones. Null if there are none.
  let low = Infinity, high = -Infinity;
  const see = (x) => {
    if (x === null || !Number.isFinite(x) || (log && x <= 0)) return;
    low = Math.min(low, x);
    high = Math.max(high, x);
  };
  for (const line of lines)
    line.values.forEach((value, i) => {
      see(value);
      if (line.errors && line.errors[i] !== null && value !== null) {
        see(value - 1.96 * line.errors[i]);
        see(value + 1.96 * line.errors[i]);
      }
    });
  if (low > high) return null;
  if (low === high) return log ? [low / 2, high * 2] : [low - 0.5 * (Math.abs(low) || 1), high + 0.5 * (Math.abs(high) || 1)];
  return log ? [low / 1.05, high * 1.05] : [low - 0.04 * (high - low), high + 0.04 * (high - low)];
}

function scale(domain, interval, log) {
  // The map from numbers to pixels.
  const change = log ? Math.log : (x) => x;
  const [a, b] = domain.map(change), [p, q] = interval;
  return (x) => (b === a ? (p + q) / 2 : p + ((change(x) - a) / (b - a)) * (q - p));
}

function pathOf(xs, ys, x, y, visible) {
  // The path through the points that are visible, broken at gaps.
  let text = "", down = false;
  for (let i = 0; i < xs.length; i++) {
    if (!visible(ys[i])) { down = false; continue; }
    text += `${down ? "L" : "M"}${x(xs[i]).toFixed(1)} ${y(ys[i]).toFixed(1)}`;
    down = true;
  }
  return text;
}

function bandOf(line, x, y, low) {
  // The 95% interval of the mean as closed paths; `low` stands for bounds that a log scale cannot show.
  let text = "", part = [];
  const close = () => {
    if (part.length > 1) {
      const at = (i, sign) => Math.max(low, line.values[i] + sign * 1.96 * line.errors[i]);
      const point = (i, sign) => `${x(line.steps[i]).toFixed(1)} ${y(at(i, sign)).toFixed(1)}`;
      text += "M" + part.map((i) => point(i, 1)).join("L") + "L" + part.reverse().map((i) => point(i, -1)).join("L") + "Z";
    }
    part = [];
  };
  line.steps.forEach((_, i) => (line.values[i] === null || line.errors[i] === null ? close() : part.push(i)));
  close();
  return text;
}

function nearest(steps, wanted) {
  // The index of the step nearest to a number; -1 without steps.
  let best = -1;
  steps.forEach((step, i) => {
    if (best < 0 || Math.abs(step - wanted) < Math.abs(steps[best] - wanted)) best = i;
  });
  return best;
}

const DASHES = ["", "7 3", "2 3", "9 3 2 3", "12 4", "4 4"];

class Chart {
  constructor(title, lines, state) {
    // lines: [{name, steps, values, errors?, factors}], one color and dash each; state: what the controls say.
    Object.assign(this, { title, lines, state, at: null });
    this.svg = drawn("svg", { role: "img", tabindex: "0", "aria-label": `${title}: ${lines.map((l) => l.name).join(", ")}. Arrow keys read values.` });
    this.legend = element("div", { class: "legend" });
    this.node = element("div", { class: "chart" }, element("h3", {}, title), this.svg, this.legend);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerdown", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.read(null));
    this.svg.addEventListener("blur", () => this.read(null));
    this.svg.addEventListener("keydown", (event) => this.key(event));
    resized(this.svg, () => this.draw());
  }

  draw() {
    const width = this.svg.clientWidth, height = this.svg.clientHeight;
    if (!width) return;
    const { unit, log, width: window } = this.state;
    this.shown = this.lines.map((line) => ({
      ...line,
      steps: line.steps.map((step) => step * (line.factors[unit] ?? 1)),
      values: smoothed(line.values, line.steps.length > 30 ? window : 1),
    }));
    const domain = [0, Math.max(...this.shown.map((line) => line.steps[line.steps.length - 1] ?? 0), 1e-9)];
    const found = range(this.shown, log), values = found ?? [0, 1];
    const left = 54, right = width - 12, top = 8, bottom = height - 34;
    this.x = scale(domain, [left, right], false);
    this.back = scale([left, right], domain, false);
    this.y = scale(values, [bottom, top], log);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.replaceChildren();
    for (const tick of log ? logTicks(...values) : ticks(...values, 5)) {
      const y = this.y(tick);
      this.svg.append(drawn("line", { class: "grid", x1: left, x2: right, y1: y, y2: y }));
      this.svg.append(drawn("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, short(tick, 3)));
    }
    for (const tick of ticks(...domain, Math.max(2, Math.floor(width / 90))))
      this.svg.append(drawn("text", { x: this.x(tick), y: bottom + 16, "text-anchor": "middle" }, tick.toLocaleString("en")));
    this.svg.append(drawn("text", { x: right, y: height - 4, "text-anchor": "end" }, unit));
    if (found === null) this.svg.append(drawn("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, log ? "nothing above 0" : "nothing finite"));
    const visible = (v) => v !== null && Number.isFinite(v) && (!log || v > 0);
    this.shown.forEach((line, i) => {
      const stroke = `var(--s${i % 6})`;
      if (line.errors && found) this.svg.append(drawn("path", { d: bandOf(line, this.x, this.y, log ? values[0] : -Infinity), style: `fill:${stroke};opacity:.2` }));
      const path = { d: pathOf(line.steps, line.values, this.x, this.y, visible), fill: "none", "stroke-width": 2, "stroke-dasharray": DASHES[i % DASHES.length], style: `stroke:${stroke}` };
      this.svg.append(drawn("path", path));
      if (line.steps.length <= 30)
        line.values.forEach((v, j) => visible(v) && this.svg.append(drawn("circle", { cx: this.x(line.steps[j]), cy: this.y(v), r: 3, style: `fill:${stroke}` })));
    });
    this.cursor = drawn("line", { class: "cursor", y1: top, y2: bottom, visibility: "hidden" });
    this.svg.append(this.cursor);
    this.read(this.at);
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    this.read(this.back(event.clientX - box.left));
  }

  key(event) {
    const moves = { ArrowLeft: -1, ArrowRight: 1 };
    if (!(event.key in moves) || !this.shown) return;
    event.preventDefault();
    const steps = this.shown.reduce((a, b) => (b.steps.length > a.length ? b.steps : a), []);
    const here = this.at === null ? (moves[event.key] > 0 ? -1 : steps.length) : nearest(steps, this.at);
    this.read(steps[Math.min(steps.length - 1, Math.max(0, here + moves[event.key]))]);
  }

  read(at) {
    // Values at a place of the axis; null: the last ones.
    this.at = at;
    if (!this.shown) return;
    const rows = this.shown.map((line, i) => {
      const j = at === null ? line.steps.length - 1 : nearest(line.steps, at);
      const error = line.errors && line.errors[j] !== null ? ` ± ${short(line.errors[j], 2)}` : "";
      const mark = drawn("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" });
      mark.append(drawn("line", { x1: 0, x2: 26, y1: 5, y2: 5, "stroke-width": 3, "stroke-dasharray": DASHES[i % DASHES.length], style: `stroke:var(--s${i % 6})` }));
      return element("span", {}, mark, `${line.name} ${short(line.values[j])}${error}` + (at === null ? "" : ` at ${short(line.steps[j], 5)}`));
    });
    this.legend.replaceChildren(...rows);
    this.legend.setAttribute("aria-live", at === null ? "off" : "polite");
    if (at === null) this.cursor.setAttribute("visibility", "hidden");
    else {
      this.cursor.setAttribute("x1", this.x(at));
      this.cursor.setAttribute("x2", this.x(at));
      this.cursor.setAttribute("visibility", "visible");
    }
  }
}

function startCurves(place, charts, units) {
  // charts: [{title, lines}]; units: names of the axis's units.
  if (!charts.length) return place.append(element("p", { class: "note" }, "Nothing has been logged yet."));
  const state = { unit: units[0], log: false, width: 1 };
  const made = charts.map(({ title, lines }) => new Chart(title, lines, state));
  const redraw = () => made.forEach((chart) => { chart.at = null; chart.draw(); });
  const units_ = element("select", { id: "unit", onchange: (e) => { state.unit = e.target.value; redraw(); } }, ...units.map((u) => element("option", {}, u)));
  const log = element("input", { type: "checkbox", id: "log", onchange: (e) => { state.log = e.target.checked; redraw(); } });
  const width = element("input", { type: "range", id: "smooth", min: 1, max: 41, step: 2, value: 1, "aria-label": "Smoothing, in logged values", oninput: (e) => { state.width = Number(e.target.value); redraw(); } });
  place.append(
    element("div", { class: "row controls" }, element("label", {}, "Axis", units_), element("label", {}, log, "Log scale"), element("label", {}, "Smoothing", width)),
    element("div", { class: "charts" }, ...made.map((chart) => chart.node)),
  );
  page.charts = made;
}

if (typeof module !== "undefined") module.exports = { smoothed, ticks, logTicks, range, scale, pathOf, bandOf, nearest };
