/**
 * What the page knows: the photo, its faces, what is selected. Views listen to "change".
 *
 * A face is {number, box, boxScore, byHand, landmarks, scores, stale}: `number` names it while the
 * photo is open, `byHand` says that the user drew or changed its box, `landmarks` and `scores` are
 * null until they are computed, `stale` says that the box has changed since.
 */

import { isBox } from "./geometry.js";
import { words } from "./markup.js";
import { oneAtATime } from "./one_at_a_time.js";

const FACES_AT_ONCE = 8; // so that the first points of a group photo appear soon

export class Session extends EventTarget {
  photo = null;
  file = "";
  faces = [];
  selected = null;
  landmark = null;
  heat = null; // of the selected landmark: what computer.heatmap returns, with its face
  busy = ""; // what the user waits for
  error = "";
  hint = ""; // why the user should draw a box: "not found", "draw" (no detector, none left), ""

  #computer;
  #opened = 0; // photos so far
  #shown = 0; // which of them is shown
  #waits = new Map(); // photo -> what it waits for
  #lastNumber = 0;
  #align = oneAtATime(() => this.#alignStale());
  #readHeatmap = oneAtATime(() => this.#readSelected());

  /**
   * @param {object} page page.json.
   * @param {Promise<object>} computer which may take seconds to open.
   */
  constructor(page, computer) {
    super();
    this.page = page;
    this.#computer = computer;
  }

  /** The name of a face for people: its place in the list. */
  title(face) {
    return `Face ${this.faces.indexOf(face) + 1}`;
  }

  /**
   * Reads a photo and finds its faces. Where it cannot be read the one before it stays.
   *
   * Several may be on their way; one that is overtaken by a later one is never shown.
   */
  async open(file, name = file.name || "photo.jpg") {
    const turn = ++this.#opened;
    this.#wait(turn, `Reading ${name}`);
    this.dismiss();
    try {
      const computer = await this.#computer;
      const photo = await computer.add(file);
      if (turn < this.#shown) return;
      this.#shown = turn;
      this.#show(photo, name, computer.detects ? "" : "draw");
      if (!computer.detects) {
        this.say("Draw a box around each face, or press N for one.");
        return;
      }

      this.#wait(turn, "Looking for faces");
      const found = await computer.detect(photo);
      if (photo !== this.photo) return;
      // The user may have drawn faces while the detector was looking.
      this.faces.push(...found.map(({ box, score }) => this.#face(box, score)));
      const selected = this.selected ?? this.faces[0] ?? null;
      this.#change({ selected, hint: this.faces.length ? "" : "not found" });
      this.say(foundSentence(found.length));
      this.#wait(turn, "");
      await this.#align();
    } catch (error) {
      if (turn >= this.#shown) this.fail(error);
    } finally {
      this.#wait(turn, "");
    }
  }

  /** Adds a face whose box the user drew. */
  add(box) {
    const face = { ...this.#face(box, null), byHand: true };
    this.faces.push(face);
    this.#change({ selected: face, landmark: null, heat: null, hint: "" });
    this.say(`${this.title(face)} added.`);
    this.#align();
    return face;
  }

  /** Gives a face another box. */
  setBox(face, box) {
    if (!isBox(box)) return;
    face.box = box;
    face.byHand = true;
    face.stale = true;
    this.#change({});
    this.#align();
  }

  /** Removes a face. */
  remove(face) {
    const place = this.faces.indexOf(face);
    if (place < 0) return;
    const title = this.title(face);
    this.faces.splice(place, 1);
    if (this.selected === face) {
      const selected = this.faces[Math.min(place, this.faces.length - 1)] ?? null;
      this.#change({ selected, landmark: null, heat: null });
    }
    this.#change({ hint: this.faces.length ? "" : "draw" });
    this.say(`${title} removed, ${facesLeft(this.faces.length)}.`);
  }

  /** Selects a face, and one of its landmarks or none. */
  select(face, landmark = null) {
    if (face === this.selected && landmark === this.landmark) return;
    this.#change({ selected: face, landmark, heat: landmark === null ? null : this.heat });
    if (landmark === null) return;
    const score = face.scores ? `, score ${face.scores[landmark].toFixed(2)}` : "";
    this.say(`Landmark ${landmark}, ${words(this.page.model.names[landmark])}${score}.`);
    this.#readHeatmap();
  }

  /** Selects the landmark `step` further on of the selected face. */
  step(step) {
    if (!this.selected) return;
    const { num_landmarks: num } = this.page.model;
    const first = step > 0 ? 0 : num - 1;
    const next = this.landmark === null ? first : (this.landmark + step + num) % num;
    this.select(this.selected, next);
  }

  /** Resolves when every face has the landmarks of its box. */
  async settled() {
    await this.#align();
  }

  /** Faces that have landmarks. */
  get aligned() {
    return this.faces.filter((face) => face.landmarks && !face.stale);
  }

  /** Tells the user what went wrong. */
  fail(error) {
    this.#change({ error: error instanceof Error ? error.message : String(error) });
  }

  /** Takes the last error off the page. */
  dismiss() {
    this.#change({ error: "" });
  }

  /** Has a sentence spoken to those who do not see the page, and shown in the status line. */
  say(sentence) {
    this.dispatchEvent(new CustomEvent("say", { detail: sentence }));
  }

  #show(photo, file, hint) {
    const nothing = { faces: [], selected: null, landmark: null, heat: null };
    this.#change({ photo, file, hint, ...nothing });
    this.dispatchEvent(new Event("photo"));
  }

  /** Notes what a photo waits for, nothing if `text` is empty. */
  #wait(turn, text) {
    if (text) this.#waits.set(turn, text);
    else this.#waits.delete(turn);
    this.#change({ busy: [...this.#waits.values()].at(-1) ?? "" });
  }

  #face(box, score) {
    const face = { box, boxScore: score, byHand: false, landmarks: null, scores: null };
    return { ...face, number: ++this.#lastNumber, stale: true, placing: false };
  }

  #change(values) {
    Object.assign(this, values);
    this.dispatchEvent(new Event("change"));
  }

  async #alignStale() {
    const { photo } = this;
    const stale = this.faces.filter((face) => face.stale);
    // The face in the user's hand comes first.
    stale.sort((a, b) => Number(b === this.selected) - Number(a === this.selected));
    const faces = stale.slice(0, FACES_AT_ONCE);
    if (!faces.length) return;

    // Not stale until its box changes again.
    for (const face of faces) Object.assign(face, { stale: false, placing: true });
    try {
      const computer = await this.#computer;
      const results = await computer.align(photo, faces.map((face) => [...face.box]));
      for (const [i, face] of faces.entries()) Object.assign(face, results[i]);
    } catch (error) {
      // Points of an earlier box would look like those of this one.
      for (const face of faces) Object.assign(face, { landmarks: null, scores: null });
      if (photo === this.photo) this.fail(error);
    }
    for (const face of faces) face.placing = false;
    this.#change({});
    if (stale.length > faces.length) this.#align();
    if (faces.includes(this.selected) && this.landmark !== null) this.#readHeatmap();
  }

  async #readSelected() {
    const { photo, selected: face, landmark } = this;
    if (!face || landmark === null) return;
    try {
      const computer = await this.#computer;
      const heat = await computer.heatmap(photo, [...face.box], landmark);
      // Of a landmark that was left meanwhile it is not wanted; of a box that moved on it is.
      if (this.selected === face && this.landmark === landmark) {
        this.#change({ heat: { ...heat, face, landmark } });
      }
    } catch (error) {
      this.#change({ heat: null });
      if (photo === this.photo) this.fail(error);
    }
  }
}

function foundSentence(count) {
  if (!count) return "No face was found: draw a box, or press N for one.";
  return count === 1 ? "1 face found." : `${count} faces found.`;
}

function facesLeft(count) {
  if (!count) return "none left";
  return count === 1 ? "1 left" : `${count} left`;
}
