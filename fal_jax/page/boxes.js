/** A box per face on the stage, as an element that Tab reaches, and the handles of the selected. */

import { boxInView, grownBox, movedBox, resizedBox, toStage } from "./geometry.js";

const EDGES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const MIN_SIDE_FOR_EDGES = 110; // CSS px: on smaller boxes corners alone have room
const MIN_WIDTH_FOR_TITLE = 72; // CSS px: on narrower boxes stands the number alone

export class Boxes {
  #session;
  #stage;
  #layer;
  #handles;
  #elements = new Map(); // face -> its box
  #spoken = 0;

  /**
   * @param {Session} session
   * @param {Stage} stage
   * @param {HTMLElement} layer for the boxes.
   * @param {HTMLElement} handles for the handles, above it.
   */
  constructor(session, stage, layer, handles) {
    this.#session = session;
    this.#stage = stage;
    this.#layer = layer;
    this.#handles = handles;
    handles.append(...EDGES.map(handleElement));
    stage.addEventListener("drawn", () => this.#place());
  }

  /** The face whose box an element is, or null. */
  faceOf(element) {
    const box = element.closest?.(".box");
    return [...this.#elements].find(([, candidate]) => candidate === box)?.[0] ?? null;
  }

  /** Gives a face's box the keyboard. */
  focus(face) {
    this.#place(); // a face that was just added has no element yet
    this.#elements.get(face)?.focus({ preventScroll: true });
  }

  /** Adds a face in the middle of what is shown, for the keyboard. */
  add() {
    const { photo } = this.#session;
    if (!photo) return;
    const face = this.#session.add(boxInView(this.#stage.view, this.#stage.size, photo));
    this.focus(face);
  }

  /** Removes a face; the keyboard goes on to the next one. */
  remove(face) {
    const hadFocus = this.#elements.get(face) === document.activeElement;
    this.#session.remove(face);
    this.#place();
    if (!hadFocus) return;
    if (this.#session.selected) this.focus(this.#session.selected);
    else this.#layer.parentElement.focus({ preventScroll: true });
  }

  #place() {
    const { faces, selected } = this.#session;
    for (const [face, element] of this.#elements) {
      if (faces.includes(face)) continue;
      element.remove();
      this.#elements.delete(face);
    }
    for (const face of faces) {
      if (!this.#elements.has(face)) this.#create(face);
      this.#update(face, this.#elements.get(face));
    }
    this.#placeHandles(this.#stage.show.boxes ? selected : null);
  }

  #create(face) {
    const element = document.createElement("div");
    element.className = "box";
    element.tabIndex = 0;
    element.setAttribute("role", "group");
    element.setAttribute("aria-roledescription", "face box");
    element.setAttribute("aria-describedby", "box-keys");
    element.addEventListener("focus", () => {
      if (this.#session.selected !== face) this.#session.select(face);
    });
    element.addEventListener("keydown", (event) => this.#pressed(event, face));
    this.#elements.set(face, element);
    this.#layer.append(element);
  }

  #update(face, element) {
    const [x0, y0] = toStage(this.#stage.view, face.box);
    const [x1, y1] = toStage(this.#stage.view, face.box.slice(2));
    const { style } = element;
    style.left = `${x0}px`;
    style.top = `${y0}px`;
    style.width = `${x1 - x0}px`;
    style.height = `${y1 - y0}px`;
    // Of boxes inside others the smaller can still be reached.
    style.zIndex = String(100000 - Math.min(Math.round(Math.hypot(x1 - x0, y1 - y0)), 99999));
    element.classList.toggle("selected", face === this.#session.selected);
    element.classList.toggle("quiet", !this.#stage.show.boxes);
    const isSmall = x1 - x0 < MIN_WIDTH_FOR_TITLE;
    element.classList.toggle("small", isSmall);
    element.dataset.title = this.#session.title(face).slice(isSmall ? "Face ".length : 0);
    element.setAttribute("aria-label", `${this.#session.title(face)}, ${placeOf(face)}`);
  }

  #placeHandles(face) {
    this.#handles.hidden = !face;
    if (!face) return;
    const [x0, y0] = toStage(this.#stage.view, face.box);
    const [x1, y1] = toStage(this.#stage.view, face.box.slice(2));
    // Outside the box: inside, fingers move it and choose points.
    const [west, north, east, south] = [x0 - 7, y0 - 7, x1 + 7, y1 + 7];
    for (const handle of this.#handles.children) {
      const edges = handle.dataset.edges;
      const x = edges.includes("w") ? west : edges.includes("e") ? east : (x0 + x1) / 2;
      const y = edges.includes("n") ? north : edges.includes("s") ? south : (y0 + y1) / 2;
      handle.style.left = `${x}px`;
      handle.style.top = `${y}px`;
      const side = edges.length === 1 && ("ns".includes(edges) ? x1 - x0 : y1 - y0);
      handle.hidden = edges.length === 1 && side < MIN_SIDE_FOR_EDGES;
    }
  }

  #pressed(event, face) {
    const session = this.#session;
    const step = STEPS[event.key];
    const pixels = event.shiftKey ? 10 : 1;
    if (event.ctrlKey || event.metaKey) return;

    if (step && event.altKey) {
      const [dx, dy] = step.map((value) => value * pixels);
      session.setBox(face, resizedBox(face.box, "se", dx, dy, session.photo));
      this.#speak(face);
    } else if (step) {
      const [dx, dy] = step.map((value) => value * pixels);
      session.setBox(face, movedBox(face.box, dx, dy, session.photo));
      this.#speak(face);
    } else if ("+=".includes(event.key)) {
      session.setBox(face, grownBox(face.box, 1));
      this.#speak(face);
    } else if ("-_".includes(event.key)) {
      session.setBox(face, grownBox(face.box, -1));
      this.#speak(face);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.remove(face);
    } else if ("[,".includes(event.key)) {
      session.step(-1);
    } else if ("].".includes(event.key)) {
      session.step(1);
    } else if (event.key === "Escape") {
      session.select(face);
    } else if (event.key === "Enter") {
      this.#stage.showFace(face);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  /** Says where a box is, once it has come to rest. */
  #speak(face) {
    clearTimeout(this.#spoken);
    this.#spoken = setTimeout(() => {
      if (!this.#session.faces.includes(face)) return;
      this.#session.say(`${this.#session.title(face)}, ${placeOf(face)}.`);
    }, 500);
  }
}

function placeOf(face) {
  const [x0, y0, x1, y1] = face.box.map(Math.round);
  return `${x0}, ${y0} to ${x1}, ${y1}`;
}

function handleElement(edges) {
  const handle = document.createElement("div");
  handle.className = `handle ${edges}`;
  handle.dataset.edges = edges;
  return handle;
}
