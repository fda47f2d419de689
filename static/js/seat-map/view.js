import { Status } from "../protocol.js";
import { byId } from "../words.js";
import { Walk } from "./walk.js";

/** @import { Words } from "../words.js" */
/** @import { Selection } from "./selection.js" */
/** @import { SeatStore } from "./store.js" */

// A finger hits nothing that is smaller: the first touch brings such a seat near, the second picks it.
const SMALLEST_TARGET_PX = 24;

/**
 * The map: shows how each seat stands, and says which one the person means, by mouse, finger or keys. With the keys the
 * whole map is one stop of Tab; arrows walk through the room, Home and End go to the ends of the row.
 */
export class SeatMapView {
  #map;
  #store;
  #selection;
  #words;
  #onPick;
  #onZoom;
  /** @type {Map<string, { seat: HTMLElement, place: HTMLButtonElement }>} */
  #seats = new Map();
  /** @type {Map<string, { name: string, price: string }>} */
  #categories = new Map();
  #walk;
  #current;
  #pointer = "";
  #free = byId("seats-free");
  #viewers = byId("viewers");

  /**
   * @param {object} options
   * @param {HTMLElement} options.map
   * @param {SeatStore} options.store
   * @param {Selection} options.selection
   * @param {Words} options.words
   * @param {(code: string) => void} options.onPick
   * @param {() => void} options.onZoom  a seat was brought near instead
   */
  constructor({ map, store, selection, words, onPick, onZoom }) {
    this.#map = map;
    this.#store = store;
    this.#selection = selection;
    this.#words = words;
    this.#onPick = onPick;
    this.#onZoom = onZoom;
    for (const line of /** @type {NodeListOf<HTMLElement>} */ (byId("prices").querySelectorAll("[data-category]"))) {
      const { category, name, price } = line.dataset;
      if (name) this.#categories.set(category, { name, price });
    }
    const rows = [...map.querySelectorAll(".seat-row")].map((row) => [...row.querySelectorAll(".seat")]);
    for (const seat of /** @type {HTMLElement[]} */ (rows.flat())) {
      const place = /** @type {HTMLButtonElement} */ (seat.querySelector(".place"));
      this.#seats.set(place.value, { seat, place });
      place.tabIndex = -1;
    }
    this.#walk = new Walk(
      rows.map((row) => row.map((seat) => ({ code: seat.querySelector("button").value, x: seat.offsetLeft }))),
    );
    this.#current = this.#first();
    if (this.#current) this.#seats.get(this.#current).place.tabIndex = 0;
    // One stop of Tab is enough: the seats scroll the map.
    map.closest("[tabindex]")?.removeAttribute("tabindex");
    map.addEventListener("pointerdown", (event) => (this.#pointer = event.pointerType));
    map.addEventListener("click", (event) => this.#click(event));
    map.addEventListener("keydown", (event) => this.#key(event));
    map.addEventListener("focusin", (event) => this.#focused(event));
    map.addEventListener("animationend", ({ target }) => {
      /** @type {HTMLElement} */ (target).closest(".seat")?.removeAttribute("data-turned");
    });
  }

  /** How the seats stand, as the page was sent. @returns {Record<string, string>} */
  read() {
    return Object.fromEntries([...this.#seats].map(([code, { seat }]) => [code, seat.dataset.status]));
  }

  /** Show how these seats stand. @param {Iterable<string>} codes */
  render(codes) {
    for (const code of codes) this.#renderSeat(code);
    const count = this.#store.available;
    const text = this.#words.say(count === 1 ? "seat-free" : "seats-free", { count });
    if (this.#free.textContent.trim() !== text) this.#free.textContent = text;
    this.#free.hidden = this.#store.cancelled;
  }

  /** Say how many people look on; being the only one is no news. @param {number} count */
  countViewers(count) {
    this.#viewers.textContent = count < 2 ? "" : this.#words.say("viewers", { count });
  }

  /** Put the keyboard's focus on a seat. @param {string} code */
  focus(code) {
    this.#seats.get(code)?.place.focus();
  }

  /** Bring seats into sight. @param {string[]} codes */
  reveal(codes) {
    const seat = this.#seats.get(codes[Math.floor((codes.length - 1) / 2)])?.seat;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    seat?.scrollIntoView({ block: "nearest", inline: "center", behavior: calm ? "auto" : "smooth" });
  }

  #renderSeat(code) {
    const found = this.#seats.get(code);
    const category = this.#categories.get(found?.seat.dataset.category);
    // A category without a price is not sold, however its seats stand.
    if (!found || !category) return;
    const { seat, place } = found;
    const status = this.#store.status(code);
    const pending = this.#selection.pending(code);
    // What is pending shows beside how the seat stands: nothing is called selected before the server has said so.
    const before = seat.dataset.status;
    if (status !== before) {
      // What others do is shown softly; what oneself does, at once.
      seat.toggleAttribute("data-turned", !pending && ![before, status].includes(Status.SELECTED));
      seat.dataset.status = status;
    }
    if (pending) seat.dataset.pending = pending;
    else delete seat.dataset.pending;
    place.ariaBusy = pending ? "true" : null;
    const mine = status === Status.SELECTED;
    const closed = "closed" in this.#map.dataset;
    place.ariaPressed = mine ? "true" : status === Status.AVAILABLE && !closed ? "false" : null;
    // What others have can be pressed, too: the answer says so, and offers what is near.
    place.ariaDisabled = closed && !mine ? "true" : null;
    const said = pending === "hold" ? "being-held" : pending === "release" ? "being-released" : status;
    const name = this.#words.say("name", {
      code,
      sort: this.sort(code),
      price: category.price,
      status: this.#words.say(said),
    });
    if (place.ariaLabel !== name) place.ariaLabel = name;
  }

  /** @param {string} code @returns {string} what sort of place it is */
  sort(code) {
    const { kind, category } = this.#seats.get(code).seat.dataset;
    const words = this.#words.say(kind);
    return words === kind ? this.#categories.get(category).name : words;
  }

  /** @param {string} code @returns {string} what it costs */
  price(code) {
    return this.#categories.get(this.#seats.get(code).seat.dataset.category).price;
  }

  #first() {
    const codes = [...this.#seats.keys()];
    const shows = (status) => codes.find((code) => this.#seats.get(code).seat.dataset.status === status);
    return shows(Status.SELECTED) ?? shows(Status.AVAILABLE) ?? codes[0];
  }

  /** @param {Event} event @returns {HTMLButtonElement | null} */
  #place(event) {
    return /** @type {Element} */ (event.target).closest("button.place");
  }

  #click(event) {
    const place = this.#place(event);
    if (!place) return;
    event.preventDefault();
    // A key's click has no detail, and a key's user has found the seat by its name.
    const byTouch = event.detail > 0 && this.#pointer === "touch";
    if (byTouch && place.parentElement.offsetWidth < SMALLEST_TARGET_PX) {
      this.#zoomTo(place);
      return;
    }
    place.focus();
    this.#onPick(place.value);
  }

  #zoomTo(place) {
    /** @type {HTMLInputElement} */ (byId("zoom-close")).checked = true;
    place.scrollIntoView({ block: "center", inline: "center" });
    place.focus({ preventScroll: true });
    this.#onZoom();
  }

  #key(event) {
    const place = this.#place(event);
    if (!place || event.altKey || event.metaKey || event.shiftKey) return;
    const next = this.#walk.step(place.value, event.key, event.ctrlKey);
    if (!next) return;
    event.preventDefault();
    this.focus(next);
  }

  #focused(event) {
    const place = this.#place(event);
    if (!place || place.value === this.#current) return;
    this.#seats.get(this.#current).place.tabIndex = -1;
    this.#current = place.value;
    place.tabIndex = 0;
  }
}
