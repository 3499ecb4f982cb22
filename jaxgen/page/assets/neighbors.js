// The training images nearest to an image, among small ones that the page holds. The arithmetic comes first.

function shrunk(pixels, [height, width, channels], by) {
  // Means over squares of `by` pixels.
  const h = height / by, w = width / by, small = new Float32Array(h * w * channels);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let c = 0; c < channels; c++)
        small[(Math.floor(y / by) * w + Math.floor(x / by)) * channels + c] += pixels[(y * width + x) * channels + c] / (by * by);
  return small;
}

function nearestOf(small, every, count) {
  // The `count` images of `every`, one after the other, with the smallest distance from `small`: [index, distance].
  const size = small.length, found = [];
  for (let i = 0; i < every.length / size; i++) {
    let sum = 0;
    for (let j = 0; j < size; j++) sum += (every[i * size + j] - small[j]) ** 2;
    found.push([i, Math.sqrt(sum / size)]);
  }
  return found.sort((a, b) => a[1] - b[1]).slice(0, count);
}

class Neighbors {
  constructor(data, shape) {
    Object.assign(this, { data, shape });
    const count = data.labels.length.toLocaleString("en"), total = data.total.toLocaleString("en");
    this.slots = Array.from({ length: 5 }, () => ({ canvas: picture("A training image"), text: element("span", { class: "note" }) }));
    const grid = element("div", { style: "display:grid;grid-template-columns:repeat(5,1fr);gap:6px" }, ...this.slots.map(({ canvas, text }) => element("div", {}, canvas, text)));
    const size = data.factor > 1 ? `, at 1/${data.factor} of their size` : "";
    const of = count === total ? `the ${total}` : `${count} of the ${total}`;
    const note = `Of ${of} training images${size}, those with the smallest root mean square difference of pixels (0 to 1). Equal pictures would be copies.`;
    this.node = element("div", { class: "panel", id: "neighbors" }, element("h3", {}, "Nearest training images"), grid, element("p", { class: "note" }, note));
  }

  async open() {
    this.sprites = await openSprites(this.data.sheet);
    const parts = Array.from({ length: this.sprites.count }, (_, i) => this.sprites.read(i, this.shape[2]));
    this.every = new Float32Array(parts.length * parts[0].length);
    parts.forEach((part, i) => this.every.set(part, i * part.length));
  }

  show(pixels) {
    this.found = nearestOf(shrunk(pixels, this.shape, this.data.factor), this.every, this.slots.length);
    this.found.forEach(([i, distance], k) => {
      const name = this.data.names[this.data.labels[i]] ?? String(this.data.labels[i]);
      this.sprites.draw(this.slots[k].canvas, i);
      this.slots[k].text.textContent = `${name}, ${distance.toFixed(3)}`;
      this.slots[k].canvas.setAttribute("aria-label", `Training image, class ${name}, at a distance of ${distance.toFixed(3)}`);
    });
  }
}

if (typeof module !== "undefined") module.exports = { shrunk, nearestOf };
