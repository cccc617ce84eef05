// Asks the computer behind a page all that it can be asked about one photo; for evaluate().
async ({ content, boxes, landmark }) => {
  const page = await (await fetch("./page.json")).json();
  globalThis.computer ??= await (await import(`./${page.computer}.js`)).open(page);
  const { computer } = globalThis;
  const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
  let photo;
  try {
    photo = await computer.add(new Blob([bytes]));
  } catch (error) {
    return { error: error.message };
  }
  const found = computer.detects ? await computer.detect(photo) : [];
  const asked = boxes ?? found.map(({ box }) => box);
  const faces = await computer.align(photo, asked);
  const heat = await computer.heatmap(photo, asked[0], landmark);
  const { width, height, scale, image } = photo;
  return {
    size: [width, height],
    shown: [image.width, image.height],
    scale,
    found,
    faces,
    heat: { ...heat, values: Array.from(heat.values) },
  };
}
