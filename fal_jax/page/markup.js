/** The parts of a face that landmarks belong to, by their names, and how these are spelt out. */

// As fal_jax/landmarks.py has them. The first word that a name contains decides.
const REGION_OF_WORD = {
  brow: "brows",
  eye: "eyes",
  pupil: "eyes",
  jaw: "jaw",
  chin: "jaw",
  nose: "nose",
  nostril: "nose",
  lip: "mouth",
  mouth: "mouth",
};

// On photographs, with a dark rim: told apart under the common colour blindnesses, and no colours
// of skin, lips or hair. The same in light and dark mode, because the photo is.
export const REGION_COLOURS = {
  jaw: "#5cc4ff",
  brows: "#ffa033",
  eyes: "#45f0b5",
  nose: "#fff060",
  mouth: "#ff6fce",
  other: "#ffffff",
};

/** The part of the face that a landmark's name says. */
export function region(name) {
  const word = Object.keys(REGION_OF_WORD).find((candidate) => name.includes(candidate));
  return word ? REGION_OF_WORD[word] : "other";
}

/** The regions that a mark-up has, in the order of its landmarks. */
export function regions(names) {
  return [...new Set(names.map(region))];
}

/** "left_eye_top_outer" as words. */
export function words(name) {
  return name.replaceAll("_", " ");
}

/** The colour of a line between two landmarks: that of the first. */
export function edgeColour(names, [a]) {
  return REGION_COLOURS[region(names[a])];
}
