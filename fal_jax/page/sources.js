/** Where photos come from: dropped, chosen, pasted. The camera is in camera.js. */

/**
 * Calls `open(file)` for every file that the user drops, chooses or pastes: one after another where
 * there are several, the last stays.
 *
 * @param {object} elements {chooser: an <input type=file>, buttons that open it, page: whole page}.
 * @param {(file: File) => Promise<void>} open
 * @param {(error: Error) => void} fail with a sentence where nothing usable was dropped.
 */
export function listen({ chooser, buttons, page }, open, fail) {
  const openAll = async (files) => {
    for (const file of files) await open(file);
  };

  for (const button of buttons) button.addEventListener("click", () => chooser.click());
  chooser.addEventListener("change", () => {
    const files = [...chooser.files];
    chooser.value = ""; // so that the same file can be chosen again
    openAll(files);
  });

  page.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) {
      event.preventDefault();
      openAll(files);
    } else if (!isField(event.target)) {
      fail(new Error("The clipboard holds no image: copy a picture, then paste again."));
    }
  });

  let inside = 0; // drags enter every element on their way
  const mark = (change) => {
    inside = change ? Math.max(inside + change, 0) : 0;
    page.documentElement.classList.toggle("dropping", inside > 0);
  };
  page.addEventListener("dragenter", (event) => {
    event.preventDefault();
    mark(1);
  });
  page.addEventListener("dragleave", () => mark(-1));
  page.addEventListener("dragover", (event) => event.preventDefault());
  page.addEventListener("drop", (event) => {
    event.preventDefault(); // or the browser would leave this page for the photo
    mark(0);
    const files = [...event.dataTransfer.files];
    if (files.length) openAll(files);
    else fail(new Error("What was dropped is not a file: save the picture, then drop that."));
  });
}

function isField(element) {
  return element.matches?.("input, select, textarea");
}
