// Small images: from arrays, from a sheet of sprites, and drawn by hand.

function paint(canvas, values, [height, width, channels], from = 0) {
  // Numbers in [0, 1] as the canvas's pixels, one for one.
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d"), image = context.createImageData(width, height);
  for (let i = 0; i < height * width; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = Math.round(255 * values[from + i * channels + (channels === 3 ? c : 0)]);
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

function picture(label, kind = "") {
  return element("canvas", { class: `pixels ${kind}`, role: "img", "aria-label": label, width: 28, height: 28 });
}

async function openSprites(sheet) {
  // The sheet's images by number: `draw(canvas, i)`, and `read(i, channels)`, their first channels in [0, 1].
  const image = new Image();
  image.src = sheet.uri;
  await image.decode();
  const { columns, width, height } = sheet;
  const draw = (canvas, i) => {
    Object.assign(canvas, { width, height });
    canvas.getContext("2d").drawImage(image, (i % columns) * width, Math.floor(i / columns) * height, width, height, 0, 0, width, height);
  };
  let all = null;
  const read = (i, channels = 1) => {
    if (all === null) {
      const canvas = element("canvas", { width: image.naturalWidth, height: image.naturalHeight }), context = canvas.getContext("2d");
      context.drawImage(image, 0, 0);
      all = context.getImageData(0, 0, canvas.width, canvas.height);
    }
    const left = (i % columns) * width, top = Math.floor(i / columns) * height, found = new Float32Array(width * height * channels);
    for (let j = 0; j < width * height; j++)
      for (let c = 0; c < channels; c++)
        found[j * channels + c] = all.data[4 * ((top + Math.floor(j / width)) * all.width + left + (j % width)) + c] / 255;
    return found;
  };
  return { draw, read, count: sheet.count };
}

function stroke(pixels, width, height, from, to, radius) {
  // Brighten the pixels near the line between two points; a soft brush.
  const [ax, ay] = from, [bx, by] = to, length = (bx - ax) ** 2 + (by - ay) ** 2;
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const t = length ? Math.min(1, Math.max(0, ((x + 0.5 - ax) * (bx - ax) + (y + 0.5 - ay) * (by - ay)) / length)) : 0;
      const distance = Math.hypot(x + 0.5 - ax - t * (bx - ax), y + 0.5 - ay - t * (by - ay));
      const ink = Math.min(1, Math.max(0, radius + 0.5 - distance));
      pixels[y * width + x] = Math.max(pixels[y * width + x], ink);
    }
}

function centered(pixels, width, height) {
  // The pixels moved, by whole ones, so that their mean lies in the middle.
  let sum = 0, mx = 0, my = 0;
  for (let i = 0; i < pixels.length; i++) {
    sum += pixels[i];
    mx += pixels[i] * ((i % width) + 0.5);
    my += pixels[i] * (Math.floor(i / width) + 0.5);
  }
  if (sum === 0) return pixels;
  const dx = Math.round(width / 2 - mx / sum), dy = Math.round(height / 2 - my / sum);
  return pixels.map((_, i) => {
    const x = (i % width) - dx, y = Math.floor(i / width) - dy;
    return x >= 0 && x < width && y >= 0 && y < height ? pixels[y * width + x] : 0;
  });
}

class Pad {
  // A canvas to draw on with pointer or keys; `change(pixels)` is told of every stroke.
  constructor([height, width], change) {
    Object.assign(this, { width, height, change, pixels: new Float32Array(width * height), last: null });
    this.pen = [width / 2, height / 2];
    this.radius = width / 22;
    this.canvas = element("canvas", {
      class: "pixels pad", id: "pad", width, height, tabindex: "0", role: "img",
      "aria-label": "Draw here. With the keyboard: arrow keys move the pen, with shift they draw.",
    });
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.last = this.place(event);
      this.line(this.last, this.last);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (this.last === null) return;
      for (const one of event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event]) {
        const here = this.place(one);
        this.line(this.last, here);
        this.last = here;
      }
    });
    for (const name of ["pointerup", "pointercancel"]) this.canvas.addEventListener(name, () => (this.last = null));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.show();
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * this.width, ((event.clientY - box.top) / box.height) * this.height];
  }

  key(event) {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!move) return;
    event.preventDefault();
    const next = [Math.min(this.width, Math.max(0, this.pen[0] + move[0])), Math.min(this.height, Math.max(0, this.pen[1] + move[1]))];
    if (event.shiftKey) this.line(this.pen, next);
    this.pen = next;
    this.show(true);
  }

  line(from, to) {
    stroke(this.pixels, this.width, this.height, from, to, this.radius);
    this.set(this.pixels);
  }

  set(pixels) {
    this.pixels = pixels;
    this.show();
    this.change(pixels);
  }

  show(pen = false) {
    paint(this.canvas, this.pixels, [this.height, this.width, 1]);
    if (!pen) return;
    const context = this.canvas.getContext("2d");
    context.fillStyle = "#ff9a3c";
    context.fillRect(Math.floor(this.pen[0]), Math.floor(this.pen[1]), 1, 1);
  }
}

if (typeof module !== "undefined") module.exports = { stroke, centered };
