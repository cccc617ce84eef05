// What computes in the browser, beside the page so that it stays fluent: no photo leaves it.
//
// Messages are {call, name, options}; answers {call, result} or {call, error}.

import * as mtcnn from "./browser_mtcnn.js";
import { openRuntime } from "./browser_runtime.js";
import { readings } from "./browser_peaks.js";
import { read } from "./browser_photo.js";
import { extract, resizeArea, resizeLinear } from "./browser_resample.js";

const MAX_FACES = 16; // in one run of the network
const MAX_KEPT = 2; // photos with their pixels; others are decoded again when they are asked for

let page;
let network;
let findFaces = null;
const photos = new Map(); // id -> {file, width, height, scale, image}, the youngest last

const calls = { open, add, detect, align, heatmap };

self.onmessage = async ({ data: { call, name, options } }) => {
  try {
    const { result, transfer } = await calls[name](options);
    self.postMessage({ call, result }, transfer ?? []);
  } catch (error) {
    self.postMessage({ call, error: error.message });
  }
};

async function open({ page: content }) {
  page = content;
  const runtime = await openRuntime(page.browser.runtime);
  network = await runtime.network(page.browser.model);
  const { detector } = page.browser;
  if (detector) {
    const networks = {};
    for (const [role, { file, outputs }] of Object.entries(detector.networks)) {
      networks[role] = await runtime.faceNetwork(file, outputs);
    }
    findFaces = (image) => mtcnn.detect(networks, detector.settings, image);
  }
  return { result: null };
}

async function add({ id, file }) {
  const photo = { file, ...(await read(file)) };
  keep(id, photo);
  const { width, height, scale } = photo;
  const image = await createImageBitmap(photo.image);
  return { result: { width, height, scale, image }, transfer: [image] };
}

async function detect({ id }) {
  const photo = await withPixels(id);
  const { detector } = page.browser;
  const longer = Math.max(photo.width, photo.height);
  const scales = [
    Math.min(1, detector.sides[0] / longer),
    Math.min(detector.max_enlargement, detector.sides[1] / longer),
  ];
  for (const scale of scales) {
    const [w, h] = [photo.width, photo.height].map((side) => Math.max(1, Math.round(side * scale)));
    const smaller = w < photo.image.width;
    const image = (smaller ? resizeArea : resizeLinear)(photo.image, w, h);
    const ratio = [photo.width / w, photo.height / h];
    const faces = (await findFaces(image)).map(({ box, score }) => ({
      box: landmarkBox(box, detector.rule).map((edge, i) => edge * ratio[i % 2] - 0.5),
      score,
    }));
    if (faces.length) return { result: faces };
  }
  return { result: [] };
}

async function align({ id, boxes }) {
  const photo = await withPixels(id);
  const { num_landmarks: count } = page.model;
  const faces = [];
  for (let first = 0; first < boxes.length; first += MAX_FACES) {
    const batch = boxes.slice(first, first + MAX_FACES);
    const { landmarks, scores } = await network(batch.map((box) => crop(photo, box)));
    batch.forEach((box, face) => {
      const { x, y } = photoFromCrop(box);
      const points = Array.from({ length: count }, (_, index) => {
        const at = 2 * (face * count + index);
        return [x.start + x.step * landmarks.data[at], y.start + y.step * landmarks.data[at + 1]];
      });
      const own = Array.from(scores.data.subarray(face * count, (face + 1) * count));
      faces.push({ landmarks: points, scores: own });
    });
  }
  return { result: faces };
}

async function heatmap({ id, box, landmark }) {
  const photo = await withPixels(id);
  const { codec } = page.browser;
  const { heatmaps } = await network([crop(photo, box)]);
  const { size, stride } = codec;
  const count = page.model.num_landmarks;
  const values = Float32Array.from({ length: size * size }, (_, at) => {
    return heatmaps.data[at * count + landmark];
  });

  const { x, y } = photoFromCrop(box);
  const offset = (stride - 1) / 2; // crop px of the first cell's centre
  const photo_from_heatmap = [
    [x.step * stride, 0, x.start + x.step * offset],
    [0, y.step * stride, y.start + y.step * offset],
  ];
  const result = { size, values, photo_from_heatmap, readings: readings({ size, values }, codec) };
  return { result, transfer: [values.buffer] };
}

// The larger side of the box is `face` px of the crop, its centre that of the crop.
function photoFromCrop([x0, y0, x1, y1]) {
  const { crop } = page.browser;
  const [width, height] = [x1 - x0, y1 - y0];
  const sides = Math.max(width, height);
  if (!(width >= 0 && height >= 0 && sides > 0 && sides < 1e12)) {
    throw new Error(`The box ${[x0, y0, x1, y1]} has no area: draw it anew.`);
  }
  const step = sides / crop.face;
  const middle = ((crop.size - 1) / 2) * step;
  return { x: { start: (x0 + x1) / 2 - middle, step }, y: { start: (y0 + y1) / 2 - middle, step } };
}

// What the network sees of a box; the pixels may be those of a smaller photo.
function crop(photo, box) {
  const { x, y } = photoFromCrop(box);
  const { scale, image } = photo;
  const scaled = ({ start, step }) => ({ start: (start + 0.5) * scale - 0.5, step: step * scale });
  return extract(image, scaled(x), scaled(y), page.browser.crop.size);
}

// From a detector's box, edges, to the box around the landmarks, edges; see `detect/boxes.py`.
function landmarkBox([x0, y0, x1, y1], [right, down, width, height]) {
  const size = Math.sqrt((x1 - x0) * (y1 - y0));
  const [x, y] = [(x0 + x1) / 2 + size * right, (y0 + y1) / 2 + size * down];
  const [halfX, halfY] = [(size * width) / 2, (size * height) / 2];
  return [x - halfX, y - halfY, x + halfX, y + halfY];
}

function keep(id, photo) {
  photos.delete(id);
  photos.set(id, photo);
  const kept = [...photos.values()].filter(({ image }) => image);
  for (const old of kept.slice(0, -MAX_KEPT)) old.image = null;
}

async function withPixels(id) {
  const photo = photos.get(id);
  photo.image ??= (await read(photo.file)).image;
  keep(id, photo);
  return photo;
}
