import { TAKEN } from "../protocol.js";
import { byId } from "../words.js";

/** @import { Refused } from "../net/api.js" */
/** @import { Words } from "../words.js" */

/** What the page tells the person: in passing to a screen reader, as a notice, or as an offer that asks for an answer. */
export class Notices {
  #words;
  #describe;
  #onTake;
  #onKeep;
  #onDone;
  /** @type {HTMLDialogElement} */
  #offer = byId("offer");
  /** @type {HTMLDialogElement} */
  #warning = byId("warning");
  /** @type {HTMLElement | null} where the focus was before it went into the warning */
  #cameFrom = null;
  /** @type {string[]} */
  #lapsed = [];
  #asked = "";

  /**
   * @param {object} options
   * @param {Words} options.words
   * @param {(codes: string[]) => string} options.describe  what sort of seats they are, and what they cost
   * @param {(codes: string[]) => void} options.onTake  the person wants these seats
   * @param {() => void} options.onKeep                 the person wants more time
   * @param {(code: string) => void} options.onDone     an offer about this seat was closed
   */
  constructor({ words, describe, onTake, onKeep, onDone }) {
    this.#words = words;
    this.#describe = describe;
    this.#onTake = onTake;
    this.#onKeep = onKeep;
    this.#onDone = onDone;
    byId("toast-close").addEventListener("click", () => this.clear());
    byId("lapsed-close").addEventListener("click", () => (byId("lapsed").hidden = true));
    byId("keep").addEventListener("click", () => this.#onKeep());
    byId("warning-close").addEventListener("click", () => this.calm());
    this.#warning.addEventListener("focusin", ({ relatedTarget }) => {
      const from = /** @type {HTMLElement | null} */ (relatedTarget);
      if (from && !this.#warning.contains(from)) this.#cameFrom = from;
    });
    this.#warning.addEventListener("close", () => {
      // A dialog gives the focus back only if it took it, and as it was then.
      if (document.activeElement === document.body) this.#cameFrom?.focus();
      this.#cameFrom = null;
    });
    byId("take-again").addEventListener("click", () => this.#onTake(this.#lapsed));
    byId("offer-close").addEventListener("click", () => this.#offer.close());
    this.#offer.addEventListener("close", () => this.#onDone(this.#asked));
    // A click beside it closes it.
    this.#offer.addEventListener("click", (event) => event.target === this.#offer && this.#offer.close());
  }

  /** Tell a screen reader. @param {string} text */
  announce(text) {
    byId("announcer").textContent = text;
  }

  /** Show a notice until it is dismissed or something succeeds. @param {string} text */
  toast(text) {
    byId("toast").hidden = false;
    byId("toast-words").textContent = text;
  }

  /** Take the notice away. */
  clear() {
    byId("toast").hidden = true;
    byId("toast-words").textContent = "";
  }

  /** The cinema is reached again: whoever was told that it is not need not be told any longer. */
  reached() {
    if (byId("toast-words").textContent === this.#words.say("unreachable")) this.clear();
  }

  /** Say why nothing was done; offer other seats, where there are some. @param {Refused} refused @param {string[]} codes */
  refuse(refused, codes) {
    const detail = refused.detail || this.#words.say("unreachable");
    if (!TAKEN.has(refused.code) || codes.length === 0 || this.#offer.open) {
      this.toast(detail);
      return;
    }
    const named = Object.keys(refused.seats);
    const taken = named.length > 0 ? named : codes;
    this.#asked = codes[0];
    byId("offer-title").textContent = this.#words.say(taken.length > 1 ? "taken-many" : "taken", {
      seats: this.#words.together(taken),
    });
    // The title has named the seats.
    const why = detail.replace(/^[A-Z0-9, ]+: /, "");
    byId("offer-words").textContent = refused.alternatives.length > 0 ? why : `${why} ${this.#words.say("none-near")}`;
    byId("offer-seats").replaceChildren(
      ...refused.alternatives.map((group, place) => this.#button(group, place === 0 ? "button" : "button button-quiet")),
    );
    this.#offer.showModal();
  }

  /** @returns {boolean} whether the person is warned that the time runs out */
  get warns() {
    return this.#warning.open;
  }

  /** @returns {boolean} whether they must say whether to keep their seats before they do anything else */
  get asks() {
    return this.#warning.matches(":modal");
  }

  /**
   * Warn that the time runs out: beside the map, or as a question in front of it.
   * @param {string} text  the whole of it, for who does not see the clock
   * @param {object} how
   * @param {string} how.beside       what stands beside the clock
   * @param {boolean} how.extensible  there can be more time
   * @param {boolean} how.urgent      it is a question
   * @returns {boolean} false if it has to wait, for an offer is open
   */
  warn(text, { beside, extensible, urgent }) {
    if (this.#offer.open) return false;
    this.#warning.ariaLabel = text;
    byId("warning-words").textContent = beside;
    byId("keep").hidden = !extensible;
    byId("warning-checkout").hidden = extensible;
    if (urgent) {
      this.#warning.close();
      this.#warning.showModal();
      return true;
    }
    // What is no question any more stands in nobody's way.
    if (this.asks) this.#warning.close();
    // `show()` would take the focus away from whatever the person is about to do.
    this.#warning.open = true;
    this.announce(text);
    return true;
  }

  /** There is time again, or nothing left to warn of. */
  calm() {
    this.#warning.close();
  }

  /** Say that the time of a hold has run out. @param {string[]} codes @param {string[]} free  those not sold since */
  lapse(codes, free) {
    this.#lapsed = free;
    const text = this.#words.say(free.length > 0 ? "lapsed" : "lapsed-taken", { seats: this.#words.together(codes) });
    byId("lapsed").hidden = false;
    byId("lapsed-words").textContent = text;
    byId("take-again").hidden = free.length === 0;
    byId("take-again").textContent = this.#words.say("take-again", { seats: this.#words.together(free) });
    this.announce(text);
  }

  /** The person has seats again. */
  forgive() {
    byId("lapsed").hidden = true;
  }

  /** @param {string[]} group @param {string} looks */
  #button(group, looks) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = looks;
    const price = document.createElement("span");
    price.textContent = this.#describe(group);
    button.append(this.#words.say("take-instead", { seats: this.#words.together(group) }), " ", price);
    button.addEventListener("click", () => {
      this.#asked = group[0];
      this.#offer.close();
      this.#onTake(group);
    });
    return button;
  }
}
