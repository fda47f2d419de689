import { Status } from "../protocol.js";

/** @import { Hold } from "../protocol.js" */
/** @import { Api, Refused } from "../net/api.js" */
/** @import { SeatStore } from "./store.js" */

/**
 * What this person picks. Each pick goes to the server at once, one after the other in the order in which they were
 * made; until its answer is there, the seat is pending. It knows no DOM.
 *
 * @typedef {"hold" | "release"} Pending
 * @typedef {object} Listeners
 * @property {(codes: string[]) => void} onPending  these seats are pending, or no longer
 * @property {(codes: string[], hold: Hold) => void} onHeld
 * @property {(codes: string[]) => void} onReleased
 * @property {(refused: Refused, codes: string[]) => void} onRefused  nothing of it was done
 */
export class Selection {
  #store;
  #api;
  #listeners;
  /** @type {Map<string, Pending>} the last wish for each seat that waits for its answer */
  #pending = new Map();
  /** @type {Map<string, symbol>} which answer that is */
  #last = new Map();
  /** @type {Promise<void>} */
  #queue = Promise.resolve();
  #waiting = 0;

  /** @param {{ store: SeatStore, api: Api } & Listeners} options */
  constructor({ store, api, ...listeners }) {
    this.#store = store;
    this.#api = api;
    this.#listeners = listeners;
  }

  /** @returns {boolean} whether an answer is awaited */
  get busy() {
    return this.#waiting > 0;
  }

  /** @returns {Promise<void>} when everything that was picked so far is answered */
  settled() {
    return this.#queue;
  }

  /** @param {string} code @returns {Pending | undefined} */
  pending(code) {
    return this.#pending.get(code);
  }

  /** Take a seat, or let it go. @param {string} code */
  toggle(code) {
    const wish = this.#pending.get(code);
    const mine = wish ? wish === "hold" : this.#store.status(code) === Status.SELECTED;
    return mine ? this.release([code]) : this.hold([code]);
  }

  /** @param {string[]} codes */
  hold(codes) {
    return this.#enqueue(codes, "hold", async () => {
      const hold = await this.#api.hold(codes);
      this.#store.learnHold(hold, hold.server_time);
      this.#listeners.onHeld(codes, hold);
    });
  }

  /** Hold so many of the best seats together. @param {number} quantity */
  holdBest(quantity) {
    return this.#enqueue([], "hold", async () => {
      const before = this.#store.hold?.seats ?? [];
      const hold = await this.#api.holdBest(quantity);
      this.#store.learnHold(hold, hold.server_time);
      this.#listeners.onHeld(hold.seats.filter((code) => !before.includes(code)), hold);
    });
  }

  /** @param {string[]} codes */
  release(codes) {
    return this.#enqueue(codes, "release", () => this.#letGo(codes));
  }

  /** Let all seats go. */
  releaseAll() {
    return this.#enqueue(this.#store.hold?.seats ?? [], "release", () => this.#letGo());
  }

  /** @param {string[]} [codes] */
  async #letGo(codes) {
    const since = this.#store.version;
    const answer = await this.#api.release(codes);
    this.#store.learnHold(answer.hold, answer.server_time);
    this.#store.released(answer.released, since);
    this.#listeners.onReleased(answer.released);
  }

  /**
   * @param {string[]} codes
   * @param {Pending} wish
   * @param {() => Promise<void>} work
   * @returns {Promise<void>} never fails: who is interested listens
   */
  #enqueue(codes, wish, work) {
    for (const code of codes) this.#pending.set(code, wish);
    this.#waiting += 1;
    this.#listeners.onPending(codes);
    // The last wish for a seat stays visible until its own answer, whatever earlier ones are answered first.
    const token = Symbol(wish);
    for (const code of codes) this.#last.set(code, token);
    this.#queue = this.#queue.then(async () => {
      try {
        await work();
      } catch (error) {
        this.#settle(codes, token);
        this.#listeners.onRefused(/** @type {Refused} */ (error), codes);
        return;
      }
      this.#settle(codes, token);
    });
    return this.#queue;
  }

  /** @param {string[]} codes @param {symbol} token */
  #settle(codes, token) {
    this.#waiting -= 1;
    for (const code of codes) {
      if (this.#last.get(code) === token) {
        this.#last.delete(code);
        this.#pending.delete(code);
      }
    }
    this.#listeners.onPending(codes);
  }
}
