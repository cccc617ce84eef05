/** Saves what the page knows as files of the user's computer. */

import { drawBoxes, drawFaces } from "./draw.js";
import { facesJson, ptsName, ptsText, stem } from "./formats.js";

/** Saves all faces of the photo as JSON. */
export async function saveJson(session) {
  await session.settled();
  const { page, photo, file, aligned } = session;
  const text = facesJson(page, photo, file, aligned);
  save(new Blob([text], { type: "application/json" }), `${stem(file)}.json`);
}

/** Saves one face as iBUG's .pts. */
export async function savePts(session, face) {
  await session.settled();
  if (!face.landmarks) return;
  const name = ptsName(session.file, session.aligned.indexOf(face));
  save(new Blob([ptsText(face.landmarks)], { type: "text/plain" }), name);
}

/** Saves the photo as it is drawn on the page, in its own size. */
export async function savePicture(session, show) {
  await session.settled();
  const { page, photo, file, aligned, selected, landmark } = session;
  const { image } = photo;
  const canvas = new OffscreenCanvas(image.width, image.height);
  const ctx = canvas.getContext("2d");
  ctx.drawImage(image, 0, 0);
  const view = { zoom: image.width / photo.width, x: 0, y: 0 }; // smaller than a huge photo
  if (show.boxes) drawBoxes(ctx, aligned, view);
  drawFaces(ctx, aligned, { view, show, model: page.model, selected, landmark });
  save(await canvas.convertToBlob({ type: "image/png" }), `${stem(file)}_landmarks.png`);
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // Some browsers read the file after the click has returned.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
