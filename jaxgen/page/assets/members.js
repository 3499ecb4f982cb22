// The members of a sweep or the trials of a search: table, parallel coordinates, curves and heat map of one selection.
// The arithmetic comes first and knows no document.

function fractions(values, log) {
  // Places on an axis from 0 to 1, null for what is no finite number; texts stand in their order.
  const numeric = values.every((v) => v === null || typeof v === "number");
  const kinds = numeric ? [] : [...new Set(values.map(String))].sort();
  const map = numeric ? (v) => (log ? Math.log(v) : v) : (v) => kinds.indexOf(String(v));
  const known = values.filter((v) => v !== null && (!numeric || Number.isFinite(map(v)))).map(map);
  const low = Math.min(...known), high = Math.max(...known);
  return values.map((v) => {
    if (v === null || (numeric && !Number.isFinite(map(v)))) return null;
    return high > low ? (map(v) - low) / (high - low) : 0.5;
  });
}

function quantile(values, q) {
  const sorted = values.filter((v) => v !== null).sort((a, b) => a - b), place = q * (sorted.length - 1);
  const low = Math.floor(place);
  return sorted[low] + (place - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}

function shares(values, maximize) {
  // How good each value is, from 0 to 1, in the range of all but the worst tenth; null stays null.
  const best = quantile(values, maximize ? 1 : 0), worst = quantile(values, maximize ? 0.1 : 0.9);
  return values.map((v) => (v === null ? null : best === worst ? 1 : Math.min(1, Math.max(0, (v - worst) / (best - worst)))));
}

function within(places, brushes) {
  // Whether a member, by its places on the axes, lies in every brush (by axis: [low, high]).
  return Object.entries(brushes).every(([axis, [low, high]]) => places[axis] !== null && places[axis] >= low - 1e-9 && places[axis] <= high + 1e-9);
}

function bins(values, places, most = 12, few = 6) {
  // Cells of an axis, each a text and an interval of places: its values where they are few, else equal parts.
  const first = new Map();
  values.forEach((v, i) => places[i] !== null && first.set(places[i], v));
  if (first.size <= most || values.some((v) => typeof v === "string"))
    return [...first].sort(([a], [b]) => a - b).map(([place, v]) => ({ text: typeof v === "number" ? short(v, 3) : String(v), low: place, high: place }));
  return Array.from({ length: few }, (_, k) => {
    const inside = [...first].filter(([p]) => p >= k / few && p <= (k + 1) / few).map(([, v]) => v);
    const text = inside.length ? `${short(Math.min(...inside), 2)} to ${short(Math.max(...inside), 2)}` : "none";
    return { text, low: k / few, high: (k + 1) / few };
  });
}

function ordered(values, down) {
  // Indices in the order of the values, texts by the alphabet, missing ones last.
  return values.map((_, i) => i).sort((a, b) => {
    const [p, q] = [values[a], values[b]];
    if (p === null || q === null) return (p === null) - (q === null);
    const order = typeof p === "number" && typeof q === "number" ? p - q : String(p).localeCompare(String(q));
    return (down ? -order : order) || a - b;
  });
}

function zoomed(late, maximize) {
  // An interval for curves, made for the later values of all but the worst tenth.
  if (!late.length) return [0, 1];
  const low = quantile(late, maximize ? 0.1 : 0), high = quantile(late, maximize ? 1 : 0.9);
  const room = high - low || Math.abs(high) || 1;
  return [Math.max(Math.min(...late), low - (maximize ? 1 : 0.1) * room) - 0.02 * room, Math.min(Math.max(...late), high + (maximize ? 0.1 : 1) * room) + 0.02 * room];
}

function plain(name) {
  return name.replace(/^.*[./]/, "");
}

function cellText(value) {
  return typeof value === "number" ? short(value, 5) : value === null || value === undefined ? "-" : String(value);
}

class Members {
  constructor(place, data) {
    Object.assign(this, { data, brushes: {}, marked: new Set(), at: null, sorted: { column: -1, down: false }, log: false });
    const { members, axes, metric } = data;
    this.columns = [...axes.map((axis, k) => ({ ...axis, values: members.map((one) => one.point[k]) })), { name: metric, log: false, values: members.map((one) => one.value) }];
    this.places = this.columns.map((column) => fractions(column.values, column.log));
    this.shares = shares(members.map((one) => one.value), data.maximize);
    this.build(place);
    this.update();
  }

  shown(i) {
    const places = this.places.map((column) => column[i]);
    return within(places, this.brushes) && (!this.marked.size || this.marked.has(i));
  }

  few(grid, random) {
    // How many values of an axis are shown one by one: a search draws them at random.
    return this.data.what === "member" ? grid : random;
  }

  name(i) {
    return `${this.data.what} ${this.data.members[i].number}`;
  }

  tint(i) {
    return this.shares[i] === null ? "var(--line)" : `color-mix(in oklab, var(--accent) ${(100 * this.shares[i]).toFixed(0)}%, var(--pale))`;
  }

  build(place) {
    this.said = element("p", { class: "note", role: "status", id: "said" });
    const clear = element("button", { type: "button", id: "clear", onclick: () => this.clear() }, "Show all");
    this.parallel = drawn("svg", { role: "group", "aria-label": "Parallel coordinates", id: "parallel" });
    this.parallel.style.minWidth = `${90 * this.columns.length}px`;
    this.curves = drawn("svg", { role: "img", "aria-label": `${this.data.metric} of each ${this.data.what} as training goes on`, id: "member-curves" });
    const log = element("input", { type: "checkbox", id: "log", onchange: (event) => { this.log = event.target.checked; this.drawCurves(); } });
    const panel = (title, note, ...parts) => element("div", { class: "panel wide" }, element("h3", {}, title), ...parts, element("p", { class: "note" }, note));
    place.append(
      element("div", { class: "wide row controls" }, clear, this.said),
      panel("Parallel coordinates", "Each line is one of them, the stronger its color the better. Drag along an axis to brush it, click it to let go. With the keyboard: arrow up and down move a brush, with shift they change its length, Escape lets go.", element("div", { class: "table", tabindex: "0", role: "region", "aria-label": "Parallel coordinates" }, this.parallel)),
      panel("Curves", "The view leaves out the worst tenth of the later values.", element("div", { class: "row controls" }, element("label", {}, log, "Log scale")), this.curves),
    );
    if (this.data.axes.length > 1) place.append(this.heatPanel());
    place.append(this.tablePanel());
    resized(this.parallel, () => this.drawParallel());
    resized(this.curves, () => this.drawCurves());
  }

  clear() {
    this.brushes = {};
    this.marked.clear();
    this.update();
  }

  brush(k, interval) {
    if (interval) this.brushes[k] = interval;
    else delete this.brushes[k];
    this.update();
  }

  update() {
    const { members, best, what } = this.data, count = members.filter((_, i) => this.shown(i)).length;
    const top = ordered(members.map((one, i) => (this.shown(i) && one.state === "finished" ? one.value : null)), this.data.maximize)[0];
    const found = top !== undefined && this.shown(top) && members[top].value !== null ? `; the best of them is ${this.name(top)} with ${short(members[top].value, 6)}` : "";
    this.said.textContent = `${count} of ${members.length} ${what}s shown${found}.`;
    this.drawParallel();
    this.drawCurves();
    this.fillHeat();
    this.fillTable();
    this.light(this.at);
  }

  light(i) {
    // Mark one in every view.
    this.at = i;
    for (const node of document.querySelectorAll("[data-member]")) node.classList.toggle("lit", Number(node.dataset.member) === i);
    for (const svg of [this.parallel, this.curves]) {
      const node = i === null ? null : svg.querySelector(`path.line[data-member="${i}"]`);
      if (node) node.parentNode.append(node);
    }
  }

  line(svg, i, d) {
    const shown = this.shown(i), best = this.data.members[i].number === this.data.best;
    const path = drawn("path", { class: "line", d, fill: "none", "data-member": i, "stroke-width": best ? 3.5 : 1.8, style: `stroke:${shown ? this.tint(i) : "var(--line)"};opacity:${shown ? 1 : 0.4}` });
    svg.append(path);
    if (!shown) return;
    const wide = drawn("path", { d, fill: "none", "stroke-width": 11, stroke: "transparent", "pointer-events": "stroke" });
    wide.addEventListener("pointerenter", () => this.light(i));
    wide.addEventListener("pointerleave", () => this.light(null));
    wide.append(drawn("title", {}, `${this.name(i)}: ${this.data.metric} ${cellText(this.data.members[i].value)}`));
    svg.append(wide);
  }

  order() {
    // Hidden ones first, then from the worst to the best, so that the best lie on top.
    const key = (i) => (this.shown(i) ? 1 + (this.shares[i] ?? 0) : -1);
    return this.data.members.map((_, i) => i).sort((a, b) => key(a) - key(b));
  }

  drawParallel() {
    const width = this.parallel.clientWidth, height = this.parallel.clientHeight, focus = document.activeElement?.dataset?.axis;
    if (!width) return;
    const top = 34, bottom = height - 16, last = this.columns.length - 1;
    const x = (k) => 60 + (k * (width - 120)) / Math.max(1, last), y = scale([0, 1], [bottom, top], false);
    this.parallel.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.parallel.replaceChildren();
    for (const i of this.order()) {
      const points = this.columns.map((_, k) => this.places[k][i]);
      this.line(this.parallel, i, pathOf(points.map((_, k) => k), points, x, y, (v) => v !== null));
    }
    this.columns.forEach((column, k) => {
      this.parallel.append(drawn("line", { class: "axis", x1: x(k), x2: x(k), y1: top, y2: bottom }));
      this.parallel.append(drawn("text", { x: x(k), y: 16, "text-anchor": "middle", class: "name" }, plain(column.name)));
      const cells = bins(column.values, this.places[k], k === last ? 1 : this.few(8, 3), 1);
      const marks = cells.length > 1 ? cells.map(({ text, low }) => [text, low]) : [[cellText(column.values[this.places[k].indexOf(0)]), 0], [cellText(column.values[this.places[k].indexOf(1)]), 1]];
      for (const [text, place] of marks) if (text !== "-") this.parallel.append(drawn("text", { x: x(k) + 6, y: y(place) + 4 }, text));
      this.parallel.append(this.handle(k, x(k), y, top, bottom));
    });
    if (focus !== undefined) this.parallel.querySelector(`[data-axis="${focus}"]`)?.focus();
  }

  handle(k, x, y, top, bottom) {
    // The part of an axis that takes pointer and keys, with its brush.
    const [low, high] = this.brushes[k] ?? [0, 1], chosen = k in this.brushes;
    const group = drawn("g", {
      tabindex: "0", role: "slider", "data-axis": k, "aria-orientation": "vertical", "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round(50 * (low + high)),
      "aria-valuetext": chosen ? `${Math.round(100 * low)} to ${Math.round(100 * high)} percent` : "not brushed", "aria-label": `Brush of ${this.columns[k].name}`,
    });
    if (chosen) group.append(drawn("rect", { class: "brush", x: x - 7, width: 14, y: y(high) - 3, height: y(low) - y(high) + 6, rx: 3 }));
    group.append(drawn("rect", { class: "hit", x: x - 18, width: 36, y: top - 6, height: bottom - top + 12 }));
    const at = (event) => {
      const box = this.parallel.getBoundingClientRect();
      return Math.min(1, Math.max(0, (bottom - (event.clientY - box.top)) / (bottom - top)));
    };
    group.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      const start = at(event), move = (e) => this.brush(k, [Math.min(start, at(e)), Math.max(start, at(e))]);
      const up = (e) => {
        for (const [name, work] of [["pointermove", move], ["pointerup", up], ["pointercancel", up]]) window.removeEventListener(name, work);
        if (Math.abs(at(e) - start) < 0.01) this.brush(k, null);
      };
      for (const [name, work] of [["pointermove", move], ["pointerup", up], ["pointercancel", up]]) window.addEventListener(name, work);
    });
    group.addEventListener("keydown", (event) => {
      if (event.key === "Escape") return this.brush(k, null);
      const step = { ArrowUp: 0.05, ArrowDown: -0.05 }[event.key];
      if (!step) return;
      event.preventDefault();
      const [a, b] = this.brushes[k] ?? [0.4, 0.6];
      if (event.shiftKey) return this.brush(k, [Math.max(0, Math.min(a, b - step - 0.02)), Math.max(a + 0.02, Math.min(1, b + step))]);
      const by = Math.min(1 - b, Math.max(-a, step));
      this.brush(k, [a + by, b + by]);
    });
    return group;
  }

  drawCurves() {
    const svg = this.curves, width = svg.clientWidth, height = svg.clientHeight, { members, maximize, unit } = this.data;
    if (!width) return;
    const every = this.order().filter((i) => members[i].curve[0].length), seen = every.filter((i) => this.shown(i));
    const late = seen.flatMap((i) => members[i].curve[1].slice(members[i].curve[1].length >> 1));
    const values = this.log ? (range(seen.map((i) => ({ values: members[i].curve[1] })), true) ?? [0.1, 1]) : zoomed(late, maximize);
    const last = Math.max(1, ...every.map((i) => members[i].curve[0].at(-1)));
    const left = 58, right = width - 12, top = 8, bottom = height - 30;
    const x = scale([0, last], [left, right], false), y = scale(values, [bottom, top], this.log);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren();
    for (const tick of this.log ? logTicks(...values) : ticks(...values, 5)) {
      svg.append(drawn("line", { class: "grid", x1: left, x2: right, y1: y(tick), y2: y(tick) }));
      svg.append(drawn("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, short(tick, 4)));
    }
    for (const tick of ticks(0, last, Math.max(2, Math.floor(width / 110)))) svg.append(drawn("text", { x: x(tick), y: bottom + 15, "text-anchor": "middle" }, tick.toLocaleString("en")));
    svg.append(drawn("text", { x: right, y: height - 2, "text-anchor": "end" }, unit));
    const inside = drawn("svg", { x: 0, y: top, width, height: bottom - top, viewBox: `0 ${top} ${width} ${bottom - top}` });
    svg.append(inside);
    for (const i of every) {
      const [steps, found] = members[i].curve;
      const visible = (v) => v !== null && (!this.log || v > 0);
      this.line(inside, i, pathOf(steps, found, x, y, visible));
      if (steps.length <= 12 && this.shown(i)) steps.forEach((step, j) => visible(found[j]) && inside.append(drawn("circle", { cx: x(step), cy: y(found[j]), r: 3, "data-member": i, style: `fill:${this.tint(i)}` })));
    }
  }

  heatPanel() {
    const { axes } = this.data, choose = (id, k) => element("select", { id, onchange: () => this.fillHeat() }, ...axes.map((axis, i) => element("option", { value: i, selected: i === k }, axis.name)));
    this.across = choose("across", 0);
    this.down = choose("down", 1);
    this.heat = element("table", { class: "heat", id: "heat" });
    return element("div", { class: "panel wide" }, element("h3", {}, "Heat map"),
      element("div", { class: "row" }, element("label", {}, "Across", this.across), element("label", {}, "Down", this.down)),
      element("div", { class: "table", tabindex: "0", role: "region", "aria-label": "Heat map" }, this.heat),
      element("p", { class: "note" }, `Mean ${this.data.metric} of those that are shown, over everything else. A cell's button brushes both axes.`));
  }

  fillHeat() {
    if (!this.heat) return;
    const focus = document.activeElement?.dataset?.cell, [a, d] = [Number(this.across.value), Number(this.down.value)], { members } = this.data;
    const [across, down] = [a, d].map((k) => bins(this.columns[k].values, this.places[k], this.few(12, 5)));
    const inside = (k, i, { low, high }) => this.places[k][i] !== null && this.places[k][i] >= low - 1e-9 && this.places[k][i] <= high + 1e-9;
    const means = down.map((row) => across.map((column) => {
      const found = members.flatMap((one, i) => (one.value !== null && this.shown(i) && inside(a, i, column) && inside(d, i, row) ? [one.value] : []));
      return { count: found.length, mean: found.length ? found.reduce((p, q) => p + q, 0) / found.length : null };
    }));
    const good = shares(means.flat().map((one) => one.mean), this.data.maximize);
    const cell = ({ mean, count }, r, c) => {
      if (mean === null) return element("td", {}, "-");
      const text = short(mean, 4), label = `${this.columns[a].name} ${across[c].text}, ${this.columns[d].name} ${down[r].text}: ${text}, mean of ${count}`;
      const brush = () => {
        const wanted = { [a]: [across[c].low, across[c].high], [d]: [down[r].low, down[r].high] };
        const same = Object.entries(wanted).every(([k, v]) => String(this.brushes[k]) === String(v));
        for (const [k, v] of Object.entries(wanted)) same ? delete this.brushes[k] : (this.brushes[k] = v);
        this.update();
      };
      return element("td", {}, element("button", { type: "button", "data-cell": `${r},${c}`, style: `--share:${good[r * across.length + c].toFixed(3)}`, "aria-label": label, title: label, onclick: brush }, text));
    };
    this.heat.replaceChildren(
      element("thead", {}, element("tr", {}, element("th", { scope: "col" }, `${plain(this.columns[d].name)} \\ ${plain(this.columns[a].name)}`), ...across.map(({ text }) => element("th", { scope: "col" }, text)))),
      element("tbody", {}, ...means.map((row, r) => element("tr", {}, element("th", { scope: "row" }, down[r].text), ...row.map((one, c) => cell(one, r, c))))),
    );
    if (focus) this.heat.querySelector(`[data-cell="${focus}"]`)?.focus();
  }

  tablePanel() {
    const { members, axes, metric, others, what } = this.data;
    this.fields = [
      { name: what, of: (one) => one.number }, ...axes.map((axis, k) => ({ name: axis.name, of: (one) => one.point[k] })), { name: metric, of: (one) => one.value },
      ...others.map((name) => ({ name, of: (one) => one.others[name] ?? null })), { name: "state", of: (one) => one.state },
    ];
    this.heads = this.fields.map(({ name }, k) => element("th", { scope: "col" }, element("button", { type: "button", class: "sort", onclick: () => this.sort(k) }, name)));
    this.body = element("tbody", { id: "members" });
    this.rows = members.map((one, i) => {
      const mark = element("button", { type: "button", "aria-pressed": "false", "aria-label": `Choose ${this.name(i)}`, onclick: () => this.mark(i, !this.marked.has(i)) }, String(one.number));
      const cells = this.fields.slice(1).map(({ of }) => element("td", {}, cellText(of(one))));
      const row = element("tr", { "data-member": i, class: one.number === this.data.best ? "best" : "" }, element("th", { scope: "row" }, mark), ...cells);
      row.addEventListener("pointerenter", (event) => {
        this.light(i);
        if (event.pointerType === "mouse" && event.buttons === 1 && this.painting !== null) this.mark(i, this.painting);
      });
      row.addEventListener("pointerleave", () => this.light(null));
      row.addEventListener("pointerdown", (event) => {
        if (event.pointerType !== "mouse" || event.target === mark) return;
        event.preventDefault();
        this.painting = !this.marked.has(i);
        this.mark(i, this.painting);
      });
      return row;
    });
    this.painting = null;
    window.addEventListener("pointerup", () => (this.painting = null));
    const table = element("table", {}, element("caption", { class: "hidden" }, `All ${what}s`), element("thead", {}, element("tr", {}, ...this.heads)), this.body);
    const note = `Choose rows by their button, or drag over them: the other views show these alone. The best ${what} is marked by a star.`;
    return element("div", { class: "panel wide" }, element("h3", {}, "Table"), element("div", { class: "table members", tabindex: "0", role: "region", "aria-label": `All ${what}s` }, table), element("p", { class: "note" }, note));
  }

  mark(i, on) {
    if (on) this.marked.add(i);
    else this.marked.delete(i);
    this.update();
  }

  sort(k) {
    this.sorted = { column: k, down: this.sorted.column === k && !this.sorted.down };
    this.heads.forEach((head, j) => (j === k ? head.setAttribute("aria-sort", this.sorted.down ? "descending" : "ascending") : head.removeAttribute("aria-sort")));
    this.fillTable();
  }

  fillTable() {
    const { column, down } = this.sorted, { members } = this.data;
    const order = column < 0 ? members.map((_, i) => i) : ordered(members.map(this.fields[column].of), down);
    const focus = document.activeElement;
    order.forEach((i, place) => {
      const row = this.rows[i], places = this.places.map((one) => one[i]);
      row.hidden = !within(places, this.brushes);
      row.classList.toggle("chosen", this.marked.has(i));
      pressed(row.querySelector("button"), this.marked.has(i));
      if (this.body.children[place] !== row) this.body.insertBefore(row, this.body.children[place] ?? null);
    });
    if (this.body.contains(focus)) focus.focus();
  }
}

function startMembers(place, data) {
  page.view = new Members(place, data);
  const button = document.getElementById("open-best"), stored = document.getElementById("best");
  button?.addEventListener("click", () => {
    const frame = document.getElementById("best-page"), open = frame.hidden;
    if (open && !frame.srcdoc) frame.srcdoc = JSON.parse(stored.textContent).replace('<html lang="en"', `<html lang="en" data-theme="${isDark() ? "dark" : "light"}"`);
    frame.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
    button.textContent = open ? "Close its page" : "Open its page";
    if (open) frame.scrollIntoView({ behavior: still() ? "auto" : "smooth" });
  });
}

if (typeof module !== "undefined") module.exports = { fractions, quantile, shares, within, bins, ordered, zoomed };
