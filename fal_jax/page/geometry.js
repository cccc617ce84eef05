/**
 * Boxes and the view of the photo: pure functions.
 *
 * Frames: photo px are pixel-centre, (0, 0) is the centre of the top-left pixel, so the photo spans
 * -0.5 to width - 0.5. Stage px are the browser's CSS px from the stage's top-left corner.
 * A view is {zoom, x, y}: stage = (photo + 0.5) * zoom + (x, y).
 * A box is [x0, y0, x1, y1] in photo px.
 */

export const MIN_SIDE = 4; // photo px: less than a face can have
const MAX_ZOOM = 64;

/** Stage px of a point in photo px. */
export function toStage(view, [x, y]) {
  return [(x + 0.5) * view.zoom + view.x, (y + 0.5) * view.zoom + view.y];
}

/** Photo px of a point in stage px. */
export function toPhoto(view, [x, y]) {
  return [(x - view.x) / view.zoom - 0.5, (y - view.y) / view.zoom - 0.5];
}

/** The view that shows a whole photo in the middle of a stage, enlarged twice at most. */
export function fittingView(photo, stage, margin = 12) {
  const across = (stage.width - 2 * margin) / photo.width;
  const down = (stage.height - 2 * margin) / photo.height;
  const zoom = Math.max(Math.min(across, down, 2), 1e-3);
  return {
    zoom,
    x: (stage.width - photo.width * zoom) / 2,
    y: (stage.height - photo.height * zoom) / 2,
  };
}

/** A view zoomed by a factor about a point of the stage, which stays where it is. */
export function zoomedView(view, factor, [x, y], smallest) {
  const zoom = clip(view.zoom * factor, Math.min(smallest, 1), MAX_ZOOM);
  const ratio = zoom / view.zoom;
  return { zoom, x: x - (x - view.x) * ratio, y: y - (y - view.y) * ratio };
}

/** A view whose photo has not been pushed out of the stage: some of it stays in the middle. */
export function heldView(view, photo, stage) {
  const width = photo.width * view.zoom;
  const height = photo.height * view.zoom;
  return {
    zoom: view.zoom,
    x: clip(view.x, stage.width / 2 - width, stage.width / 2),
    y: clip(view.y, stage.height / 2 - height, stage.height / 2),
  };
}

/** A box moved by (dx, dy), its centre kept on the photo. */
export function movedBox([x0, y0, x1, y1], dx, dy, photo) {
  const x = clip((x0 + x1) / 2 + dx, 0, photo.width - 1) - (x0 + x1) / 2;
  const y = clip((y0 + y1) / 2 + dy, 0, photo.height - 1) - (y0 + y1) / 2;
  return [x0 + x, y0 + y, x1 + x, y1 + y];
}

/**
 * A box of which some edges were moved by (dx, dy).
 *
 * @param {number[]} box
 * @param {string} edges which: letters of n, e, s, w.
 */
export function resizedBox([x0, y0, x1, y1], edges, dx, dy, photo) {
  const left = [-photo.width, x1 - MIN_SIDE];
  const right = [x0 + MIN_SIDE, 2 * photo.width];
  const top = [-photo.height, y1 - MIN_SIDE];
  const bottom = [y0 + MIN_SIDE, 2 * photo.height];
  return [
    edges.includes("w") ? clip(x0 + dx, ...left) : x0,
    edges.includes("n") ? clip(y0 + dy, ...top) : y0,
    edges.includes("e") ? clip(x1 + dx, ...right) : x1,
    edges.includes("s") ? clip(y1 + dy, ...bottom) : y1,
  ];
}

/** A box grown by `pixels` on every side; it never turns inside out. */
export function grownBox([x0, y0, x1, y1], pixels) {
  const x = Math.max(pixels, (MIN_SIDE - (x1 - x0)) / 2);
  const y = Math.max(pixels, (MIN_SIDE - (y1 - y0)) / 2);
  return [x0 - x, y0 - y, x1 + x, y1 + y];
}

/** The box between two corners, in any order. */
export function boxBetween([ax, ay], [bx, by]) {
  return [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];
}

/** A first box for a face that is added by key: a square in the middle of what the stage shows. */
export function boxInView(view, stage, photo) {
  const [left, top] = toPhoto(view, [0, 0]);
  const [right, bottom] = toPhoto(view, [stage.width, stage.height]);
  const visible = [
    Math.max(left, -0.5),
    Math.max(top, -0.5),
    Math.min(right, photo.width - 0.5),
    Math.min(bottom, photo.height - 0.5),
  ];
  const side = Math.max(Math.min(visible[2] - visible[0], visible[3] - visible[1]) * 0.4, MIN_SIDE);
  const x = Math.round((visible[0] + visible[2] - side) / 2);
  const y = Math.round((visible[1] + visible[3] - side) / 2);
  return [x, y, x + Math.round(side), y + Math.round(side)];
}

/** Whether corners are in order and the box is large enough to hold a face. */
export function isBox([x0, y0, x1, y1]) {
  return x1 - x0 >= MIN_SIDE && y1 - y0 >= MIN_SIDE;
}

/** The longer side of a box. */
export function longerSide([x0, y0, x1, y1]) {
  return Math.max(x1 - x0, y1 - y0);
}

/** The inverse of a 2x3 map [[a, b, c], [d, e, f]]. */
export function inverseMap([[a, b, c], [d, e, f]]) {
  const det = a * e - b * d;
  return [
    [e / det, -b / det, (b * f - c * e) / det],
    [-d / det, a / det, (c * d - a * f) / det],
  ];
}

/** A point under a 2x3 map. */
export function mapped([[a, b, c], [d, e, f]], [x, y]) {
  return [a * x + b * y + c, d * x + e * y + f];
}

/** The distance of two points. */
export function distance([ax, ay], [bx, by]) {
  return Math.hypot(ax - bx, ay - by);
}

/** A number, or the bound that it is beyond. */
export function clip(value, low, high) {
  return Math.min(Math.max(value, low), high);
}
