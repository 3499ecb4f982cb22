// CartPole in the page: who plays, the pushes of a person, the constants, and action values over the phase plane.

const TURNS = 3; // radians per second at the plane's edge
const PUSH = 12; // newtons of an arrow key

function startPole(place, data, model) {
  const view = new Pole(data, model.now);
  page.view = view;
  view.build(place);
  view.restart();
  if (!still()) view.toggle();
}

class Pole {
  constructor(data, net) {
    Object.assign(this, { data, net, physics: { ...data.physics }, state: [0, 0, 0, 0], count: 0, best: 0, playing: false, held: 0, mine: false, over: null, speed: 1 });
    this.what = "difference";
  }

  build(place) {
    this.stage = element("canvas", { class: "plane", id: "stage", tabindex: "0", role: "img", style: "cursor:default;touch-action:manipulation", "aria-label": "The pole on its cart. The left and right arrow keys push it." });
    this.said = element("div", { class: "numbers" });
    const button = (name, id, work) => element("button", { type: "button", id, onclick: work }, name);
    this.play = button("Play", "play", () => this.toggle());
    this.who = button("Take over", "who", () => this.takeOver());
    const hold = (name, force) => {
      const one = element("button", { type: "button", "aria-label": `Push ${name}` }, force < 0 ? "◀ push" : "push ▶");
      one.addEventListener("pointerdown", () => (this.held = force));
      for (const end of ["pointerup", "pointerleave", "pointercancel"]) one.addEventListener(end, () => (this.held = 0));
      return one;
    };
    const row = element("div", { class: "row" }, this.play, button("Start again", "again", () => this.restart()), this.who, hold("left", -1), hold("right", 1));
    this.who.setAttribute("aria-pressed", "false");
    place.append(element("div", { class: "panel wide" }, element("h3", {}, "The pole"), this.stage, row, this.said, element("p", { class: "note" }, "While the net plays, the arrow keys push the cart with 12 N. After taking over they choose its motor's direction, and the last one stays.")));
    place.append(this.constants(), this.planePanel());
    window.addEventListener("keydown", (event) => this.key(event, true));
    window.addEventListener("keyup", (event) => this.key(event, false));
    resized(this.stage, () => this.draw());
    page.theme.push(() => this.draw());
  }

  constants() {
    const p = this.data.physics, make = (label, id, name, min, max, unit, factor = 1) =>
      slider(label, { min, max, step: (max - min) / 200, value: factor * p[name], id, unit }, (value) => (this.physics[name] = value / factor));
    const list = [
      make("gravity", "gravity", "gravity", 0, 30, ""),
      make("pole, meters", "length", "length", 0.2, 4, "", 2),
      make("motor, newtons", "force", "force_mag", 2, 30, ""),
      make("mass of the pole", "mass", "masspole", 0.02, 1, ""),
    ];
    const names = ["gravity", "length", "force_mag", "masspole"], factors = [1, 2, 1, 1];
    const reset = element("button", { type: "button", onclick: () => {
      this.physics = { ...p };
      list.forEach((one, i) => one.set(factors[i] * p[names[i]]));
    } }, "As in training");
    const speed = slider("speed", { min: 0.1, max: 2, step: 0.05, value: 1, id: "speed" }, (value) => (this.speed = value));
    return element("div", { class: "panel" }, element("h3", {}, "The world"), ...list.map((one) => one.node), speed.node, element("div", { class: "row" }, reset), element("p", { class: "note" }, "The net was trained with gravity 9.8 and a pole of 1 meter. How far does what it learned carry?"));
  }

  planePanel() {
    this.map = element("canvas", { class: "plane", id: "phase", role: "img", style: "cursor:default;touch-action:auto", "aria-label": "Action values over the pole's angle and angular velocity, the current state marked" });
    resized(this.map, () => this.draw());
    const pick = element("select", { id: "what", "aria-label": "Shown value", onchange: (e) => { this.what = e.target.value; this.surface = null; this.draw(); } },
      element("option", { value: "difference" }, "right minus left"), element("option", { value: "value" }, "value of the better"));
    this.key_ = element("p", { class: "note" });
    return element("div", { class: "panel" }, element("h3", {}, "Action values"), this.map, element("div", { class: "row" }, pick), this.key_);
  }

  key(event, down) {
    const force = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!force || event.target.matches?.("input, select, .chart svg")) return;
    event.preventDefault();
    if (down) this.held = force;
    else if (this.held === force) this.held = 0;
  }

  takeOver() {
    this.mine = !this.mine;
    pressed(this.who, this.mine);
    this.who.textContent = this.mine ? "Let the net play" : "Take over";
    this.motor = 1;
  }

  toggle() {
    this.playing = !this.playing;
    this.play.textContent = this.playing ? "Pause" : "Play";
    if (!this.playing) return;
    this.then = null;
    requestAnimationFrame((now) => this.frame(now));
  }

  restart() {
    Object.assign(this, { state: cartStart(), count: 0, over: null, surface: null });
    this.draw();
  }

  frame(now) {
    if (!this.playing) return;
    this.then ??= now;
    const step = (1000 * this.physics.tau) / this.speed;
    for (let n = 0; n < 8 && now - this.then >= step; n++, this.then += step) this.advance();
    if (now - this.then > 8 * step) this.then = now;
    this.draw();
    requestAnimationFrame((next) => this.frame(next));
  }

  advance() {
    // One step of the world: the motor's force by net or person, and the push of a held key.
    if (this.over !== null) {
      if (++this.over > 75) this.restart();
      return;
    }
    if (this.mine && this.held) this.motor = this.held;
    this.values = this.net.values(Float32Array.from(this.state))[0];
    this.action = this.mine ? Number(this.motor > 0) : Number(this.values[1] > this.values[0]);
    const force = (2 * this.action - 1) * this.physics.force_mag + (this.mine ? 0 : PUSH * this.held);
    this.state = cartStep(this.state, force, this.physics);
    this.count++;
    this.best = Math.max(this.best, this.count);
    if (cartFallen(this.state, this.physics)) this.over = 0;
  }

  draw() {
    this.drawStage();
    this.drawPlane();
    const one = (name, value) => element("div", {}, element("b", {}, value), element("span", {}, name));
    const q = this.net.values(Float32Array.from(this.state))[0];
    const score = this.over !== null ? `${this.count}, over` : String(this.count);
    this.said.replaceChildren(one(`steps; training ended at ${this.data.steps}`, score), one("longest here", String(this.best)), one("value of left", q[0].toFixed(1)), one("value of right", q[1].toFixed(1)));
  }

  sized(canvas, aspect) {
    const ratio = window.devicePixelRatio || 1, width = Math.round(canvas.clientWidth * ratio);
    if (!width) return 0;
    if (canvas.width !== width) Object.assign(canvas, { width, height: Math.round(width * aspect) });
    return ratio;
  }

  drawStage() {
    const ratio = this.sized(this.stage, 0.36);
    if (!ratio) return;
    const { width, height } = this.stage, c = this.stage.getContext("2d"), p = this.physics;
    const meter = width / (2 * p.x_threshold + 0.6), ground = height - 0.12 * height, middle = width / 2;
    c.fillStyle = "#f4f4f1";
    c.fillRect(0, 0, width, height);
    c.strokeStyle = "#777777";
    c.lineWidth = 2 * ratio;
    c.beginPath();
    c.moveTo(0, ground);
    c.lineTo(width, ground);
    for (const end of [-p.x_threshold, p.x_threshold]) {
      c.moveTo(middle + meter * end, ground - 0.06 * height);
      c.lineTo(middle + meter * end, ground + 0.06 * height);
    }
    c.stroke();
    const x = middle + meter * this.state[0], w = 0.36 * meter, h = 0.2 * meter, hinge = ground - h;
    c.fillStyle = this.over !== null ? "#8f2400" : "#1b1f24";
    c.fillRect(x - w / 2, hinge, w, h);
    c.strokeStyle = "#c08615";
    c.lineWidth = 0.09 * meter;
    c.lineCap = "round";
    c.beginPath();
    c.moveTo(x, hinge);
    c.lineTo(x + 2 * p.length * meter * Math.sin(this.state[2]), hinge - 2 * p.length * meter * Math.cos(this.state[2]));
    c.stroke();
    c.fillStyle = "#7f42f2";
    c.beginPath();
    c.arc(x, hinge, 0.05 * meter, 0, 2 * Math.PI);
    c.fill();
    if (this.held && !this.mine) this.arrow(c, x, hinge + h / 2, w, meter);
  }

  arrow(c, x, y, w, meter) {
    const from = x + (this.held * w) / 2, to = from + this.held * 0.4 * meter;
    c.fillStyle = "#0b5cad";
    c.beginPath();
    c.moveTo(to, y);
    c.lineTo(from, y - 0.1 * meter);
    c.lineTo(from, y + 0.1 * meter);
    c.fill();
  }

  drawPlane() {
    const ratio = this.sized(this.map, 0.75);
    if (!ratio) return;
    const side = this.data.grid, angles = this.physics.theta_threshold_radians;
    if (!this.surface || ++this.age >= 4) this.fillPlane(side, angles);
    const { width, height } = this.map, c = this.map.getContext("2d");
    c.imageSmoothingEnabled = true;
    c.drawImage(this.surface, 0, 0, width, height);
    c.strokeStyle = "#00000050";
    c.lineWidth = ratio;
    c.beginPath();
    c.moveTo(0, height / 2);
    c.lineTo(width, height / 2);
    c.moveTo(width / 2, 0);
    c.lineTo(width / 2, height);
    c.stroke();
    const x = (width * (1 + this.state[2] / angles)) / 2, y = (height * (1 - this.state[3] / TURNS)) / 2;
    for (const [line, ink] of [[5, "#ffffff"], [2.5, "#111111"]]) {
      c.beginPath();
      c.arc(Math.min(width, Math.max(0, x)), Math.min(height, Math.max(0, y)), 7 * ratio, 0, 2 * Math.PI);
      c.lineWidth = line * ratio;
      c.strokeStyle = ink;
      c.stroke();
    }
    c.fillStyle = "#111111";
    c.font = `${12 * ratio}px system-ui, sans-serif`;
    c.textAlign = "right";
    c.fillText("angle, ±12°", width - 6 * ratio, height / 2 - 6 * ratio);
    c.textAlign = "left";
    c.fillText(`angular velocity, ±${TURNS} rad/s`, width / 2 + 6 * ratio, 16 * ratio);
  }

  fillPlane(side, angles) {
    // The cart where it is now, the pole everywhere.
    const [q] = this.net.plane(phaseStates(this.state, side, angles, TURNS)), difference = this.what === "difference";
    const shown = Array.from({ length: side * side }, (_, i) => (difference ? q[2 * i + 1] - q[2 * i] : Math.max(q[2 * i], q[2 * i + 1])));
    const low = Math.min(...shown), high = Math.max(...shown), limit = Math.max(Math.abs(low), Math.abs(high)) || 1;
    const canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
    const c = canvas.getContext("2d"), image = c.createImageData(side, side);
    shown.forEach((value, i) => image.data.set([...(difference ? signed(value / limit) : rising((value - low) / (high - low || 1))), 255], 4 * i));
    c.putImageData(image, 0, 0);
    [this.surface, this.age] = [canvas, 0];
    this.key_.textContent = difference
      ? `Orange: the net pushes right, blue: left; white: both are worth the same. Largest difference ${short(limit, 3)}.`
      : `From ${short(low, 3)}, dark, to ${short(high, 3)}, bright.`;
  }
}

function signed(t) {
  // From blue over white to orange.
  const end = t < 0 ? [0, 101, 168] : [214, 104, 0], share = Math.min(1, Math.abs(t)) ** 0.6;
  return end.map((x) => Math.round(255 + share * (x - 255)));
}

function rising(t) {
  const stops = [[38, 30, 92], [44, 110, 142], [60, 175, 125], [244, 230, 60]], at = Math.min(2.999, Math.max(0, 3 * t)), i = Math.floor(at);
  return stops[i].map((x, k) => Math.round(x + (at - i) * (stops[i + 1][k] - x)));
}
