// The model, in this thread or in a worker: `ask(name, ...inputs)` promises the outputs, arrays one after the other.

async function openModel(worker) {
  const source = document.getElementById("model").textContent, weights = await inflated("weights");
  if (worker && typeof Worker !== "undefined") {
    try {
      return await inWorker(source, weights);
    } catch (error) {
      console.info(`no worker here (${error}): the model runs in the page`);
    }
  }
  const node = document.createElement("script");
  node.textContent = `page.make = ${source};`;
  document.body.append(node);
  if (!page.make) throw new Error("the model's script did not run");
  const model = page.make(weights);
  const ask = async (name, ...inputs) => timed(name, () => model[name](...inputs));
  return { ask, functions: model.functions, worker: false, now: model };
}

function inWorker(source, weights) {
  const answer = `let model;
  onmessage = ({ data: { weights } }) => {
    model = make(weights);
    postMessage({ functions: model.functions });
    onmessage = ({ data: { id, name, inputs } }) => {
      const start = performance.now();
      try { postMessage({ id, outputs: model[name](...inputs), time: performance.now() - start }); }
      catch (error) { postMessage({ id, error: String(error) }); }
    };
  };`;
  const url = URL.createObjectURL(new Blob(["const make = ", source, ";\n", answer], { type: "text/javascript" }));
  const thread = new Worker(url), waiting = new Map();
  let last = 0;
  return new Promise((resolve, reject) => {
    thread.onerror = (event) => reject(event.message || "it did not start");
    thread.onmessage = ({ data }) => {
      if (data.functions) {
        const ask = (name, ...inputs) =>
          new Promise((done, failed) => {
            waiting.set(++last, { name, done, failed });
            thread.postMessage({ id: last, name, inputs });
          });
        resolve({ ask, functions: data.functions, worker: true, now: null });
        return;
      }
      const { name, done, failed } = waiting.get(data.id);
      waiting.delete(data.id);
      if (data.error) return failed(new Error(data.error));
      sayTime(name, data.time);
      done(data.outputs);
    };
    thread.postMessage({ weights });
  });
}

function named(model, name, outputs) {
  // A function's outputs by name.
  return Object.fromEntries(model.functions[name].outputs.map((one, i) => [one.name, outputs[i]]));
}

const times = {};

function timed(name, work) {
  const start = performance.now(), outputs = work();
  sayTime(name, performance.now() - start);
  return outputs;
}

function sayTime(name, time) {
  // The median of the last calls, where the page has a place for it.
  const list = (times[name] ??= []);
  list.push(time);
  if (list.length > 21) list.shift();
  const place = document.querySelector(`[data-time="${name}"]`);
  const middle = [...list].sort((a, b) => a - b)[list.length >> 1];
  if (place) place.textContent = middle < 0.1 ? "less than 0.1 ms" : `${short(middle, 2)} ms`;
}

function latest(work) {
  // A function that runs one call at a time and, of those that wait, only the last.
  let busy = false, next = null;
  return async function call(...args) {
    if (busy) {
      next = args;
      return;
    }
    busy = true;
    try {
      await work(...args);
    } finally {
      busy = false;
    }
    if (next) {
      const again = next;
      next = null;
      await call(...again);
    }
  };
}

async function startModel(place, data) {
  if (data.kind === "sprites") return startSprites(place, data);
  page.model = await openModel(data.worker);
  const views = { codes: typeof startCodes === "function" && startCodes, noise: typeof startNoise === "function" && startNoise, pole: typeof startPole === "function" && startPole };
  await views[data.kind](place, data, page.model);
  const main = { codes: "decode", noise: "generate", pole: "values" }[data.kind];
  const time = element("b", { "data-time": main }, "-");
  place.after(element("p", { class: "note" }, "One call of the net takes ", time, page.model.worker ? " in its worker." : " here."));
  await page.model.ask(main, ...page.model.functions[main].inputs.map((one) => new Float32Array(one.shape.reduce((a, b) => a * b, 1))));
}
