/*
 * While a booking waits for its payment, its page asks every few seconds whether it still does, and shows the news at
 * once. Without this script there is a link to look again: a page that reloads by itself would interrupt
 * whoever has it read out.
 */

const EVERY_MS = 3_000;
const page = /** @type {HTMLElement} */ (document.querySelector("[data-booking]"));

async function look() {
  try {
    const answer = await fetch(`/api/v1/bookings/${page.dataset.booking}`, { cache: "no-store" });
    if (answer.ok) {
      const booking = await answer.json();
      if (booking.status !== page.dataset.status) {
        location.reload();
        return;
      }
    }
  } catch {
    // Offline for a moment: the next time will tell.
  }
  setTimeout(look, EVERY_MS);
}

setTimeout(look, EVERY_MS);
