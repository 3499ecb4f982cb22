// GANs: noise along principal directions, classes, a walk, and what the discriminator says.

async function startNoise(place, data, model) {
  const view = new Noise(data, model);
  page.view = view;
  if (data.neighbors) view.neighbors = new Neighbors(data.neighbors, data.shape);
  await view.neighbors?.open();
  view.build(place);
  await view.set(Float32Array.from({ length: data.size }, normal));
}

function onSphere(from, to, t) {
  // The point on the great circle between two noise vectors: straight lines leave the shell that noise fills.
  let dot = 0, a = 0, b = 0;
  from.forEach((x, i) => { dot += x * to[i]; a += x * x; b += to[i] * to[i]; });
  const angle = Math.acos(Math.min(1, Math.max(-1, dot / Math.sqrt(a * b)))), sine = Math.sin(angle);
  if (sine < 1e-6) return from.map((x, i) => (1 - t) * x + t * to[i]);
  return from.map((x, i) => (Math.sin((1 - t) * angle) * x + Math.sin(t * angle) * to[i]) / sine);
}

function frame() {
  // The next frame, or a twentieth of a second where none is drawn.
  return new Promise((done) => {
    requestAnimationFrame(done);
    setTimeout(done, 50);
  });
}

class Noise {
  constructor(data, model) {
    Object.assign(this, { data, model, noise: new Float32Array(data.size), class_: 0, walking: false });
    this.directions = floats(data.directions);
    this.show = latest(() => this.generate());
    this.judge = latest((pixels) => this.logit(pixels, this.drawn));
  }

  along(k) {
    let sum = 0;
    for (let i = 0; i < this.data.size; i++) sum += this.noise[i] * this.directions[k * this.data.size + i];
    return sum;
  }

  classes() {
    return this.data.classes.length ? [Float32Array.from(this.data.classes, (_, i) => Number(i === this.class_))] : [];
  }

  build(place) {
    this.image = picture("What the generator draws", "big");
    this.image.id = "generated";
    const parts = [element("h3", {}, "Generated"), this.image];
    if (this.data.judged) parts.push((this.meter = this.makeMeter("of this image")).node);
    if (this.data.classes.length) parts.push(this.buttons());
    const random = element("button", { type: "button", id: "random", onclick: () => this.set(Float32Array.from({ length: this.data.size }, normal)) }, "New noise");
    this.walk = element("button", { type: "button", id: "walk", "aria-pressed": "false", onclick: () => this.toggle() }, "Random walk");
    const size = slider("truncation", { min: 0, max: 1.5, step: 0.01, value: 1, id: "truncation" }, (value) => {
      this.truncation = value;
      this.show();
    });
    this.truncation = 1;
    parts.push(element("div", { class: "row" }, random, this.walk), size.node, element("p", { class: "note" }, "Truncation multiplies the noise: below 1, images are more typical and less varied."));
    place.append(element("div", { class: "panel tall" }, ...parts), this.directionsPanel(), this.sheetPanel());
    if (this.neighbors) place.append(this.neighbors.node);
    if (this.data.drawable && this.data.judged) place.append(this.drawPanel());
  }

  buttons() {
    const buttons = this.data.classes.map((name, i) => element("button", { type: "button", "data-class": i, "aria-pressed": String(i === 0), onclick: () => {
      this.class_ = i;
      buttons.forEach((one, j) => pressed(one, i === j));
      this.show();
      this.fill();
      if (this.pad) this.judge(this.pad.pixels);
    } }, name));
    return element("div", { class: "classes", role: "group", "aria-label": "Class" }, ...buttons);
  }

  directionsPanel() {
    this.sliders = this.data.shares.map((share, k) => slider(`${k + 1}: ${(100 * share).toFixed(0)} %`, { min: -4, max: 4, id: `direction-${k + 1}` }, (value) => {
      const noise = this.noise.slice(), change = value - this.along(k);
      for (let i = 0; i < noise.length; i++) noise[i] += change * this.directions[k * noise.length + i];
      this.set(noise, k);
    }));
    return element("div", { class: "panel" }, element("h3", {}, "Directions of the noise"), ...this.sliders.map((one) => one.node), element("p", { class: "note" }, "The directions along which images change most, with their shares of the mean squared change."));
  }

  sheetPanel() {
    // A sheet of samples; one of them is taken over by a click.
    const count = this.data.worker ? 6 : 18;
    const grid = element("div", { style: "display:grid;grid-template-columns:repeat(6,1fr);gap:3px" });
    const samples = Array.from({ length: count }, (_, i) => {
      const canvas = element("canvas", { class: "pixels", "aria-hidden": "true", width: this.data.shape[1], height: this.data.shape[0] });
      const button = element("button", { type: "button", style: "padding:0;border:0;min-height:0", "aria-label": `Take sample ${i + 1}` }, canvas);
      grid.append(button);
      return { canvas, button };
    });
    const fill = (this.fill = latest(async () => {
      for (const { canvas, button } of samples) {
        const noise = Float32Array.from({ length: this.data.size }, normal);
        const [image] = await this.model.ask("generate", noise, ...this.classes());
        paint(canvas, image, this.data.shape);
        button.onclick = () => this.set(noise);
      }
    }));
    setTimeout(fill, 0);
    return element("div", { class: "panel" }, element("h3", {}, "Samples"), grid, element("div", { class: "row" }, element("button", { type: "button", onclick: fill }, "Others")), element("p", { class: "note" }, "Choose one to look at it."));
  }

  drawPanel() {
    this.drawn = this.makeMeter("of your drawing");
    this.pad = new Pad(this.data.shape, (pixels) => this.judge(pixels));
    const clear = element("button", { type: "button", onclick: () => this.pad.set(new Float32Array(this.pad.pixels.length)) }, "Clear");
    const take = element("button", { type: "button", onclick: async () => {
      const [image] = await this.model.ask("generate", this.truncated(), ...this.classes());
      this.pad.set(Float32Array.from(image));
    } }, "The generated image");
    return element("div", { class: "panel" }, element("h3", {}, "Fool the discriminator"), element("div", { class: "big" }, this.pad.canvas), element("div", { class: "row" }, clear, take), this.drawn.node);
  }

  makeMeter(what) {
    // A logit with the probability that it stands for.
    const value = element("b", {}, "-"), share = element("b", {}, "-");
    const mark = drawn("rect", { x: 49, width: 2, y: 0, height: 10, style: "fill:var(--s1)" });
    const bar = drawn("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", style: "width:100%;height:.9rem", "aria-hidden": "true" },
      drawn("rect", { x: 0, width: 100, y: 4, height: 2, style: "fill:var(--line)" }), drawn("rect", { x: 49.8, width: 0.4, y: 0, height: 10, style: "fill:var(--soft)" }), mark);
    const node = element("div", {}, element("div", { class: "numbers" },
      element("div", {}, value, element("span", {}, `discriminator's logit ${what}`)),
      this.data.logistic ? element("div", {}, share, element("span", {}, "probability of a real image")) : ""), bar);
    const set = (logit) => {
      value.textContent = logit.toFixed(2);
      share.textContent = `${(100 / (1 + Math.exp(-logit))).toFixed(0)} %`;
      mark.setAttribute("x", 49 + 49 * Math.tanh(logit / 5));
    };
    return { node, set };
  }

  truncated() {
    return this.noise.map((x) => this.truncation * x);
  }

  set(noise, moved = -1) {
    this.noise = Float32Array.from(noise);
    this.sliders.forEach((one, k) => k === moved || one.set(this.along(k)));
    return this.show();
  }

  async generate() {
    const [image] = await this.model.ask("generate", this.truncated(), ...this.classes());
    paint(this.image, image, this.data.shape);
    this.neighbors?.show(image);
    if (this.meter) await this.logit(image, this.meter);
  }

  async logit(pixels, meter) {
    const [logit] = await this.model.ask("discriminate", pixels, ...this.classes());
    meter.set(logit[0]);
  }

  toggle() {
    this.walking = !this.walking;
    pressed(this.walk, this.walking);
    if (this.walking) this.step();
  }

  async step() {
    // Along great circles from one random vector to the next, two seconds each.
    while (this.walking) {
      const from = this.noise, to = Float32Array.from({ length: this.data.size }, normal), start = performance.now();
      for (let t = 0; this.walking && t < 1; ) {
        t = Math.min(1, (performance.now() - start) / 2000);
        await this.set(onSphere(from, to, t));
        await frame();
      }
    }
  }
}

if (typeof module !== "undefined") module.exports = { onSphere };
