import { Api } from "../net/api.js";
import { Countdown } from "../seat-map/countdown.js";

/** @import { Hold } from "../protocol.js" */

/*
 * The checkout without this script has the time at which the hold ends. With it, the time runs down in sight, the seats
 * stay held while somebody types, as far as the house allows, and what becomes of them elsewhere is seen here.
 */

const LOOK_EVERY_MS = 10_000;

const clock = /** @type {HTMLElement} */ (document.querySelector("[data-countdown]"));
const left = /** @type {HTMLElement} */ (clock.querySelector("[data-countdown-left]"));
const said = /** @type {HTMLElement} */ (clock.querySelector("[data-countdown-said]"));
const form = /** @type {HTMLFormElement} */ (document.querySelector("[data-checkout]"));
const csrf = /** @type {HTMLInputElement} */ (form.elements.namedItem("csrfmiddlewaretoken"));

/** @type {Hold} */
const hold = JSON.parse(clock.dataset.hold ?? "{}");
let sent = false;
const api = new Api({ showtimeId: hold.showtime_id, csrf: () => csrf.value });

/** @param {number} ms @returns {string} such as 14:05 */
function shown(ms) {
  const seconds = Math.ceil(ms / 1_000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

const countdown = new Countdown({
  holdSeconds: Number(clock.dataset.holdSeconds),
  onTick(ms) {
    left.textContent = shown(ms);
  },
  onWarning(seconds) {
    clock.dataset.urgent = "";
    said.textContent = (clock.dataset.warning ?? "").replace("%s", shown(seconds * 1_000));
  },
  // The server has a page for that, with the way back to the seats.
  onEnd: () => location.reload(),
  extend: () => void extend(),
});

async function extend() {
  try {
    follow(await api.extend());
  } catch {
    // The time that is left stays as it is, and the server has the last word when the form is sent.
  }
}

/** Another tab may change or buy the seats, and the house may take them back: the server has the page for that. */
async function look() {
  try {
    const snapshot = await api.status();
    if (snapshot && !isShown(snapshot.hold) && !sent) {
      location.reload();
      return;
    }
  } catch {
    // Offline for a moment: the next time will tell.
  }
  if (!sent) setTimeout(look, LOOK_EVERY_MS);
}

/** @param {Hold | null} current @returns {boolean} whether that is what this page sells */
function isShown(current) {
  return current?.hold_id === hold.hold_id && !current.paying && current.seats.join() === hold.seats.join();
}

/** @param {Hold} current */
function follow(current) {
  delete clock.dataset.urgent;
  countdown.follow(current);
}

clock.querySelector("[data-countdown-until]")?.setAttribute("hidden", "");
clock.querySelector("[data-countdown-words]")?.removeAttribute("hidden");
follow(hold);
setTimeout(look, LOOK_EVERY_MS);
for (const sign of ["input", "pointerdown", "keydown"]) {
  addEventListener(sign, () => countdown.active(), { passive: true });
}
// A page that comes back out of the browser's memory may be long over.
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

// Sent once: the server does not mind twice, but the person should see that it is on its way.
form.addEventListener("submit", () => {
  sent = true;
  const button = /** @type {HTMLButtonElement} */ (form.querySelector("button[type=submit]"));
  button.setAttribute("aria-disabled", "true");
  button.textContent = form.dataset.sending ?? "";
});
document.getElementById("error")?.focus();
