/** What mouse, fingers, pen, wheel and keys do on the stage. */

import { boxBetween, distance, isBox, movedBox, resizedBox } from "./geometry.js";

const CLICK = 4; // CSS px that a pointer may slip and still click
const REACH = { mouse: 8, pen: 10, touch: 20 }; // CSS px to the nearest landmark
const ZOOM_KEYS = { "+": 1.25, "=": 1.25, "-": 0.8, _: 0.8 };
const PAN_KEYS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

export class Gestures {
  hand = false; // dragging moves the photo, not boxes

  #session;
  #stage;
  #boxes;
  #element;
  #pointers = new Map(); // id -> where it is, stage px
  #drag = null; // what the first pointer does: {move, end, cancel, start, moved}
  #space = false;

  constructor(session, stage, boxes, element) {
    this.#session = session;
    this.#stage = stage;
    this.#boxes = boxes;
    this.#element = element;
    element.addEventListener("pointerdown", (event) => this.#down(event));
    element.addEventListener("pointermove", (event) => this.#move(event));
    element.addEventListener("pointerup", (event) => this.#up(event));
    element.addEventListener("pointercancel", (event) => this.#cancel(event));
    element.addEventListener("pointerleave", () => stage.tip(null));
    element.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    element.addEventListener("keydown", (event) => this.#pressed(event));
    element.addEventListener("keyup", (event) => {
      if (event.key === " ") this.#space = false;
    });
    element.addEventListener("blur", () => {
      this.#space = false;
    });
  }

  #down(event) {
    if (!this.#session.photo || event.target.closest("button") || event.button > 1) return;
    event.preventDefault(); // no selection of text, no scrolling by the middle button
    this.#element.setPointerCapture(event.pointerId);
    const start = this.#stage.at(event);
    this.#pointers.set(event.pointerId, start);
    this.#stage.tip(null);
    if (this.#pointers.size === 2) {
      this.#drag?.cancel?.();
      this.#drag = null;
    } else if (this.#pointers.size === 1) {
      this.#drag = { ...this.#begun(event), start, moved: false };
    }
  }

  /** What a pointer that goes down will do. */
  #begun(event) {
    // A box that is not shown is not moved either.
    if (this.hand || this.#space || event.button === 1 || !this.#stage.show.boxes) {
      this.#element.focus({ preventScroll: true });
      return this.#panning();
    }
    const { selected } = this.#session;
    const edges = event.target.closest(".handle")?.dataset.edges;
    if (edges && selected) return this.#changing(selected, edges);
    const face = this.#boxes.faceOf(event.target);
    if (face) return this.#changing(face, "");
    this.#element.focus({ preventScroll: true });
    return this.#drawing(event);
  }

  #panning() {
    return { move: (_, [dx, dy]) => this.#stage.pan(dx, dy) };
  }

  /** Moves a face's box, or those of its edges that are named. */
  #changing(face, edges) {
    const session = this.#session;
    const { photo } = session;
    const { box } = face;
    // Selecting another landmark is the click's, which may follow.
    if (session.selected !== face) session.select(face);
    this.#boxes.focus(face);
    return {
      move: (_, __, [dx, dy]) => {
        const zoom = this.#stage.view.zoom;
        const by = [dx / zoom, dy / zoom];
        const changed = edges ? resizedBox(box, edges, ...by, photo) : movedBox(box, ...by, photo);
        session.setBox(face, changed);
      },
      cancel: () => face.box !== box && session.setBox(face, box),
    };
  }

  #drawing(event) {
    const corner = this.#stage.photoAt(event);
    const drawn = (last) => boxBetween(corner, this.#stage.photoAt(last));
    const show = (draft) => {
      this.#stage.draft = draft;
      this.#stage.draw();
    };
    return {
      move: (last) => show(drawn(last)),
      end: (last) => {
        show(null);
        const box = drawn(last);
        if (isBox(box)) this.#boxes.focus(this.#session.add(box));
      },
      cancel: () => show(null),
    };
  }

  #move(event) {
    const at = this.#stage.at(event);
    if (!this.#pointers.has(event.pointerId)) {
      if (event.pointerType !== "touch") this.#hover(at, event.pointerType);
      return;
    }
    const before = this.#pointers.get(event.pointerId);
    if (this.#pointers.size === 2) this.#pinch(event.pointerId, before, at);
    this.#pointers.set(event.pointerId, at);

    const drag = this.#drag;
    if (!drag) return;
    drag.moved ||= distance(drag.start, at) > CLICK;
    if (!drag.moved) return;
    const total = [at[0] - drag.start[0], at[1] - drag.start[1]];
    drag.move(event, [at[0] - before[0], at[1] - before[1]], total);
  }

  #hover(at, pointer) {
    if (!this.#session.photo) return;
    const hit = this.#stage.landmarkAt(at, REACH[pointer] ?? REACH.mouse);
    this.#stage.tip(hit);
    this.#element.classList.toggle("on-landmark", Boolean(hit));
  }

  /** Two fingers: what was under them stays under them. */
  #pinch(id, before, at) {
    const [other] = [...this.#pointers].filter(([key]) => key !== id).map(([, place]) => place);
    const apart = Math.max(distance(before, other), 1);
    const middle = (place) => [(place[0] + other[0]) / 2, (place[1] + other[1]) / 2];
    const [from, to] = [middle(before), middle(at)];
    this.#stage.pan(to[0] - from[0], to[1] - from[1]);
    this.#stage.zoom(distance(at, other) / apart, to);
  }

  #up(event) {
    if (!this.#pointers.delete(event.pointerId)) return;
    const drag = this.#drag;
    this.#drag = null;
    if (!drag) return;
    if (drag.moved) drag.end?.(event);
    else this.#click(event);
  }

  #click(event) {
    const hit = this.#stage.landmarkAt(this.#stage.at(event), REACH[event.pointerType] ?? 8);
    if (!hit) return;
    this.#session.select(hit.face, hit.landmark);
    this.#boxes.focus(hit.face);
    this.#stage.tip(hit); // a finger does not hover
  }

  #cancel(event) {
    this.#pointers.delete(event.pointerId);
    this.#drag?.cancel?.();
    this.#drag = null;
  }

  #wheel(event) {
    if (!this.#session.photo) return;
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    this.#stage.zoom(Math.exp(-event.deltaY * lines * 0.0015), this.#stage.at(event));
  }

  /** Keys of the stage itself; those of a box are its own and do not come here. */
  #pressed(event) {
    if (!this.#session.photo || event.ctrlKey || event.metaKey || event.altKey) return;
    const pan = PAN_KEYS[event.key];
    if (event.key === " " && event.target === this.#element) {
      this.#space = true;
    } else if (pan) {
      this.#stage.pan(pan[0] * 40, pan[1] * 40);
    } else if (ZOOM_KEYS[event.key]) {
      this.#stage.zoom(ZOOM_KEYS[event.key]);
    } else if (event.key === "0") {
      this.#stage.fit();
    } else if (event.key === "1") {
      this.#stage.actualSize();
    } else {
      return;
    }
    event.preventDefault();
  }
}
