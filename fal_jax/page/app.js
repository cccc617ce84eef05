/** Starts the page: reads page.json, opens the computer behind it and connects the parts. */

import { Boxes } from "./boxes.js";
import { Camera } from "./camera.js";
import { saveJson, savePicture, savePts } from "./downloads.js";
import { FaceList } from "./face_list.js";
import { Gestures } from "./gestures.js";
import { Lens, drawScale } from "./lens.js";
import { REGION_COLOURS, regions } from "./markup.js";
import { Session } from "./session.js";
import { listen } from "./sources.js";
import { Stage } from "./stage.js";

const LOOPBACK = ["localhost", "127.0.0.1", "[::1]"];

const by = (id) => document.getElementById(id);

async function start() {
  const page = await readPage();
  describe(page);
  const opening = openComputer(page);
  const session = new Session(page, opening);
  const stage = new Stage(session, by("stage"));
  const boxes = new Boxes(session, stage, by("boxes"), by("handles"));
  const gestures = new Gestures(session, stage, boxes, by("stage"));
  new Lens(session, by("lens"));
  drawScale(document.querySelector(".scale canvas"));
  new FaceList(session, by("faces"), by("face-entry"), {
    show: (face) => {
      session.select(face);
      stage.showFace(face);
      boxes.focus(face);
    },
    remove: (face) => boxes.remove(face),
    savePts: (face) => savePts(session, face),
  });

  connectSources(session);
  connectToolbar(session, stage, boxes, gestures);
  connectPanels(session, stage);
  connectMessages(session, opening);
}

async function readPage() {
  const response = await fetch("./page.json");
  if (!response.ok) throw new Error("page.json is missing beside this page: make the page again.");
  return response.json();
}

async function openComputer(page) {
  const { open } = await import(page.computer === "server" ? "./server.js" : "./browser.js");
  return open(page);
}

/** Writes what the page is, whose network it runs and where photos go. */
function describe({ computer, model }) {
  const stays = computer === "browser" || LOOPBACK.includes(location.hostname);
  by("privacy").textContent = stays
    ? "No photo leaves this computer."
    : `Photos are sent to ${location.hostname} and to nobody else.`;
  by("purpose").textContent =
    `Faces are found, and ${model.num_landmarks} landmarks placed on each to a fraction of a ` +
    `pixel. ${by("privacy").textContent}`;
  by("model-name").textContent = `Network ${model.name}`;
  by("model-name").hidden = model.notice.startsWith(model.name); // it says so itself
  by("notice").hidden = !model.notice;
  by("notice").textContent = model.notice;

  const entries = regions(model.names).map((name) => {
    const entry = document.createElement("li");
    const colour = document.createElement("span");
    colour.style.background = REGION_COLOURS[name];
    entry.append(colour, name);
    return entry;
  });
  by("regions").append(...entries);
}

function connectSources(session) {
  const open = (file, name) => session.open(file, name);
  const fail = (error) => session.fail(error);
  const buttons = [by("choose"), by("welcome-choose")];
  listen({ chooser: by("chooser"), buttons, page: document }, open, fail);

  const camera = new Camera(by("camera-dialog"), open, fail);
  for (const id of ["camera", "welcome-camera"]) {
    by(id).addEventListener("click", () => camera.start());
  }
}

function connectToolbar(session, stage, boxes, gestures) {
  const on = (id, action) => by(id).addEventListener("click", action);
  on("add-face", () => boxes.add());
  on("zoom-in", () => stage.zoom(1.5));
  on("zoom-out", () => stage.zoom(1 / 1.5));
  on("fit", () => stage.fit());
  on("hand", () => {
    gestures.hand = !gestures.hand;
    by("hand").setAttribute("aria-pressed", String(gestures.hand));
    by("stage").classList.toggle("hand", gestures.hand);
  });
  stage.addEventListener("drawn", () => {
    by("zoom-value").value = session.photo ? `${Math.round(stage.view.zoom * 100)} %` : "";
  });

  // Where nothing else has the keyboard, as after a photo was dropped, N must work as well.
  document.addEventListener("keydown", (event) => {
    const free = event.target === document.body || by("stage").contains(event.target);
    if (!free || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key.toLowerCase() !== "n" || !session.photo) return;
    event.preventDefault();
    boxes.add();
  });
}

function connectPanels(session, stage) {
  for (const input of document.querySelectorAll("[data-show]")) {
    stage.show[input.dataset.show] = input.checked; // browsers remember it over a reload
    input.addEventListener("change", () => {
      stage.show[input.dataset.show] = input.checked;
      stage.draw();
    });
  }
  const failing = (save) => () => save().catch((error) => session.fail(error));
  by("save-json").addEventListener("click", failing(() => saveJson(session)));
  by("save-picture").addEventListener("click", failing(() => savePicture(session, stage.show)));
  session.addEventListener("change", () => {
    by("no-faces").hidden = session.faces.length > 0;
    const nothing = !session.faces.some((face) => face.landmarks);
    by("save-json").disabled = nothing;
    by("save-picture").disabled = nothing;
  });
}

function connectMessages(session, opening) {
  let opened = false;
  let said = "";

  const update = () => {
    const busy = session.busy || (opened ? "" : "Loading the network");
    by("spinner").hidden = !busy;
    by("status").textContent = busy ? `${busy} …` : said;
    showError(session);
    by("draw-hint").hidden = !session.hint;
    by("draw-why").textContent = session.hint === "not found" ? "No face was found." : "";
    for (const id of ["add-face", "hand", "zoom-in", "zoom-out", "fit"]) {
      by(id).disabled = !session.photo;
    }
    const hadKeyboard = session.photo && by("welcome").contains(document.activeElement);
    document.documentElement.classList.toggle("empty", !session.photo);
    // With a photo, keys are the stage's own; the welcome is read like any page.
    by("stage").setAttribute("role", session.photo ? "application" : "group");
    by("stage").tabIndex = session.photo ? 0 : -1;
    by("to-lens").hidden = session.landmark === null;
    if (hadKeyboard) by("stage").focus({ preventScroll: true }); // the button is gone
  };

  session.addEventListener("change", update);
  session.addEventListener("say", ({ detail }) => {
    said = detail;
    by("live").textContent = detail;
    update();
  });
  opening.then(
    () => {
      opened = true;
      said ||= "Ready.";
      update();
    },
    (error) => {
      opened = true;
      session.fail(error);
    },
  );
  update();
}

function showError(session) {
  const alert = by("alert");
  if (alert.dataset.message === session.error) return; // or it would be spoken again
  alert.dataset.message = session.error;
  alert.replaceChildren();
  if (!session.error) return;
  const sentence = document.createElement("p");
  sentence.textContent = session.error;
  const dismiss = document.createElement("button");
  dismiss.textContent = "×";
  dismiss.setAttribute("aria-label", "Close this message");
  dismiss.addEventListener("click", () => session.dismiss());
  alert.append(sentence, dismiss);
}

start().catch((error) => {
  const sentence = document.createElement("p");
  sentence.textContent = error.message;
  by("alert").replaceChildren(sentence);
});
