/** Work that is asked for faster than it is done. */

/**
 * Wraps work that must not overlap: while it runs, further calls ask for one more run, not many.
 *
 * A box that is dragged asks at every move; the computer answers for the newest box only.
 *
 * @param {() => Promise<void>} work handles its own errors.
 * @returns {() => Promise<void>} resolves when nothing is left to do.
 */
export function oneAtATime(work) {
  let running = null;
  let again = false;

  async function run() {
    while (again) {
      again = false;
      await work();
    }
    running = null;
  }

  return () => {
    again = true;
    running ??= run();
    return running;
  };
}
