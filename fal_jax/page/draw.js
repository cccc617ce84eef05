/** Faces on a canvas: for the stage, and for the picture that is saved. */

import { clip, longerSide, toStage } from "./geometry.js";
import { REGION_COLOURS, edgeColour, region } from "./markup.js";

const RIM = "rgb(0 0 0 / 0.75)";
const BOX_COLOUR = "#ffffff";
const SURE = 0.7; // from this score on a point is drawn at full strength
const FAINTEST = 0.25;
const MIN_SIDE_FOR_NUMBERS = 260; // px of the drawing

/**
 * Draws the points and lines of faces.
 *
 * @param {CanvasRenderingContext2D} ctx in px of the drawing.
 * @param {object[]} faces
 * @param {object} options
 * @param {{zoom: number, x: number, y: number}} options.view drawing from photo.
 * @param {object} options.model of page.json: names and edges.
 * @param {object} options.show {points, lines, numbers}, each whether to draw it.
 * @param {object | null} options.selected the face of the selected landmark.
 * @param {number | null} options.landmark the selected landmark.
 */
export function drawFaces(ctx, faces, options) {
  for (const face of faces) {
    if (face.landmarks) drawFace(ctx, face, options);
  }
}

/** Draws boxes, as the saved picture has them; on the page they are elements of their own. */
export function drawBoxes(ctx, faces, view) {
  for (const { box } of faces) {
    const [x0, y0] = toStage(view, box);
    const [x1, y1] = toStage(view, box.slice(2));
    const width = clip(longerSide(box) * view.zoom * 0.006, 1, 4);
    strokeTwice(ctx, BOX_COLOUR, width, () => ctx.strokeRect(x0, y0, x1 - x0, y1 - y0));
  }
}

/** The radius of a face's points: a small face must not disappear under them. */
export function pointRadius(face, view) {
  return clip(longerSide(face.box) * view.zoom * 0.0115, 0.7, 5);
}

/** How strongly a point is drawn. */
export function strength(score) {
  return clip(score / SURE, FAINTEST, 1);
}

function drawFace(ctx, face, { view, model, show, selected, landmark }) {
  const points = face.landmarks.map((point) => toStage(view, point));
  const radius = pointRadius(face, view);
  ctx.save();
  // Points of an earlier box follow in a moment.
  if (face.stale) ctx.globalAlpha = 0.6;

  if (show.lines) drawLines(ctx, face, points, radius, model);
  if (show.points) drawPoints(ctx, face, points, radius, model);
  const side = longerSide(face.box) * view.zoom;
  if (show.numbers && side >= MIN_SIDE_FOR_NUMBERS) drawNumbers(ctx, points, radius, side);
  if (face === selected && landmark !== null) drawSelection(ctx, points[landmark], radius);
  ctx.restore();
}

function drawLines(ctx, face, points, radius, { names, edges }) {
  const opacity = ctx.globalAlpha;
  ctx.lineCap = "round";
  for (const edge of edges) {
    const [a, b] = edge;
    ctx.globalAlpha = opacity * Math.min(strength(face.scores[a]), strength(face.scores[b])) * 0.9;
    strokeTwice(ctx, edgeColour(names, edge), Math.max(radius * 0.5, 0.7), () => {
      ctx.beginPath();
      ctx.moveTo(...points[a]);
      ctx.lineTo(...points[b]);
      ctx.stroke();
    });
  }
  ctx.globalAlpha = opacity;
}

function drawPoints(ctx, face, points, radius, { names }) {
  const opacity = ctx.globalAlpha;
  const rim = clip(radius * 0.35, 0.3, 1.5);
  for (const [k, [x, y]] of points.entries()) {
    ctx.globalAlpha = opacity * strength(face.scores[k]);
    disc(ctx, x, y, radius + rim, RIM);
    disc(ctx, x, y, radius, REGION_COLOURS[region(names[k])]);
  }
  ctx.globalAlpha = opacity;
}

function drawNumbers(ctx, points, radius, side) {
  ctx.font = `600 ${clip(side / 42, 9, 15)}px system-ui, sans-serif`;
  ctx.textBaseline = "middle";
  ctx.lineJoin = "round";
  for (const [k, [x, y]] of points.entries()) {
    ctx.lineWidth = 3;
    ctx.strokeStyle = RIM;
    ctx.strokeText(String(k), x + radius + 2, y);
    ctx.fillStyle = "#fff";
    ctx.fillText(String(k), x + radius + 2, y);
  }
}

function drawSelection(ctx, [x, y], radius) {
  const ring = () => {
    ctx.beginPath();
    ctx.arc(x, y, radius + 6, 0, 2 * Math.PI);
    ctx.stroke();
  };
  strokeTwice(ctx, "#ffffff", 2, ring);
}

/** Strokes with a dark rim, which shows on any photo. */
function strokeTwice(ctx, colour, width, stroke) {
  ctx.strokeStyle = "rgb(0 0 0 / 0.45)";
  ctx.lineWidth = width + Math.min(width, 1.5);
  stroke();
  ctx.strokeStyle = colour;
  ctx.lineWidth = width;
  stroke();
}

function disc(ctx, x, y, radius, colour) {
  ctx.fillStyle = colour;
  ctx.beginPath();
  ctx.arc(x, y, radius, 0, 2 * Math.PI);
  ctx.fill();
}
