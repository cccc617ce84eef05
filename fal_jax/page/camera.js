/** A picture from the camera, in a dialog with a live preview. */

const SENTENCES = {
  NotAllowedError:
    "The camera was not allowed: allow it in the browser's settings, or choose a file.",
  NotFoundError: "No camera was found: connect one, or choose a file.",
  NotReadableError: "The camera is in use by another program: close that, or choose a file.",
};

export class Camera {
  #dialog;
  #video;
  #take;
  #fail;
  #opened = 0;

  /**
   * @param {HTMLDialogElement} dialog with a video and buttons.
   * @param {(file: File) => void} open is given the picture.
   * @param {(error: Error) => void} fail is given a sentence.
   */
  constructor(dialog, open, fail) {
    this.#dialog = dialog;
    this.#video = dialog.querySelector("video");
    this.#take = dialog.querySelector("#take-picture");
    this.#fail = fail;
    this.#take.addEventListener("click", async () => {
      const file = await this.#picture();
      dialog.close();
      open(file);
    });
    dialog.querySelector("#cancel-camera").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => this.#stop());
  }

  /** Shows the preview; says why where there is none. */
  async start() {
    if (!navigator.mediaDevices?.getUserMedia) {
      const sentence = "Browsers offer the camera on https and localhost only: choose a file.";
      this.#fail(new Error(sentence));
      return;
    }
    const turn = ++this.#opened;
    this.#take.disabled = true;
    this.#dialog.showModal();
    try {
      const video = { facingMode: "user", width: { ideal: 1920 }, height: { ideal: 1080 } };
      const stream = await navigator.mediaDevices.getUserMedia({ video });
      if (!this.#dialog.open || turn !== this.#opened) {
        // Closed while the browser was asking.
        for (const track of stream.getTracks()) track.stop();
        return;
      }
      this.#video.srcObject = stream;
      await this.#video.play();
      this.#take.disabled = false;
      this.#take.focus();
    } catch (error) {
      const wasOpen = this.#dialog.open;
      this.#dialog.close();
      const sentence = SENTENCES[error.name] ?? `The camera does not work: ${error.message}`;
      if (wasOpen) this.#fail(new Error(sentence));
    }
  }

  #stop() {
    for (const track of this.#video.srcObject?.getTracks() ?? []) track.stop();
    this.#video.srcObject = null;
  }

  /** The video's present frame, not mirrored: the preview alone is, as in a mirror. */
  async #picture() {
    const { videoWidth: width, videoHeight: height } = this.#video;
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext("2d").drawImage(this.#video, 0, 0);
    const blob = await canvas.convertToBlob({ type: "image/png" });
    const time = new Date().toISOString().slice(0, 19).replaceAll(/[-:]/g, "").replace("T", "_");
    return new File([blob], `camera_${time}.png`, { type: "image/png" });
  }
}
