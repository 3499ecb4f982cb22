// Autoencoders and VAEs: the code plane, the decoder, paths between test images, and images drawn by hand.

const CELLS = 14; // decoded images along each side of the plane
const STEPS = 8; // images of a path

async function startCodes(place, data, model) {
  const view = new Codes(data, model);
  page.view = view;
  if (data.sprites) view.sprites = await openSprites(data.sprites);
  view.codes = data.codes ? Float32Array.from(new Int16Array(bytesOf(data.codes).buffer), (one) => one * data.step) : new Float32Array(0);
  view.build(place);
  if (view.pad && view.sprites) view.pad.set(view.sprites.read(0));
  await view.setCode(view.sprites ? view.codeOf(0) : new Float32Array(data.latents));
}

function triangleRows(scale, latents) {
  // Standard deviations of latents: as they are, or the row norms of a triangle.
  if (scale.length === latents) return Array.from(scale);
  return Array.from({ length: latents }, (_, i) => Math.hypot(...scale.slice(i * latents, (i + 1) * latents)));
}

class Codes {
  constructor(data, model) {
    Object.assign(this, { data, model, code: new Float32Array(data.latents), axes: data.order.slice(0, 2), class_: null });
    this.posterior = null;
    this.cells = null;
    this.ends = [0, 1];
    this.showCode = latest(() => this.decode());
    this.showPath = latest(() => this.path());
    this.showDrawn = latest((pixels) => this.encode(pixels));
  }

  codeOf(i) {
    return this.codes.slice(i * this.data.latents, (i + 1) * this.data.latents);
  }

  build(place) {
    if (this.data.latents > 1) place.append(this.planePanel());
    place.append(this.codePanel());
    if (this.sprites) place.append(this.pathPanel());
    if (this.data.drawable) place.append(this.drawPanel());
    page.theme.push(() => this.draw());
  }

  // The plane.

  planePanel() {
    const label = "Code plane. Arrow keys move the point.";
    this.plane = element("canvas", { class: "plane", id: "plane", tabindex: "0", role: "img", "aria-label": label });
    this.plane.addEventListener("pointerdown", (event) => {
      this.plane.setPointerCapture(event.pointerId);
      this.dragging = true;
      this.drag(event);
    });
    this.plane.addEventListener("pointermove", (event) => this.dragging && this.drag(event));
    for (const name of ["pointerup", "pointercancel"]) this.plane.addEventListener(name, () => (this.dragging = false));
    this.plane.addEventListener("keydown", (event) => this.key(event));
    resized(this.plane, () => this.resize());
    const pick = (side) => element("select", { "aria-label": side ? "Vertical latent" : "Horizontal latent", onchange: (e) => {
      this.axes[side] = Number(e.target.value);
      this.cells = null;
      this.draw();
    } }, ...this.data.order.map((latent) => element("option", { value: latent, selected: latent === this.axes[side] }, `latent ${latent + 1}`)));
    const behind = element("input", { type: "checkbox", id: "behind", onchange: (e) => (e.target.checked ? this.fill() : this.empty()) });
    const parts = [element("h3", {}, "Code plane"), this.plane];
    if (this.codes.length) parts.push(this.legend());
    const row = element("div", { class: "row" }, element("label", {}, behind, "Decode the whole plane"));
    if (this.data.latents > 2) row.append(element("label", {}, "across", pick(0)), element("label", {}, "up", pick(1)));
    parts.push(row, element("p", { class: "note" }, this.planeNote()));
    return element("div", { class: "panel tall" }, ...parts);
  }

  planeNote() {
    const points = this.codes.length ? `Points: ${this.data.labels.length.toLocaleString("en")} test images at their codes. ` : "The test images are not here. ";
    return points + (this.data.prior ? "Rings: one, two and three standard deviations of the prior." : "");
  }

  legend() {
    const buttons = this.data.classes.map((name, i) => {
      const button = element("button", { type: "button", "aria-pressed": "false", onclick: () => {
        this.class_ = this.class_ === i ? null : i;
        buttons.forEach((one, j) => pressed(one, this.class_ === j));
        this.layer = null;
        this.draw();
      } }, element("span", { class: "swatch", style: `background:${this.data.colors[i % this.data.colors.length]}` }), name);
      return button;
    });
    return element("div", { class: "classes", role: "group", "aria-label": "Show one class" }, ...buttons);
  }

  resize() {
    const width = this.plane.clientWidth, ratio = window.devicePixelRatio || 1;
    if (!width) return;
    const size = Math.round(width * ratio);
    if (this.plane.width !== size) Object.assign(this.plane, { width: size, height: Math.round(size * 0.85) });
    this.layer = null;
    this.draw();
  }

  at(side, value) {
    // A coordinate in pixels of the canvas.
    const [low, high] = this.data.ranges[this.axes[side]];
    const share = (value - low) / (high - low);
    return side ? (1 - share) * this.plane.height : share * this.plane.width;
  }

  drag(event) {
    const box = this.plane.getBoundingClientRect(), code = this.code.slice();
    const shares = [(event.clientX - box.left) / box.width, 1 - (event.clientY - box.top) / box.height];
    shares.forEach((share, side) => {
      const [low, high] = this.data.ranges[this.axes[side]];
      code[this.axes[side]] = low + Math.min(1, Math.max(0, share)) * (high - low);
    });
    this.setCode(code);
  }

  key(event) {
    const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowDown: [1, -1], ArrowUp: [1, 1] }[event.key];
    if (!move) return;
    event.preventDefault();
    const latent = this.axes[move[0]], code = this.code.slice(), [low, high] = this.data.ranges[latent];
    code[latent] = Math.min(high, Math.max(low, code[latent] + (move[1] * (high - low)) / 60));
    this.setCode(code);
  }

  background() {
    // What does not change as the point moves: cells, prior and test images.
    const { width, height } = this.plane, layer = Object.assign(document.createElement("canvas"), { width, height });
    const context = layer.getContext("2d"), ratio = width / (this.plane.clientWidth || width);
    context.fillStyle = "#f4f4f1";
    context.fillRect(0, 0, width, height);
    if (this.cells) {
      context.imageSmoothingEnabled = false;
      const w = width / CELLS, h = height / CELLS;
      this.cells.forEach((cell, i) => context.drawImage(cell, (i % CELLS) * w, Math.floor(i / CELLS) * h, w + 1, h + 1));
    }
    context.strokeStyle = this.cells ? "#ffffff70" : "#0003";
    context.lineWidth = ratio;
    for (const side of [0, 1]) {
      context.beginPath();
      const zero = this.at(side, 0);
      side ? (context.moveTo(0, zero), context.lineTo(width, zero)) : (context.moveTo(zero, 0), context.lineTo(zero, height));
      context.stroke();
    }
    if (this.data.prior)
      for (const radius of [1, 2, 3]) {
        context.beginPath();
        const [x, y] = [this.at(0, 0), this.at(1, 0)];
        context.ellipse(x, y, Math.abs(this.at(0, radius) - x), Math.abs(this.at(1, radius) - y), 0, 0, 2 * Math.PI);
        context.stroke();
      }
    this.points(context, ratio);
    return layer;
  }

  points(context, ratio) {
    const { labels, colors, latents } = this.data;
    const size = ratio * (labels.length > 700 ? 2.4 : 3.4);
    labels.forEach((label, i) => {
      const shown = this.class_ === null || this.class_ === label;
      context.globalAlpha = shown ? 0.85 : 0.08;
      context.fillStyle = label < 0 ? "#b0b0b0" : colors[label % colors.length];
      context.beginPath();
      context.arc(this.at(0, this.codes[i * latents + this.axes[0]]), this.at(1, this.codes[i * latents + this.axes[1]]), size, 0, 2 * Math.PI);
      context.fill();
      context.lineWidth = 0.5 * ratio;
      context.strokeStyle = this.cells ? "#ffffffb0" : "#00000060";
      context.stroke();
    });
    context.globalAlpha = 1;
    this.names(context, ratio);
  }

  names(context, ratio) {
    // The name of each class at the median of its codes.
    const { labels, classes, latents } = this.data;
    context.font = `600 ${13 * ratio}px system-ui, sans-serif`;
    context.textAlign = "center";
    classes.forEach((name, label) => {
      const own = labels.map((one, i) => (one === label ? i : -1)).filter((i) => i >= 0);
      if (!own.length || (this.class_ !== null && this.class_ !== label)) return;
      const middle = (latent) => own.map((i) => this.codes[i * latents + latent]).sort((a, b) => a - b)[own.length >> 1];
      const x = this.at(0, middle(this.axes[0])), y = this.at(1, middle(this.axes[1])) + 5 * ratio;
      context.lineWidth = 3.5 * ratio;
      context.strokeStyle = "#ffffff";
      context.strokeText(name, x, y);
      context.fillStyle = "#111111";
      context.fillText(name, x, y);
    });
  }

  draw() {
    if (!this.plane || !this.plane.width || this.plane.clientWidth === 0) return;
    const key = this.axes.join();
    if (!this.layer || this.layerOf !== key) [this.layer, this.layerOf] = [this.background(), key];
    const context = this.plane.getContext("2d"), ratio = this.plane.width / this.plane.clientWidth;
    context.drawImage(this.layer, 0, 0);
    const spot = (code) => [this.at(0, code[this.axes[0]]), this.at(1, code[this.axes[1]])];
    if (this.sprites) {
      const [from, to] = this.ends.map((i) => spot(this.codeOf(i)));
      context.setLineDash([6 * ratio, 4 * ratio]);
      this.line(context, [from, to], ratio);
      context.setLineDash([]);
    }
    if (this.posterior) {
      const { mean, deviation } = this.posterior, [x, y] = spot(mean);
      const radii = this.axes.map((latent, side) => Math.abs(this.at(side, mean[latent] + 2 * (deviation ? deviation[latent] : 0)) - this.at(side, mean[latent])));
      this.ring(context, x, y, Math.max(radii[0], 4 * ratio), Math.max(radii[1], 4 * ratio), ratio, "#b34700");
    }
    this.ring(context, ...spot(this.code), 8 * ratio, 8 * ratio, ratio, "#0b5cad");
  }

  line(context, points, ratio) {
    context.beginPath();
    points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.lineWidth = 2 * ratio;
    context.strokeStyle = "#333333";
    context.stroke();
  }

  ring(context, x, y, a, b, ratio, ink) {
    for (const [width, style] of [[5, "#ffffff"], [2.5, ink]]) {
      context.beginPath();
      context.ellipse(x, y, a, b, 0, 0, 2 * Math.PI);
      context.lineWidth = width * ratio;
      context.strokeStyle = style;
      context.stroke();
    }
  }

  async fill() {
    // Decode a grid over the plane, the other latents as they are.
    const cells = [], axes = this.axes.slice(), code = this.code.slice();
    for (let i = 0; i < CELLS * CELLS; i++) {
      const shares = [((i % CELLS) + 0.5) / CELLS, 1 - (Math.floor(i / CELLS) + 0.5) / CELLS];
      shares.forEach((share, side) => {
        const [low, high] = this.data.ranges[axes[side]];
        code[axes[side]] = low + share * (high - low);
      });
      const [image] = await this.model.ask("decode", code), canvas = document.createElement("canvas");
      paint(canvas, image, this.data.shape);
      cells.push(canvas);
      if (i % CELLS === CELLS - 1) await new Promise((done) => setTimeout(done, 0));
    }
    if (!document.getElementById("behind").checked) return;
    this.cells = cells;
    this.layer = null;
    this.draw();
  }

  empty() {
    this.cells = this.layer = null;
    this.draw();
  }

  // One code.

  codePanel() {
    this.image = picture("What the decoder draws at the chosen code", "big");
    this.image.id = "decoded";
    const parts = [element("h3", {}, "Decoded")];
    if (this.sprites) {
      this.near = picture("The nearest test image", "");
      parts.push(element("div", { class: "pair" }, element("div", {}, this.image, element("span", { class: "note" }, "decoded here")), element("div", {}, this.near, (this.nearNote = element("span", { class: "note" }, "nearest test image")))));
    } else parts.push(this.image);
    this.sliders = new Map();
    const list = element("div", { class: "sliders" });
    for (const latent of this.data.order) {
      const [min, max] = this.data.ranges[latent];
      const one = slider(this.label(latent), { min, max, step: (max - min) / 600, id: `latent-${latent + 1}` }, (value) => {
        const code = this.code.slice();
        code[latent] = value;
        this.setCode(code);
      });
      this.sliders.set(latent, one);
      list.append(one.node);
    }
    const random = element("button", { type: "button", onclick: () => this.setCode(this.random()) }, this.data.prior ? "Random code" : "Random test code");
    const middle = element("button", { type: "button", onclick: () => this.setCode(new Float32Array(this.data.latents)) }, "Zero");
    parts.push(element("div", { class: "row" }, random, middle), list);
    if (this.data.information) parts.push(element("p", { class: "note" }, "Sliders are in the order of the nats that their latents carry."));
    return element("div", { class: "panel" }, ...parts);
  }

  label(latent) {
    const nats = this.data.information;
    return `latent ${latent + 1}` + (nats ? `, ${nats[latent].toFixed(2)} nats` : "");
  }

  random() {
    if (this.data.prior) return Float32Array.from({ length: this.data.latents }, normal);
    const count = this.data.labels.length;
    return count ? this.codeOf(Math.floor(Math.random() * count)) : Float32Array.from({ length: this.data.latents }, (_, i) => this.data.ranges[i][0] + Math.random() * (this.data.ranges[i][1] - this.data.ranges[i][0]));
  }

  setCode(code) {
    this.code = Float32Array.from(code);
    for (const [latent, one] of this.sliders) one.set(this.code[latent]);
    this.draw();
    return this.showCode();
  }

  async decode() {
    const code = this.code.slice(), [image] = await this.model.ask("decode", code);
    paint(this.image, image, this.data.shape);
    if (!this.sprites) return;
    const { latents } = this.data;
    let best = 0, least = Infinity;
    for (let i = 0; i < this.sprites.count; i++) {
      let distance = 0;
      for (let j = 0; j < latents; j++) distance += (this.codes[i * latents + j] - code[j]) ** 2;
      if (distance < least) [best, least] = [i, distance];
    }
    this.sprites.draw(this.near, best);
    this.nearNote.textContent = `nearest test image: ${this.data.classes[this.data.labels[best]] ?? "unlabeled"}`;
  }

  // From one test image to another.

  pathPanel() {
    const { labels } = this.data, other = labels.findIndex((label) => label !== labels[0]);
    this.ends = [0, Math.max(other, Math.min(1, this.sprites.count - 1))];
    this.thumbs = [0, 1].map((side) => picture(side ? "The path's last image" : "The path's first image", "thumb"));
    const ends = this.thumbs.map((thumb, side) => {
      const another = element("button", { type: "button", "aria-label": side ? "Another last image" : "Another first image", onclick: () => {
        this.ends[side] = Math.floor(Math.random() * this.sprites.count);
        this.draw();
        this.showPath();
      } }, "Another");
      return element("div", {}, thumb, another);
    });
    this.strip = element("div", { class: "strip", role: "img", "aria-label": "Decoded images along the path" });
    this.frames = Array.from({ length: STEPS }, () => this.strip.appendChild(element("canvas", { class: "pixels", width: this.data.shape[1], height: this.data.shape[0] })));
    const along = slider("along", { min: 0, max: 1, step: 0.005, id: "along" }, (t) => {
      const [a, b] = this.ends.map((i) => this.codeOf(i));
      this.setCode(a.map((x, j) => (1 - t) * x + t * b[j]));
    });
    setTimeout(() => this.showPath(), 0);
    return element("div", { class: "panel" }, element("h3", {}, "From one test image to another"), element("div", { class: "row" }, ...ends), this.strip, along.node, element("p", { class: "note" }, "Decoded along the straight line between their codes, which is dashed in the plane."));
  }

  async path() {
    const [a, b] = this.ends.map((i) => this.codeOf(i));
    this.thumbs.forEach((thumb, side) => this.sprites.draw(thumb, this.ends[side]));
    for (let k = 0; k < STEPS; k++) {
      const t = k / (STEPS - 1);
      const [image] = await this.model.ask("decode", a.map((x, j) => (1 - t) * x + t * b[j]));
      paint(this.frames[k], image, this.data.shape);
    }
  }

  // Drawn by hand.

  drawPanel() {
    this.pad = new Pad(this.data.shape, (pixels) => this.showDrawn(pixels));
    this.rebuilt = picture("Its reconstruction");
    this.rebuilt.id = "rebuilt";
    this.bars = element("div", { class: "bars" });
    this.numbers = element("div", { class: "numbers", "aria-live": "polite" });
    const button = (name, work) => element("button", { type: "button", onclick: work }, name);
    const row = element("div", { class: "row" },
      button("Clear", () => this.pad.set(new Float32Array(this.pad.pixels.length))),
      button("Center", () => this.pad.set(centered(this.pad.pixels, this.pad.width, this.pad.height))),
    );
    if (this.sprites) row.append(button("A test image", () => this.pad.set(this.sprites.read(Math.floor(Math.random() * this.sprites.count)))));
    const half = (canvas, name) => element("div", {}, canvas, element("span", { class: "note" }, name));
    return element("div", { class: "panel wide" },
      element("h3", {}, "Draw one"),
      element("div", { class: "alive" },
        element("div", {}, element("div", { class: "pair" }, half(this.pad.canvas, "yours: draw here"), half(this.rebuilt, "its reconstruction")), row),
        element("div", {}, this.numbers, this.bars)),
      element("p", { class: "note" }, this.data.prior ? "Bars: the posterior's mean and two standard deviations to each side, on the range of the prior." : "Bars: the code."),
    );
  }

  async encode(pixels) {
    const [mean, scale] = await this.model.ask("encode", pixels);
    const deviation = scale ? triangleRows(scale, this.data.latents) : null;
    this.posterior = { mean, deviation };
    const [image] = await this.model.ask("decode", mean);
    paint(this.rebuilt, image, this.data.shape);
    this.showBars(mean, deviation);
    if (this.data.prior) await this.showTerms(pixels);
    this.draw();
  }

  async showTerms(pixels) {
    // Distortion as a mean over draws from the posterior; the rate needs none.
    const draws = 8;
    let distortion = 0, rate = 0;
    for (let i = 0; i < draws; i++) {
      const noise = Float32Array.from({ length: this.data.latents }, normal);
      const terms = named(this.model, "terms", await this.model.ask("terms", pixels, noise));
      distortion += terms.distortion[0] / draws;
      rate = terms.rate[0];
    }
    const one = (name, value) => element("div", {}, element("b", {}, value.toFixed(1)), element("span", {}, `${name}, nats`));
    this.numbers.replaceChildren(one("distortion", distortion), one("rate", rate), one("negative ELBO", distortion + rate));
  }

  showBars(mean, deviation) {
    const rows = this.data.order.slice(0, 12).map((latent) => {
      const [low, high] = this.data.ranges[latent], share = (x) => 100 * Math.min(1, Math.max(0, (x - low) / (high - low)));
      const spread = deviation ? 2 * deviation[latent] : 0, left = share(mean[latent] - spread), right = share(mean[latent] + spread);
      const bar = drawn("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", style: "width:100%;height:.8rem", "aria-hidden": "true" },
        drawn("line", { x1: 0, x2: 100, y1: 5, y2: 5, stroke: "var(--line)", "stroke-width": 1 }),
        drawn("rect", { x: left, width: Math.max(0.4, right - left), y: 2, height: 6, style: "fill:var(--s1);opacity:.45" }),
        drawn("rect", { x: share(mean[latent]) - 0.6, width: 1.2, y: 0, height: 10, style: "fill:var(--s1)" }));
      const said = deviation ? `${mean[latent].toFixed(2)} ± ${deviation[latent].toFixed(2)}` : mean[latent].toFixed(2);
      return element("div", { class: "slider", style: "grid-template-columns:4.6rem 1fr 6rem" }, element("span", {}, `latent ${latent + 1}`), bar, element("output", {}, said));
    });
    this.bars.replaceChildren(...rows);
  }
}
