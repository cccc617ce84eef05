// From a file to pixels, upright, by the browser's own decoder.

import { blockMeans } from "./browser_resample.js";

// Of what is kept: a photo with more is reduced by a whole factor, those of telephones with 108
// megapixels by 2, since browsers hold no more than two or three of that size.
const MAX_PIXELS = 28_000_000;
const MAX_BYTES = 200_000_000;
const STRIP_PIXELS = 4_000_000; // that are read at once
const GREY = "rgb(128, 128, 128)"; // behind transparent pixels, as the library has it

const HEIC = ["ftypheic", "ftypheix", "ftyphevc", "ftypheim", "ftypmif1", "ftypmsf1"];

// {width, height, scale, image} of the upright photo: image is an ImageData with scale times as many
// pixels per side.
export async function read(file) {
  if (file.size > MAX_BYTES) {
    const size = Math.round(file.size / 1e6);
    throw new Error(`This file has ${size} MB, more than ${MAX_BYTES / 1e6}: shrink the image.`);
  }
  const start = await bytes(file.slice(0, 64));
  if (await isCutOff(file, start)) {
    throw new Error("This file is truncated: its end is missing, download it again.");
  }

  let bitmap;
  try {
    const options = { imageOrientation: "from-image", colorSpaceConversion: "none" };
    bitmap = await createImageBitmap(file, options);
  } catch {
    throw new Error(whyNot(file, start));
  }
  const { width, height } = bitmap;
  const factor = Math.ceil(Math.sqrt((width * height) / MAX_PIXELS));
  const image = reduced(bitmap, factor);
  bitmap.close();
  return { width, height, scale: 1 / factor, image };
}

// The bitmap's pixels, averaged by a whole factor: strip by strip, as canvases have limits.
function reduced(bitmap, factor) {
  const width = Math.max(1, Math.floor(bitmap.width / factor));
  const height = Math.max(1, Math.floor(bitmap.height / factor));
  const result = new ImageData(width, height);
  const rows = Math.min(height, Math.max(1, Math.floor(STRIP_PIXELS / bitmap.width / factor)));
  const canvas = new OffscreenCanvas(bitmap.width, rows * factor);
  const context = canvas.getContext("2d", { willReadFrequently: true }); // not by way of a GPU
  for (let row = 0; row < height; row += rows) {
    context.fillStyle = GREY;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(bitmap, 0, -row * factor);
    const strip = context.getImageData(0, 0, canvas.width, canvas.height);
    const count = Math.min(rows, height - row);
    const mean = factor === 1 ? strip.data : means(strip, factor, width, count);
    result.data.set(mean.subarray(0, width * count * 4), row * width * 4);
  }
  return result;
}

// RGBA of the means of factor x factor pixels.
function means({ width, height, data }, factor, columns, rows) {
  const all = { first: 0, last: columns - 1 };
  const { data: rgb } = blockMeans({ width, height, data }, factor, all, { first: 0, last: rows - 1 });
  const rgba = new Uint8ClampedArray(columns * rows * 4).fill(255);
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
    rgba[to] = rgb[from];
    rgba[to + 1] = rgb[from + 1];
    rgba[to + 2] = rgb[from + 2];
  }
  return rgba;
}

async function bytes(blob) {
  return new Uint8Array(await blob.arrayBuffer());
}

// Browsers show what there is of a file that ends too early.
async function isCutOff(file, start) {
  const end = latin(await bytes(file.slice(-4096)));
  if (latin(start).startsWith("\x89PNG")) return !end.includes("IEND");
  if (start[0] !== 0xff || start[1] !== 0xd8 || end.includes("\xff\xd9")) return false;
  return !isJpegWhole(await bytes(file)); // a telephone's film may lie behind its photo
}

// Whether there is an end behind the beginning of the picture; a thumbnail before has its own.
function isJpegWhole(data) {
  let at = 2;
  while (data[at] === 0xff && data[at + 1] !== 0xda && at + 4 < data.length) {
    at += data[at + 1] === 0xff ? 1 : 2 + 256 * data[at + 2] + data[at + 3];
  }
  for (let i = data.indexOf(0xff, at); i >= 0; i = data.indexOf(0xff, i + 1)) {
    if (data[i + 1] === 0xd9) return true;
  }
  return false;
}

function whyNot(file, start) {
  const text = latin(start);
  if (!file.size) return "This file is empty: download it again.";
  if (HEIC.some((brand) => text.includes(brand))) {
    return "This is HEIC (a telephone's photo?), which this browser cannot read: convert it to JPEG.";
  }
  if (text.includes("ftyp")) return "This looks like a video: save a frame of it as an image.";
  const signatures = ["\xff\xd8\xff", "\x89PNG", "GIF8", "BM"];
  const known = signatures.some((sign) => text.startsWith(sign)) || text.startsWith("WEBP", 8);
  return known
    ? "This image cannot be decoded: it is damaged, or too large for this browser."
    : "This is not an image that browsers can read: take a JPEG, PNG, WebP, GIF, BMP or AVIF file.";
}

function latin(array) {
  return String.fromCharCode(...array);
}
