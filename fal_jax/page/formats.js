/**
 * What the page saves, as text: pure functions.
 *
 * The formats are those of `--mode=predict`, so that its `--boxes` reads the JSON again and other
 * tools read the .pts.
 */

/**
 * A number with three decimals, as Python's f"{x:.3f}" writes it.
 *
 * toFixed rounds a number that lies exactly between two thousandths up, Python rounds it to the
 * even one. Only odd multiples of 1/16 lie there.
 */
export function thousandths(x) {
  const sixteenths = x * 16;
  if (!Number.isInteger(sixteenths) || sixteenths % 2 === 0) return x.toFixed(3);
  const below = Math.floor(x * 1000);
  return ((below % 2 === 0 ? below : below + 1) / 1000).toFixed(3);
}

/**
 * iBUG's .pts, the format of 300W's annotations, which calls the centre of the first pixel 1.
 *
 * @param {number[][]} landmarks K points in photo px, pixel-centre.
 */
export function ptsText(landmarks) {
  const lines = landmarks.map(([x, y]) => `${thousandths(x + 1)} ${thousandths(y + 1)}`);
  return ["version: 1", `n_points: ${landmarks.length}`, "{", ...lines, "}", ""].join("\n");
}

/** The id of a photo's face: the file's name, and from the second face on its number. */
export function faceId(file, number) {
  return number ? `${file}#${number}` : file;
}

/** A file's name without its ending. */
export function stem(file) {
  const dot = file.lastIndexOf(".");
  return dot > 0 ? file.slice(0, dot) : file;
}

/** The name of a face's .pts file. */
export function ptsName(file, number) {
  return `${faceId(stem(file), number)}.pts`;
}

/** The lowest score of a face and the landmark that has it. */
export function lowest(scores) {
  const score = Math.min(...scores);
  return { score, landmark: scores.indexOf(score) };
}

/** The mean of some numbers. */
export function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/**
 * A photo's faces as JSON; README.md documents the fields.
 *
 * @param {object} page page.json.
 * @param {object} photo of the computer.
 * @param {string} file its name.
 * @param {object[]} faces with landmarks.
 */
export function facesJson(page, photo, file, faces) {
  const { name, notice, num_landmarks, decode, crop_size, names, edges } = page.model;
  const content = {
    format: 1,
    network: { name, notice, num_landmarks, decode, crop_size },
    detector: page.detector,
    coordinates: "pixels of the upright image; (0, 0) is the centre of the first one",
    names,
    edges,
    images: [
      {
        id: file,
        size: [photo.width, photo.height],
        faces: faces.map((face, number) => faceJson(face, faceId(file, number))),
      },
    ],
  };
  return `${JSON.stringify(content, null, 1)}\n`;
}

function faceJson(face, id) {
  return {
    id,
    box: face.box.map((value) => rounded(value, 3)),
    box_source: face.byHand ? "hand" : "detector",
    box_score: face.byHand ? null : rounded(face.boxScore, 4),
    score: rounded(mean(face.scores), 4),
    landmarks: face.landmarks.map((point) => point.map((value) => rounded(value, 3))),
    scores: face.scores.map((value) => rounded(value, 4)),
  };
}

function rounded(value, decimals) {
  return Number(value.toFixed(decimals));
}
