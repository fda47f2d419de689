import { byId } from "../words.js";

/** @import { Hold } from "../protocol.js" */
/** @import { Words } from "../words.js" */
/** @import { SeatMapView } from "./view.js" */

// From here on the clock is drawn as a warning, in ms.
const SHORT = 120_000;

/** The links that lead on, by their ids. */
export const CHECKOUTS = ["checkout", "bar-checkout", "warning-checkout"];

/** “Your seats”: what is held, what it costs, how long it lasts; in the panel, and in short in the bar of a phone. */
export class ChoicePanel {
  #words;
  #view;
  #seats = byId("chosen-seats");
  /** @type {HTMLTemplateElement} */
  #line = byId("chosen-seat");
  /** Whether no seats can be had. */
  closed = false;

  /** @param {{ words: Words, view: SeatMapView }} options */
  constructor({ words, view }) {
    this.#words = words;
    this.#view = view;
  }

  /** Show what is held. @param {Hold | null} hold */
  render(hold) {
    const codes = hold?.seats ?? [];
    byId("choice").dataset.state = hold ? (hold.paying ? "paying" : "held") : "none";
    this.#renderSeats(codes);
    byId("choice-none").hidden = Boolean(hold);
    byId("choice-none").textContent = this.#words.say(this.closed ? "none-held" : "pick-or-find");
    byId("chosen").hidden = !hold;
    const total = hold ? this.#words.money(hold.total) : "";
    byId("total").textContent = total;
    byId("bar-seats").textContent = hold ? this.#words.together(codes) : this.#words.say(this.closed ? "your-seats" : "pick");
    byId("bar-total").textContent = hold || this.closed ? total : this.#words.say("pick-more");
    byId("time-paying").hidden = !hold?.paying;
    byId("time-held").hidden = !hold || hold.paying;
    byId("release-all").hidden = !hold || hold.paying;
    for (const id of CHECKOUTS) {
      if (hold) byId(id).setAttribute("href", `/checkout/${hold.hold_id}/`);
      else byId(id).removeAttribute("href");
    }
    byId("bar-checkout").hidden = !hold;
    const until = byId("held-until");
    until.textContent = hold ? this.#words.time(hold.expires_at) : "";
    if (hold) until.setAttribute("datetime", hold.expires_at);
    if (!hold || hold.paying) this.tick(null);
  }

  /** Show the time that is left. @param {number | null} ms  null for no clock */
  tick(ms) {
    const clock = byId("clock");
    const time = ms === null ? "" : this.#words.left(ms);
    clock.hidden = ms === null;
    clock.textContent = byId("warning-clock").textContent = time;
    byId("bar-clock").textContent = time && this.#words.say("left", { time });
    const short = String(ms !== null && ms <= SHORT);
    clock.dataset.short = short;
    byId("bar-clock").dataset.short = short;
  }

  /** @param {string[]} codes */
  #renderSeats(codes) {
    const lines = new Map([...this.#seats.children].map((line) => [/** @type {HTMLElement} */ (line).dataset.seat, line]));
    const focused = [...lines].find(([, line]) => line.contains(document.activeElement))?.[0];
    const wanted = codes.map((code) => lines.get(code) ?? this.#make(code));
    if (wanted.length !== lines.size || wanted.some((line, place) => this.#seats.children[place] !== line)) {
      this.#seats.replaceChildren(...wanted);
    }
    if (!focused) return;
    // The focus goes on where it was: to the same line, the one that has come in its place, or the panel.
    const place = Math.min([...lines.keys()].indexOf(focused), codes.length - 1);
    const line = codes.includes(focused) ? lines.get(focused) : wanted[place];
    (line?.querySelector("button") ?? byId("choice")).focus();
  }

  /** @param {string} code @returns {Element} */
  #make(code) {
    const line = /** @type {HTMLElement} */ (this.#line.content.firstElementChild.cloneNode(true));
    line.dataset.seat = code;
    line.querySelector(".chosen-code").textContent = code;
    line.querySelector(".chosen-sort").textContent = this.#view.sort(code);
    line.querySelector(".chosen-price").textContent = this.#view.price(code);
    const button = line.querySelector("button");
    button.value = code;
    button.ariaLabel = this.#words.say("release", { code });
    return line;
  }
}
