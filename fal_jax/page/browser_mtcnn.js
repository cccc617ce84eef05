// Faces by three small networks, each of which looks closer: `fal_jax/detect/mtcnn.py`.
//
// Boxes are [x0, y0, x1, y1], edges in px of the image: pixel 0 spans 0 to 1. The networks see
// columns as rows. All settings are those of the library, which page.json brings.

import { resizeArea, resizeLinear, sample } from "./browser_resample.js";

// networks: {propose, refine, decide}, functions from an array of images to their outputs.
// Returns [{box, score}], the surest first.
export async function detect(networks, settings, image) {
  const pyramid = halved(image, settings);
  const [smallest, largest] = settings.min_face;
  const longer = Math.max(image.width, image.height);
  const minFace = Math.min(Math.max(longer / 12, smallest), largest);

  let faces = await propose(networks.propose, settings, pyramid, minFace);
  faces = squares(faces.slice(0, settings.max_proposals));

  faces = await look(networks.refine, pyramid, faces, settings.sizes[0], settings.min_scores[1]);
  faces = squares(suppress(faces, 0.7).slice(0, settings.max_refined));

  faces = await look(networks.decide, pyramid, faces, settings.sizes[1], settings.min_scores[2]);
  return suppress(faces, 0.7, true);
}

// Boxes of the first network, which sees faces as 12 px.
async function propose(network, settings, pyramid, minFace) {
  const { cell, stride } = settings;
  const [{ width, height }] = pyramid;
  const all = [];
  for (
    let scale = cell / minFace;
    Math.min(width, height) * scale >= cell;
    scale *= settings.step
  ) {
    const [w, h] = [evenly(width * scale), evenly(height * scale)];
    const small = resizeLinear(levelOf(pyramid, scale), w, h, true);
    const { offsets, scores } = await network([small]);
    const [ratioX, ratioY] = [width / w, height / h];
    const [, columns, rows] = scores.dims;

    const cells = [];
    for (let column = 0; column < columns; column++) {
      for (let row = 0; row < rows; row++) {
        const at = column * rows + row;
        const score = scores.data[2 * at + 1];
        if (score <= settings.min_scores[0]) continue;
        const [x, y] = [column * stride, row * stride];
        const box = [x * ratioX, y * ratioY, (x + cell) * ratioX, (y + cell) * ratioY];
        cells.push({ box, score, offset: offsets.data.slice(4 * at, 4 * at + 4) });
      }
    }
    all.push(...suppress(cells, 0.5).map(moved));
  }
  return suppress(all, 0.7);
}

// Looks at squares at `size` px: better boxes of those that are kept.
async function look(network, pyramid, faces, size, minScore) {
  if (!faces.length) return [];
  const { offsets, scores } = await network(faces.map(({ box }) => cut(pyramid, box, size)));
  return faces
    .map(({ box }, index) => {
      const offset = offsets.data.slice(4 * index, 4 * index + 4);
      return { box, score: scores.data[2 * index + 1], offset };
    })
    .filter(({ score }) => score > minScore)
    .map(moved);
}

// Corners moved by offsets in units of the box's sides.
function moved({ box, score, offset }) {
  const sides = [box[2] - box[0], box[3] - box[1]];
  return { box: box.map((edge, index) => edge + offset[index] * sides[index % 2]), score };
}

// The squares that have the boxes' centres and larger sides.
function squares(faces) {
  return faces.map(({ box: [x0, y0, x1, y1], score }) => {
    const half = Math.max(x1 - x0, y1 - y0) / 2;
    const [x, y] = [(x0 + x1) / 2, (y0 + y1) / 2];
    return { box: [x - half, y - half, x + half, y + half], score };
  });
}

// The image, and it halved again and again while it has the pixels.
function halved(image, { cell }) {
  const pyramid = [image];
  let last = image;
  while (Math.min(last.width, last.height) >= 2 * cell) {
    last = resizeArea(last, Math.floor(last.width / 2), Math.floor(last.height / 2));
    pyramid.push(last);
  }
  return pyramid;
}

// The smallest image that is at least as large as the first one at a scale.
function levelOf(pyramid, scale) {
  return pyramid[Math.trunc(Math.min(Math.max(-Math.log2(scale), 0), pyramid.length - 1))];
}

// What a square shows, transposed; black outside the image.
function cut(pyramid, [x0, y0, x1], size) {
  const side = x1 - x0;
  const level = levelOf(pyramid, size / Math.max(side, 1));
  const scaleX = level.width / pyramid[0].width;
  const scaleY = level.height / pyramid[0].height;
  const step = side / size;
  const x = { start: (x0 + step / 2) * scaleX - 0.5, step: step * scaleX };
  const y = { start: (y0 + step / 2) * scaleY - 0.5, step: step * scaleY };
  return sample(level, x, y, size, size, true);
}

// To whole numbers as Python rounds: halves to the even one.
function evenly(value) {
  const whole = Math.round(value);
  return whole - value === 0.5 && whole % 2 ? whole - 1 : whole;
}

// Drops what overlaps a surer box, by a fraction of the union or of the smaller one.
function suppress(faces, limit, ofSmaller = false) {
  const area = ([x0, y0, x1, y1]) => Math.max(0, x1 - x0) * Math.max(0, y1 - y0);
  let rest = [...faces].sort((a, b) => b.score - a.score); // stable
  const kept = [];
  while (rest.length) {
    const [best, ...others] = rest;
    kept.push(best);
    rest = others.filter(({ box }) => {
      const [x0, y0] = [Math.max(best.box[0], box[0]), Math.max(best.box[1], box[1])];
      const [x1, y1] = [Math.min(best.box[2], box[2]), Math.min(best.box[3], box[3])];
      const common = area([x0, y0, x1, y1]);
      const [first, second] = [area(best.box), area(box)];
      const whole = ofSmaller ? Math.min(first, second) : first + second - common;
      return common <= limit * whole;
    });
  }
  return kept;
}
