/** The faces of the photo in the side panel: how sure the network is of each, and what to do. */

import { lowest, mean } from "./formats.js";
import { longerSide } from "./geometry.js";
import { words } from "./markup.js";

const THUMB = 56; // CSS px

export class FaceList {
  #session;
  #root;
  #template;
  #actions;
  #items = new Map(); // face -> {element, drawn: the box in its thumbnail}

  /**
   * @param {Session} session
   * @param {HTMLElement} root the list.
   * @param {HTMLTemplateElement} template of an entry.
   * @param {object} actions show(face), remove(face), savePts(face).
   */
  constructor(session, root, template, actions) {
    this.#session = session;
    this.#root = root;
    this.#template = template;
    this.#actions = actions;
    session.addEventListener("change", () => this.#update());
  }

  #update() {
    const { faces } = this.#session;
    for (const [face, { element }] of this.#items) {
      if (faces.includes(face)) continue;
      element.remove();
      this.#items.delete(face);
    }
    for (const face of faces) {
      if (!this.#items.has(face)) this.#create(face);
      this.#fill(face, this.#items.get(face));
    }
  }

  #create(face) {
    const element = this.#template.content.firstElementChild.cloneNode(true);
    const on = (selector, action) =>
      element.querySelector(selector).addEventListener("click", () => action(face));
    on(".show", this.#actions.show);
    on(".remove", this.#actions.remove);
    on(".save-pts", this.#actions.savePts);
    this.#items.set(face, { element, drawn: "" });
    this.#root.append(element);
  }

  #fill(face, item) {
    const { element } = item;
    const title = this.#session.title(face);
    const isSelected = face === this.#session.selected;
    element.classList.toggle("selected", isSelected);
    const show = element.querySelector(".show");
    show.setAttribute("aria-current", String(isSelected));
    element.querySelector(".title").textContent = title;
    element.querySelector(".origin").textContent = originOf(face);
    element.querySelector(".scores").textContent = this.#scoresOf(face);
    element.querySelector(".remove").setAttribute("aria-label", `Remove ${title.toLowerCase()}`);
    const save = element.querySelector(".save-pts");
    save.setAttribute("aria-label", `Save ${title.toLowerCase()} as .pts`);
    save.disabled = !face.landmarks;

    const wanted = face.box.join();
    if (wanted !== item.drawn && !face.stale) {
      item.drawn = wanted;
      this.#drawThumb(element.querySelector("canvas"), face);
    }
  }

  #scoresOf(face) {
    const isPlacing = face.stale || face.placing;
    if (!face.scores) return isPlacing ? "Placing points" : "No points: change the box";
    const { score, landmark } = lowest(face.scores);
    const name = words(this.#session.page.model.names[landmark]);
    return `Mean score ${mean(face.scores).toFixed(2)}, lowest ${score.toFixed(2)} (${name})`;
  }

  #drawThumb(canvas, { box }) {
    const pixels = THUMB * Math.max(devicePixelRatio, 1);
    Object.assign(canvas, { width: pixels, height: pixels });
    const scale = pixels / (longerSide(box) * 1.2);
    const { image, width, height } = this.#session.photo;
    const ctx = canvas.getContext("2d");
    ctx.imageSmoothingQuality = "high";
    const x = pixels / 2 - ((box[0] + box[2]) / 2 + 0.5) * scale;
    const y = pixels / 2 - ((box[1] + box[3]) / 2 + 0.5) * scale;
    ctx.drawImage(image, x, y, width * scale, height * scale);
  }
}

function originOf(face) {
  if (!face.byHand) return `found, ${face.boxScore.toFixed(2)}`;
  return face.boxScore === null ? "drawn" : "found, then changed";
}
