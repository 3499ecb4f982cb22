// A generator too large for a page: images computed when the page was written, along the same directions.

async function startSprites(place, data) {
  const sprites = await openSprites(data.sheet), image = picture("What the generator drew", "big");
  const view = { sample: 0, direction: 0, position: data.positions.length >> 1 };
  page.view = view;
  image.id = "generated";
  const neighbors = data.neighbors ? new Neighbors(data.neighbors, data.shape) : null;
  await neighbors?.open();
  const show = () => {
    const { directions, positions } = data;
    const i = (view.sample * directions + view.direction) * positions.length + view.position;
    sprites.draw(image, i);
    neighbors?.show(sprites.read(i, data.shape[2]));
  };
  const buttons = Array.from({ length: data.samples }, (_, i) => element("button", { type: "button", "aria-pressed": String(i === 0), onclick: () => {
    view.sample = i;
    buttons.forEach((one, j) => pressed(one, i === j));
    show();
  } }, data.classes[i] ?? `sample ${i + 1}`));
  const sliders = data.shares.map((share, k) => {
    const last = data.positions.length - 1, [low, high] = [data.positions[0], data.positions[last]];
    return slider(`${k + 1}: ${(100 * share).toFixed(0)} %`, { min: low, max: high, step: (high - low) / last, id: `direction-${k + 1}` }, (value) => {
      view.direction = k;
      view.position = Math.round(((value - low) / (high - low)) * last);
      sliders.forEach((one, j) => j === k || one.set(0));
      show();
    });
  });
  place.append(
    element("div", { class: "panel" }, element("h3", {}, "Generated"), image, element("div", { class: "classes", role: "group", "aria-label": "Sample" }, ...buttons)),
    element("div", { class: "panel" }, element("h3", {}, "Directions of the noise"), ...sliders.map((one) => one.node), element("p", { class: "note" }, "The directions along which images change most, with their shares of the mean squared change; one at a time.")),
  );
  if (neighbors) place.append(neighbors.node);
  show();
}
