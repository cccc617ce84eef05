/** The photo on the page: what part of it is shown, how large, with the points of its faces. */

import { drawFaces, pointRadius } from "./draw.js";
import {
  distance,
  fittingView,
  heldView,
  isBox,
  toPhoto,
  toStage,
  zoomedView,
} from "./geometry.js";
import { words } from "./markup.js";

const SMOOTH_BELOW = 3; // device px per photo px; above, pixels are shown as squares

export class Stage extends EventTarget {
  view = { zoom: 1, x: 0, y: 0 };
  show = { points: true, lines: true, numbers: false, boxes: true };
  draft = null; // a box that is being drawn

  #session;
  #element;
  #photoCanvas;
  #pointCanvas;
  #tip;
  #fits = true; // the whole photo is shown, also after the window has changed
  #waiting = false;
  #photoDrawn = "";

  /**
   * @param {Session} session
   * @param {HTMLElement} element with two canvases and a .tip.
   */
  constructor(session, element) {
    super();
    this.#session = session;
    this.#element = element;
    [this.#photoCanvas, this.#pointCanvas] = element.querySelectorAll("canvas");
    this.#tip = element.querySelector(".tip");
    session.addEventListener("photo", () => this.fit());
    session.addEventListener("change", () => this.draw());
    new ResizeObserver(() => this.#resized()).observe(element);
  }

  /** {width, height} in CSS px. */
  get size() {
    return { width: this.#element.clientWidth, height: this.#element.clientHeight };
  }

  /** Shows the whole photo. */
  fit() {
    if (!this.#session.photo) return;
    this.#fits = true;
    this.#setView(fittingView(this.#session.photo, this.size));
  }

  /** Zooms about a point of the stage, its middle if none is given. */
  zoom(factor, centre = [this.size.width / 2, this.size.height / 2]) {
    const { photo } = this.#session;
    if (!photo) return;
    const smallest = fittingView(photo, this.size).zoom;
    this.#fits = false;
    this.#setView(zoomedView(this.view, factor, centre, smallest));
  }

  /** Shows the photo at its own size: one CSS px per pixel. */
  actualSize() {
    this.zoom(1 / this.view.zoom);
  }

  /** Moves the photo by CSS px. */
  pan(dx, dy) {
    if (!this.#session.photo) return;
    this.#fits = false;
    this.#setView({ ...this.view, x: this.view.x + dx, y: this.view.y + dy });
  }

  /** Zooms to a face, so that its box fills most of the stage. */
  showFace(face) {
    const [x0, y0, x1, y1] = face.box;
    const { width, height } = this.size;
    const zoom = Math.min((width * 0.7) / (x1 - x0), (height * 0.7) / (y1 - y0), 32);
    const x = width / 2 - ((x0 + x1) / 2 + 0.5) * zoom;
    const y = height / 2 - ((y0 + y1) / 2 + 0.5) * zoom;
    this.#fits = false;
    this.#setView({ zoom, x, y });
  }

  /** The event's place in stage px. */
  at(event) {
    const frame = this.#element.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  }

  /** The landmark within `reach` CSS px of a point of the stage: {face, landmark}, or null. */
  landmarkAt(point, reach) {
    if (!(this.show.points || this.show.lines)) return null;
    let nearest = null;
    let least = Infinity;
    for (const face of this.#session.faces) {
      const most = Math.min(reach + pointRadius(face, this.view), reachOfFace(face, this.view));
      for (const [landmark, position] of (face.landmarks ?? []).entries()) {
        const away = distance(toStage(this.view, position), point);
        if (away < least && away <= most) {
          least = away;
          nearest = { face, landmark };
        }
      }
    }
    return nearest;
  }

  /** Shows or hides the name and score of a landmark beside it. */
  tip(hit) {
    this.#tip.hidden = !hit?.face.landmarks;
    if (this.#tip.hidden) return;
    const { face, landmark } = hit;
    const name = words(this.#session.page.model.names[landmark]);
    this.#tip.textContent = `${landmark} · ${name} · ${face.scores[landmark].toFixed(2)}`;
    const [x, y] = toStage(this.view, face.landmarks[landmark]);
    const left = Math.min(x + 14, this.size.width - this.#tip.offsetWidth - 4);
    this.#tip.style.left = `${Math.max(left, 4)}px`;
    this.#tip.style.top = `${Math.max(y - 38, 4)}px`;
  }

  /** Draws at the browser's next frame; whoever draws on top listens to "drawn". */
  draw() {
    if (this.#waiting) return;
    this.#waiting = true;
    requestAnimationFrame(() => {
      this.#waiting = false;
      this.#drawPhoto();
      this.#drawPoints();
      this.dispatchEvent(new Event("drawn"));
    });
  }

  /** Photo px of the place of an event. */
  photoAt(event) {
    return toPhoto(this.view, this.at(event));
  }

  #setView(view) {
    this.view = heldView(view, this.#session.photo, this.size);
    this.#tip.hidden = true;
    this.draw();
  }

  #resized() {
    if (this.#session.photo) {
      if (this.#fits) this.fit();
      else this.#setView(this.view);
    }
  }

  /** A context in CSS px of a cleared canvas that is as large as the stage. */
  #context(canvas) {
    const { width, height } = this.size;
    const pixels = [Math.round(width * devicePixelRatio), Math.round(height * devicePixelRatio)];
    if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) {
      [canvas.width, canvas.height] = pixels;
    }
    const ctx = canvas.getContext("2d");
    ctx.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    ctx.clearRect(0, 0, width, height);
    return ctx;
  }

  #drawPhoto() {
    const { photo } = this.#session;
    const { zoom, x, y } = this.view;
    // Points change far more often than the photo does.
    const wanted = [photo?.id, zoom, x, y, ...Object.values(this.size), devicePixelRatio].join();
    if (wanted === this.#photoDrawn) return;
    this.#photoDrawn = wanted;

    const ctx = this.#context(this.#photoCanvas);
    if (!photo) return;
    ctx.imageSmoothingEnabled = zoom * devicePixelRatio < SMOOTH_BELOW;
    ctx.imageSmoothingQuality = "high";
    ctx.drawImage(photo.image, x, y, photo.width * zoom, photo.height * zoom);
  }

  #drawPoints() {
    const { faces, page, selected, landmark } = this.#session;
    const ctx = this.#context(this.#pointCanvas);
    const { view, show } = this;
    drawFaces(ctx, faces, { view, show, model: page.model, selected, landmark });
    if (this.draft && isBox(this.draft)) this.#drawDraft(ctx);
  }

  #drawDraft(ctx) {
    const [x0, y0] = toStage(this.view, this.draft);
    const [x1, y1] = toStage(this.view, this.draft.slice(2));
    ctx.setLineDash([6, 4]);
    for (const [colour, width] of [["rgb(0 0 0 / 0.6)", 4], ["#ffffff", 2]]) {
      ctx.strokeStyle = colour;
      ctx.lineWidth = width;
      ctx.strokeRect(x0, y0, x1 - x0, y1 - y0);
    }
    ctx.setLineDash([]);
  }
}

/** In a small face points are close together: a click far from all of them means the face. */
function reachOfFace(face, view) {
  return Math.max((face.box[3] - face.box[1]) * view.zoom * 0.12, 3);
}
