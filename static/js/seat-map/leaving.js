/**
 * Whoever leaves the map lets go of their seats: the page says goodbye on its way out, and the server lets go some
 * seconds later unless it sees the person again. Going on to the checkout or to sign in is no leaving; nor is another
 * tab in front, or a phone in the pocket.
 */

const GOES_ON = /^\/(checkout|accounts)\//;
// A link that was followed leads away within this time, or it was opened elsewhere.
const ON_THE_WAY_MS = 15_000;

/**
 * @param {object} options
 * @param {string} options.address       where the goodbye goes
 * @param {string} options.visitedAt     when this page was opened, by the server's clock
 * @param {() => string} options.csrf    the token as it is now
 * @param {() => boolean} options.holds  whether there is anything to let go of
 * @param {() => void} options.onLeave   the page ends, or is put aside
 * @param {() => Promise<string | null>} options.onReturn  it was put aside and is back; resolves to the server's time
 */
export function sayGoodbye({ address, visitedAt, csrf, holds, onLeave, onReturn }) {
  let wentOnAt = -Infinity;
  let openedAt = visitedAt;

  document.addEventListener("click", (event) => {
    const link = /** @type {Element} */ (event.target).closest("a[href]");
    if (link && GOES_ON.test(/** @type {HTMLAnchorElement} */ (link).pathname)) wentOnAt = performance.now();
  });
  addEventListener("pagehide", () => {
    onLeave();
    if (!holds() || performance.now() - wentOnAt < ON_THE_WAY_MS) return;
    const words = new FormData();
    words.set("csrfmiddlewaretoken", csrf());
    words.set("visited_at", openedAt);
    navigator.sendBeacon(address, words);
  });
  addEventListener("pageshow", async (event) => {
    if (!event.persisted) return;
    wentOnAt = -Infinity;
    openedAt = (await onReturn()) ?? openedAt;
  });
}
