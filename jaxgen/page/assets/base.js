// Small tools of the page: elements, the theme, copying, numbers.

const page = { data: null, errors: [], theme: [] };
window.addEventListener("error", (event) => page.errors.push(String(event.message)));
window.addEventListener("unhandledrejection", (event) => page.errors.push(String(event.reason)));

function element(tag, attributes = {}, ...children) {
  // A new element: attributes by name, `on...` as listeners, texts and elements inside.
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function drawn(tag, attributes = {}, ...children) {
  // The same for SVG.
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function short(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "not finite";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e6 || size < 1e-3)) return value.toExponential(Math.max(0, digits - 2)).replace("e+", "e");
  return String(Number(value.toPrecision(digits)));
}

function bytesOf(base64) {
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

function floats(base64) {
  return new Float32Array(bytesOf(base64).buffer);
}

async function inflated(id) {
  // The bytes that an element holds as base64 of their zlib stream.
  if (typeof DecompressionStream === "undefined") throw new Error("this browser is older than 2023 and cannot unpack the model");
  const stream = new Response(bytesOf(document.getElementById(id).textContent)).body.pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function still() {
  return window.matchMedia("(prefers-reduced-motion: reduce)").matches;
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : window.matchMedia("(prefers-color-scheme: dark)").matches;
}

function startTheme() {
  const button = document.getElementById("theme");
  const say = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `${isDark() ? "Light" : "Dark"} colors`);
    for (const redraw of page.theme) redraw();
  };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    say();
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", say);
  say();
}

function startCopying() {
  for (const button of document.querySelectorAll("button.copy")) {
    const source = button.parentElement.querySelector("code");
    button.addEventListener("click", async () => {
      let done = true;
      try {
        await navigator.clipboard.writeText(source.textContent);
      } catch {
        const range = document.createRange(); // a page opened from disk may not be allowed the clipboard
        range.selectNodeContents(source);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        done = document.execCommand("copy");
      }
      button.textContent = done ? "Copied" : "Selected";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    });
  }
}

function slider(label, options, change) {
  // A labeled range with its value beside it; `set(value)` moves it without calling `change`.
  const { min = -3, max = 3, step = 0.01, value = 0, digits = 2, unit = "", id = null } = options;
  const say = (x) => `${Number(x).toFixed(digits)}${unit}`;
  const range = element("input", { type: "range", min, max, step, value, "aria-label": label, id });
  const output = element("output", {}, say(value));
  range.addEventListener("input", () => {
    output.textContent = say(range.value);
    change(Number(range.value));
  });
  const set = (x) => {
    range.value = x;
    output.textContent = say(x);
  };
  return { node: element("div", { class: "slider" }, element("span", {}, label), range, output), set, range };
}

function resized(node, work) {
  // Do the work when the element has a new size, after the browser has laid out the page.
  new ResizeObserver(() => requestAnimationFrame(work)).observe(node);
}

function pressed(button, on) {
  button.setAttribute("aria-pressed", String(on));
}

function normal() {
  // A draw from the standard normal distribution (Box and Muller).
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}
