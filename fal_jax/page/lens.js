/** The lens: the heatmap that one landmark was read from, and what three decoders read in it. */

import { clip, distance, inverseMap, mapped } from "./geometry.js";
import { region, words } from "./markup.js";

const SIDE = 512; // px of the drawing: 8 per cell of a heatmap of 64
const CLOSE = 4; // the close look magnifies so many times more

// In the order of the paper's argument. The marks differ in shape, not in colour alone.
const READINGS = [
  {
    key: "argmax",
    title: "Argmax",
    text: "The middle of the warmest cell, so no finer than cells are.",
    mark: markSquare,
    colour: "#ffffff",
  },
  {
    key: "local_softargmax",
    title: "Local soft-argmax",
    text: "The paper’s: the mean place of the cells around it, warm ones counting more.",
    mark: markCross,
    colour: "#ffd84d",
  },
  {
    key: "calibrated",
    title: "Calibrated",
    text: "Ours: the top of a Gaussian fitted to the same cells.",
    mark: markCircle,
    colour: "#5ff0ff",
  },
];

export class Lens {
  #session;
  #root;
  #canvas;
  #choice;
  #close = false;
  #beneath = true;

  /**
   * @param {Session} session
   * @param {HTMLElement} root the panel.
   */
  constructor(session, root) {
    this.#session = session;
    this.#root = root;
    this.#canvas = root.querySelector("canvas");
    this.#choice = root.querySelector("select");
    this.#fillChoice();
    this.#fillLegend();
    this.#choice.addEventListener("change", () => {
      const face = session.selected ?? session.faces[0];
      if (face) session.select(face, Number(this.#choice.value));
    });
    this.#on("#previous-landmark", () => session.step(-1));
    this.#on("#next-landmark", () => session.step(1));
    this.#on("#close-lens", () => session.select(session.selected));
    root.querySelector("#lens-near").addEventListener("change", (event) => {
      this.#close = event.target.checked;
      this.#update();
    });
    root.querySelector("#lens-photo").addEventListener("change", (event) => {
      this.#beneath = event.target.checked;
      this.#update();
    });
    session.addEventListener("change", () => this.#update());
    this.#update();
  }

  #on(selector, action) {
    this.#root.querySelector(selector).addEventListener("click", action);
  }

  #fillChoice() {
    const groups = new Map();
    for (const [number, name] of this.#session.page.model.names.entries()) {
      if (!groups.has(region(name))) {
        const group = document.createElement("optgroup");
        group.label = region(name);
        groups.set(region(name), group);
      }
      groups.get(region(name)).append(new Option(`${number} · ${words(name)}`, String(number)));
    }
    this.#choice.append(...groups.values());
  }

  /** For each reading its mark, name and numbers, and beneath them what it is. */
  #fillLegend() {
    const template = document.getElementById("reading");
    for (const { key, title, text, mark, colour } of READINGS) {
      const entry = template.content.firstElementChild.cloneNode(true);
      entry.dataset.reading = key;
      const symbol = entry.querySelector("canvas");
      [symbol.width, symbol.height] = [48, 48];
      const ctx = symbol.getContext("2d");
      ctx.scale(2, 2);
      mark(ctx, 12, 12, colour);
      entry.querySelector(".title").textContent = title;
      entry.querySelector(".what").textContent = text;
      entry.querySelector(".drawn").hidden = key !== this.#session.page.model.decode;
      this.#root.querySelector("table").append(entry);
    }
  }

  #update() {
    const { selected, landmark, heat } = this.#session;
    const isOpen = Boolean(selected) && landmark !== null;
    const opens = isOpen && this.#root.querySelector("#lens-open").hidden;
    this.#root.querySelector("#lens-empty").hidden = isOpen;
    this.#root.querySelector("#lens-open").hidden = !isOpen;
    if (!isOpen) return;
    // Beside the photo, not beneath it: there the photo would leave the screen.
    const { parentElement: panel } = this.#root;
    if (opens && panel.scrollHeight > panel.clientHeight + 1) {
      panel.scrollTo({ top: this.#root.offsetTop - panel.offsetTop });
    }

    this.#choice.value = String(landmark);
    const title = `${this.#session.title(selected)}, landmark ${landmark}`;
    this.#root.querySelector("#lens-title").textContent = title;
    const ready = heat?.landmark === landmark && heat.face === selected;
    this.#canvas.classList.toggle("waiting", !ready);
    if (!ready) return;
    this.#draw(heat);
    this.#tell(heat);
  }

  /** Draws photo, cells and marks; heatmap px are pixel-centre, cell (0, 0) is the first. */
  #draw({ size, values, photo_from_heatmap: photoFromHeatmap, readings }) {
    const ratio = Math.max(devicePixelRatio, 1);
    Object.assign(this.#canvas, { width: SIDE * ratio, height: SIDE * ratio });
    const ctx = this.#canvas.getContext("2d");
    const seen = this.#close ? size / CLOSE : size; // cells across
    const scale = SIDE / seen;
    const [left, top] = this.#close
      ? readings.argmax.map((v) => clip(v + 0.5 - seen / 2, 0, size - seen))
      : [0, 0];
    const toCanvas = ([x, y]) => [(x + 0.5 - left) * scale, (y + 0.5 - top) * scale];

    ctx.scale(ratio, ratio);
    ctx.fillStyle = "#16181a";
    ctx.fillRect(0, 0, SIDE, SIDE);
    if (this.#beneath) {
      ctx.save();
      const [[a, b, c], [d, e, f]] = inverseMap(photoFromHeatmap);
      const [x, y] = toCanvas([c, f]);
      ctx.transform(a * scale, d * scale, b * scale, e * scale, x, y);
      const { image, width, height } = this.#session.photo;
      ctx.drawImage(image, -0.5, -0.5, width, height);
      ctx.restore();
      // Grey and darker, so that the colours are the heatmap's.
      ctx.globalCompositeOperation = "saturation";
      ctx.fillStyle = "#000";
      ctx.fillRect(0, 0, SIDE, SIDE);
      ctx.globalCompositeOperation = "source-over";
      ctx.fillStyle = "rgb(0 0 0 / 0.35)";
      ctx.fillRect(0, 0, SIDE, SIDE);
    }

    ctx.imageSmoothingEnabled = false; // a cell is a square
    const cells = heatImage(size, values, this.#beneath);
    ctx.drawImage(cells, -left * scale, -top * scale, size * scale, size * scale);
    if (this.#close) drawGrid(ctx, scale, left, top);
    for (const { key, mark, colour } of READINGS) {
      mark(ctx, ...toCanvas(readings[key]), colour, this.#close ? 1.6 : 1);
    }
  }

  #tell({ photo_from_heatmap: photoFromHeatmap, readings, values }) {
    const places = Object.fromEntries(
      READINGS.map(({ key }) => [key, mapped(photoFromHeatmap, readings[key])]),
    );
    for (const { key } of READINGS) {
      const entry = this.#root.querySelector(`[data-reading=${key}]`);
      const place = places[key].map((value) => value.toFixed(2)).join(", ");
      entry.querySelector(".place").textContent = place;
      const apart = distance(places[key], places.calibrated);
      entry.querySelector(".away").textContent = key === "calibrated" ? "–" : apart.toFixed(2);
    }
    const [[a], [d]] = photoFromHeatmap;
    const cell = Math.hypot(a, d);
    const apart = distance(places.argmax, places.local_softargmax);
    this.#root.querySelector("#lens-facts").textContent =
      `One cell is ${cell.toFixed(2)} px of the photo; the warmest has ` +
      `${Math.max(...values).toFixed(2)}. Argmax and local ` +
      `soft-argmax are ${apart.toFixed(2)} px apart.`;
    const told = READINGS.map(
      ({ key, title }) => `${title}: ${places[key].map((value) => value.toFixed(1)).join(", ")}`,
    );
    this.#canvas.setAttribute("aria-label", `Heatmap. ${told.join("; ")}`);
  }
}

/** The cells as an image: warmer and more opaque with the value, 0 to 1. */
function heatImage(size, values, transparent) {
  const canvas = new OffscreenCanvas(size, size);
  const ctx = canvas.getContext("2d");
  const pixels = ctx.createImageData(size, size);
  for (const [i, value] of values.entries()) {
    const heat = clip(value, 0, 1);
    const colour = heatColour(heat);
    const alpha = transparent ? Math.min(heat * 1.8, 0.85) * 255 : 255;
    pixels.data.set([...colour, alpha], 4 * i);
  }
  ctx.putImageData(pixels, 0, 0);
  return canvas;
}

// Matplotlib's inferno, which grows evenly brighter and can be read without seeing colours.
const INFERNO = [
  [0, 0, 4],
  [66, 10, 104],
  [147, 38, 103],
  [221, 81, 58],
  [252, 165, 10],
  [252, 255, 164],
];

/** A heatmap's colour from 0 to 1. */
export function heatColour(heat) {
  const place = heat * (INFERNO.length - 1);
  const low = Math.min(Math.floor(place), INFERNO.length - 2);
  const share = place - low;
  return INFERNO[low].map((value, i) => Math.round(value + share * (INFERNO[low + 1][i] - value)));
}

/** Draws the scale of colours into a canvas, 0 on the left. */
export function drawScale(canvas) {
  const ctx = canvas.getContext("2d");
  for (let x = 0; x < canvas.width; ++x) {
    ctx.fillStyle = `rgb(${heatColour(x / (canvas.width - 1)).join()})`;
    ctx.fillRect(x, 0, 1, canvas.height);
  }
}

function drawGrid(ctx, scale, left, top) {
  ctx.strokeStyle = "rgb(255 255 255 / 0.14)";
  ctx.lineWidth = 1;
  ctx.beginPath();
  for (let at = (Math.ceil(left) - left) * scale; at <= SIDE; at += scale) {
    ctx.moveTo(at, 0);
    ctx.lineTo(at, SIDE);
  }
  for (let at = (Math.ceil(top) - top) * scale; at <= SIDE; at += scale) {
    ctx.moveTo(0, at);
    ctx.lineTo(SIDE, at);
  }
  ctx.stroke();
}

function markSquare(ctx, x, y, colour, size = 1) {
  const half = 6 * size;
  outlined(ctx, colour, () => ctx.strokeRect(x - half, y - half, 2 * half, 2 * half));
}

function markCross(ctx, x, y, colour, size = 1) {
  const arm = 8 * size;
  outlined(ctx, colour, () => {
    ctx.beginPath();
    ctx.moveTo(x - arm, y);
    ctx.lineTo(x + arm, y);
    ctx.moveTo(x, y - arm);
    ctx.lineTo(x, y + arm);
    ctx.stroke();
  });
}

function markCircle(ctx, x, y, colour, size = 1) {
  outlined(ctx, colour, () => {
    ctx.beginPath();
    ctx.arc(x, y, 4 * size, 0, 2 * Math.PI);
    ctx.stroke();
  });
}

function outlined(ctx, colour, stroke) {
  ctx.strokeStyle = "rgb(0 0 0 / 0.8)";
  ctx.lineWidth = 4;
  stroke();
  ctx.strokeStyle = colour;
  ctx.lineWidth = 2;
  stroke();
}
