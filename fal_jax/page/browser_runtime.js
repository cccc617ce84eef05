// onnxruntime-web, the plain build: one thread, which needs no special headers of the host.

// places is {script, glue, binary}, each {address, integrity}: the latter where it is not our own.
export async function openRuntime({ script, glue, binary }) {
  const ort = await import(await urlOf(script, "text/javascript"));
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = {
    mjs: await urlOf(glue, "text/javascript"),
    wasm: await urlOf(binary, "application/wasm"),
  };
  ort.env.logLevel = "error";

  async function session(file) {
    const response = await fetch(new URL(file, import.meta.url)).catch(() => null);
    if (!response?.ok) throw new Error(`${file} could not be loaded: reload the page.`);
    return ort.InferenceSession.create(await response.arrayBuffer());
  }

  // A function from images {width, height, data: RGB} of one size to the outputs by name.
  async function network(file) {
    const model = await session(file);
    return async (images) => {
      const [{ width, height }] = images;
      const data = joined(images, Uint8Array, (value) => value);
      const input = new ort.Tensor("uint8", data, [images.length, height, width, 3]);
      return model.run({ [model.inputNames[0]]: input });
    };
  }

  // The same for a network of MTCNN, of whose outputs two have a use.
  async function faceNetwork(file, { offsets, scores }) {
    const model = await session(file);
    return async (images) => {
      const [{ width, height }] = images;
      const data = joined(images, Float32Array, (value) => (value - 127.5) / 128);
      const input = new ort.Tensor("float32", data, [images.length, height, width, 3]);
      const outputs = await model.run({ [model.inputNames[0]]: input }, [offsets, scores]);
      return { offsets: outputs[offsets], scores: outputs[scores] };
    };
  }

  return { network, faceNetwork };
}

function joined(images, Kind, convert) {
  const { length } = images[0].data;
  const all = new Kind(images.length * length);
  images.forEach(({ data }, index) => all.set(Kind.from(data, convert), index * length));
  return all;
}

// The address of a file; of one that is not ours, that of its content once that is the one we know.
async function urlOf({ address, integrity }, type) {
  const url = new URL(address, import.meta.url).href;
  if (integrity === null) return url;
  const response = await fetch(url, { integrity }).catch(() => null);
  if (!response?.ok) throw new Error(`${url} could not be loaded, or is not the file we know.`);
  return URL.createObjectURL(new Blob([await response.arrayBuffer()], { type }));
}
