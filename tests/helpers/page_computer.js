/**
 * The computer behind the page in tests: it knows where the faces are, because page.json says so.
 *
 * page.json's `mock` is {faces: boxes, detects, delay_ms, scale: of the image that is shown, fails:
 * what fails}; all calls are noted in globalThis.calls. Landmarks are a fixed face stretched over the
 * box.
 */

// The 68 landmarks of a face in parts of its box.
const FACE = [
  [0, 0.216], [0.014, 0.342], [0.041, 0.486], [0.074, 0.632], [0.103, 0.761], [0.163, 0.864],
  [0.253, 0.942], [0.374, 0.994], [0.51, 1], [0.65, 0.982], [0.766, 0.926], [0.85, 0.838],
  [0.907, 0.721], [0.935, 0.587], [0.948, 0.452], [0.977, 0.303], [1, 0.175], [0.065, 0.098],
  [0.133, 0.024], [0.226, 0], [0.314, 0.008], [0.4, 0.043], [0.594, 0.046], [0.676, 0.013],
  [0.773, 0.006], [0.864, 0.017], [0.946, 0.07], [0.498, 0.161], [0.499, 0.259], [0.497, 0.348],
  [0.5, 0.44], [0.399, 0.499], [0.449, 0.516], [0.503, 0.528], [0.562, 0.51], [0.613, 0.494],
  [0.179, 0.17], [0.233, 0.142], [0.292, 0.14], [0.35, 0.184], [0.292, 0.192], [0.228, 0.193],
  [0.644, 0.166], [0.694, 0.123], [0.752, 0.121], [0.8, 0.153], [0.753, 0.172], [0.696, 0.174],
  [0.315, 0.689], [0.38, 0.65], [0.456, 0.633], [0.508, 0.644], [0.561, 0.631], [0.636, 0.643],
  [0.706, 0.672], [0.638, 0.723], [0.563, 0.74], [0.511, 0.742], [0.457, 0.742], [0.379, 0.729],
  [0.337, 0.687], [0.451, 0.672], [0.511, 0.679], [0.564, 0.67], [0.682, 0.67], [0.562, 0.678],
  [0.511, 0.682], [0.455, 0.681],
];
const CELLS = 64;

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export async function open(page) {
  const { faces = [], detects = true, delay_ms: delay = 0, scale = 1, fails = "" } = page.mock;
  const calls = [];
  globalThis.calls = calls;
  globalThis.running = 0;
  globalThis.mostRunning = 0;
  if (fails === "open") throw new Error("The network could not be loaded: reload the page.");
  let photos = 0;

  async function add(file) {
    calls.push(["add", file.name ?? "", file.type]);
    let image;
    try {
      image = await createImageBitmap(file);
    } catch {
      throw new Error(`${file.name} is not an image that can be read: choose a JPEG or PNG.`);
    }
    const { width, height } = image;
    if (scale !== 1) image = await createImageBitmap(file, { resizeWidth: width * scale });
    return { id: ++photos, width, height, image, scale };
  }

  async function detect(photo) {
    calls.push(["detect", photo.id]);
    await wait(delay);
    return faces.map((box, i) => ({ box, score: 0.95 - 0.1 * i }));
  }

  async function align(photo, boxes) {
    calls.push(["align", boxes]);
    globalThis.mostRunning = Math.max(globalThis.mostRunning, ++globalThis.running);
    await wait(delay);
    --globalThis.running;
    if (fails === "align") throw new Error("The network failed: reload the page.");
    return boxes.map(landmarksIn);
  }

  async function heatmap(photo, box, landmark) {
    calls.push(["heatmap", box, landmark]);
    const [x0, y0, x1, y1] = box;
    const step = (Math.max(x1 - x0, y1 - y0) / 220) * 4; // photo px per cell
    const middle = CELLS / 2 - 0.5;
    const [x, y] = landmarksIn(box).landmarks[landmark];
    const centre = [(x0 + x1) / 2, (y0 + y1) / 2];
    const calibrated = [(x - centre[0]) / step + middle, (y - centre[1]) / step + middle];
    const argmax = calibrated.map(Math.round);
    const values = new Float32Array(CELLS * CELLS);
    for (let i = 0; i < values.length; ++i) {
      const [dx, dy] = [(i % CELLS) - calibrated[0], Math.floor(i / CELLS) - calibrated[1]];
      values[i] = 0.9 * Math.exp(-(dx * dx + dy * dy) / 4.5);
    }
    return {
      size: CELLS,
      values,
      photo_from_heatmap: [
        [step, 0, centre[0] - middle * step],
        [0, step, centre[1] - middle * step],
      ],
      readings: {
        argmax,
        local_softargmax: calibrated.map((value, i) => 0.8 * value + 0.2 * argmax[i]),
        calibrated,
      },
    };
  }

  return { detects, add, detect, align, heatmap };
}

function landmarksIn([x0, y0, x1, y1]) {
  return {
    landmarks: FACE.map(([u, v]) => [x0 + u * (x1 - x0), y0 + v * (y1 - y0)]),
    scores: FACE.map((_, k) => (k % 17 === 0 ? 0.31 : 0.8 + 0.002 * k)),
  };
}
