// The computer behind the page is the browser: everything is done by a worker, nothing is sent.

export async function open(page) {
  const ask = connect(new Worker(new URL("./browser_worker.js", import.meta.url), { type: "module" }));
  await ask("open", { page });

  let count = 0;

  async function add(file) {
    const id = `photo${count++}`;
    const { width, height, scale, image } = await ask("add", { id, file });
    return { id, width, height, image, scale };
  }

  return {
    detects: page.detector !== null,
    add,
    detect: ({ id }) => ask("detect", { id }),
    align: ({ id }, boxes) => ask("align", { id, boxes }),
    heatmap: ({ id }, box, landmark) => ask("heatmap", { id, box, landmark }),
  };
}

// A function that calls the worker by name and waits for its answer.
function connect(worker) {
  const waiting = new Map();
  let last = 0;

  worker.onmessage = ({ data: { call, result, error } }) => {
    const { resolve, reject } = waiting.get(call);
    waiting.delete(call);
    if (error === undefined) resolve(result);
    else reject(new Error(error));
  };
  worker.onerror = (event) => {
    event.preventDefault();
    for (const { reject } of waiting.values()) {
      reject(new Error("This browser cannot run the page's worker: a newer one is needed."));
    }
    waiting.clear();
  };

  return (name, options) =>
    new Promise((resolve, reject) => {
      const call = last++;
      waiting.set(call, { resolve, reject });
      worker.postMessage({ call, name, options });
    });
}
