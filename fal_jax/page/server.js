// The computer behind the page is the server that sent it: `python -m fal_jax.demo`.
//
// A photo is uploaded once. The server keeps the last few in memory and no longer; one that it has
// forgotten is uploaded again without a word.

const API = new URL("api/", import.meta.url);
const STOPPED = "The server does not answer: is `python -m fal_jax.demo` still running?";

// Photo -> {file, id}: what the server calls it, and what it is uploaded from.
const uploads = new WeakMap();

export async function open(page) {
  return { detects: page.detector !== null, add, detect, align, heatmap };
}

async function add(file) {
  const { id, width, height } = await upload(file);
  const shown = await request(`photos/${id}/shown`);
  const image = await createImageBitmap(await shown.blob());
  const photo = { id, width, height, image, scale: image.width / width };
  uploads.set(photo, { file, id });
  return photo;
}

async function detect(photo) {
  return (await ask(photo, "detect", {})).faces;
}

async function align(photo, boxes) {
  return (await ask(photo, "align", { boxes })).faces;
}

async function heatmap(photo, box, landmark) {
  const answer = await ask(photo, "heatmap", { box, landmark });
  return { ...answer, values: Float32Array.from(answer.values) };
}

async function upload(file) {
  const headers = { "Content-Type": "application/octet-stream" };
  return (await request("photos", { method: "POST", headers, body: file })).json();
}

async function ask(photo, what, question) {
  const upload_of = uploads.get(photo);
  const options = {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(question),
  };
  try {
    return await (await request(`photos/${upload_of.id}/${what}`, options)).json();
  } catch (error) {
    if (error.status !== 404) throw error;
    upload_of.id = (await upload(upload_of.file)).id;
    return (await request(`photos/${upload_of.id}/${what}`, options)).json();
  }
}

// The response, or an Error with the server's sentence and the status.
async function request(path, options) {
  let response;
  try {
    response = await fetch(new URL(path, API), options);
  } catch {
    throw new Error(STOPPED);
  }
  if (response.ok) return response;

  const answer = await response.json().catch(() => ({}));
  const sentence = answer.error ?? `The server failed (status ${response.status}).`;
  throw Object.assign(new Error(sentence), { status: response.status });
}
