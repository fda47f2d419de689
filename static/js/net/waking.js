/**
 * Whether the page has slept: behind other tabs, without a network, or with the whole machine, of which nothing tells but
 * a clock that has jumped.
 */

const LOOK_EVERY_MS = 5_000;
const ASLEEP_MS = 15_000;

/**
 * Call back whenever the page may have slept and is looked at again, and when the network comes or goes.
 * @param {() => void} onWake
 * @param {object} [world]
 * @param {Pick<Document, "addEventListener" | "visibilityState">} [world.page]
 * @param {Pick<Window, "addEventListener">} [world.window]
 * @param {() => number} [world.now]  a clock that goes on while the machine sleeps, in ms
 */
export function watchForWaking(onWake, { page = document, window = globalThis.window, now = Date.now } = {}) {
  let lookedAt = now();
  // Timers of a hidden page are put off as well; it is looked at again when it is shown.
  const wake = () => page.visibilityState === "visible" && onWake();

  page.addEventListener("visibilitychange", wake);
  window.addEventListener("online", wake);
  // Without a network no line says that it is dead, and its silence would be noticed much later.
  window.addEventListener("offline", wake);
  setInterval(() => {
    const slept = now() - lookedAt > ASLEEP_MS;
    lookedAt = now();
    if (slept) wake();
  }, LOOK_EVERY_MS);
}
