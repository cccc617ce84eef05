// @vladmandic/face-api: 68 points by a small convolutional network, on TensorFlow.js in wasm.
//
//   node face_api.mjs FOLDER     questions as in wire.py; FOLDER holds node_modules
//
// All weights are inside the package. A given box is cut out as the library cuts out what its
// detector finds: clipped at the border of the image, in whole pixels.

import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

const WEIGHTS = {
  "face_landmark_68_model.bin": "4611ef65c87d836d03d684b30eec4d195d8b219fa1dd58fc58945831c6b9299b",
  "ssd_mobilenetv1_model.bin": "2835640602d53718aa6ae9a42896327eaa21beefed056c218d32ca7d79e1e2f8",
};
const NAMES = ["@vladmandic/face-api", "@tensorflow/tfjs", "@tensorflow/tfjs-backend-wasm"];

console.log = console.info = console.warn = console.error; // the standard output is for answers

function refuse(sentence) {
  process.stderr.write(`${sentence}\n`);
  process.exit(1);
}

/** An image as faces.write_ppm writes it: width, height and its RGB bytes. */
function readPpm(path) {
  const content = readFileSync(path);
  const lines = [];
  let start = 0;
  while (lines.length < 3) {
    const end = content.indexOf(10, start);
    lines.push(content.toString("latin1", start, end));
    start = end + 1;
  }
  const [width, height] = lines[1].split(" ").map(Number);
  return { width, height, pixels: new Uint8Array(content.subarray(start)) };
}

function checked(path, sha256) {
  const found = createHash("sha256").update(readFileSync(path)).digest("hex");
  if (found !== sha256) {
    refuse(`${path} has the SHA-256 ${found}, not ${sha256}: it is not the file that was measured.`);
  }
  return found;
}

const folder = resolve(process.argv[2] ?? ".");
const root = join(folder, "node_modules");
const missing = NAMES.filter((name) => !existsSync(join(root, name)));
if (missing.length) {
  refuse(`face-api cannot be used here (no ${missing[0]} in ${root}): npm ci in a copy of package.json.`);
}
const packages = createRequire(join(folder, "package.json"));
const versions = Object.fromEntries(
  NAMES.map((name) => [name, JSON.parse(readFileSync(join(root, name, "package.json"))).version]),
);
const models = join(root, "@vladmandic/face-api", "model");
const weights = Object.fromEntries(
  Object.entries(WEIGHTS).map(([name, sha256]) => [name, checked(join(models, name), sha256)]),
);

const wasm = packages("@tensorflow/tfjs-backend-wasm");
wasm.setThreadsCount(1);
wasm.setWasmPaths(join(root, "@tensorflow/tfjs-backend-wasm", "dist/"));
const faceapi = packages(join(root, "@vladmandic/face-api/dist/face-api.node-wasm.js"));
await faceapi.tf.setBackend("wasm");
await faceapi.tf.ready();
await faceapi.nets.faceLandmark68Net.loadFromDisk(models);
await faceapi.nets.ssdMobilenetv1.loadFromDisk(models);

/** Landmarks (K, 2) of each face, px of the image, edges of pixels counting from 0. */
async function align({ width, height, pixels }, box) {
  const image = faceapi.tf.tensor3d(pixels, [height, width, 3], "int32");
  try {
    if (box === null) {
      const found = await faceapi.detectAllFaces(image).withFaceLandmarks();
      return found.map((face) => face.landmarks.positions);
    }
    const [x0, y0, x1, y1] = box.map((edge) => edge + 0.5);
    const rect = new faceapi.Rect(x0, y0, x1 - x0, y1 - y0);
    const clipped = rect.clipAtImageBorders(width, height);
    const [crop] = await faceapi.extractFaceTensors(image, [rect]);
    const landmarks = await faceapi.nets.faceLandmark68Net.detectLandmarks(crop);
    crop.dispose();
    return [landmarks.positions.map(({ x, y }) => ({ x: x + clipped.x, y: y + clipped.y }))];
  } finally {
    image.dispose();
  }
}

const answer = (content) => process.stdout.write(`${JSON.stringify(content)}\n`);
answer({ versions: { node: process.versions.node, ...versions }, weights });

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  const image = readPpm(asked.image);
  const cpu = process.cpuUsage();
  const start = performance.now();
  const faces = await align(image, asked.box);
  const wall = performance.now() - start;
  const used = process.cpuUsage(cpu);
  const points = faces.map((face) => face.map(({ x, y }) => [x - 0.5, y - 0.5]));
  answer({ faces: points, cpu_ms: (used.user + used.system) / 1000, wall_ms: wall });
}
