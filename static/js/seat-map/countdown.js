import { microseconds } from "./store.js";

/** @import { Hold } from "../protocol.js" */

/** When the person is warned, in seconds before the end. */
export const WARNINGS = [120, 30];
const EXTEND_EVERY_MS = 60_000;
// An extension that gains less is not worth a request.
const LEAST_GAIN_MS = 5_000;

/**
 * The time that is left for a hold. The server says how long; how much of it has gone, a clock of this browser that
 * nobody can set. It knows no DOM.
 */
export class Countdown {
  #now;
  #lengthMs;
  #onTick;
  #onWarning;
  #onEnd;
  #extend;
  /** @type {Hold | null} */
  #hold = null;
  #endsAt = 0;
  #capAt = 0;
  #renewedAt = 0;
  /** @type {number | null} */
  #warned = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {object} options
   * @param {number} options.holdSeconds  how long an extension makes a hold live
   * @param {(ms: number) => void} options.onTick  about once a second, and whenever it changes
   * @param {(seconds: number) => void} options.onWarning  one of `WARNINGS` was passed; once each
   * @param {(hold: Hold) => void} options.onEnd
   * @param {() => void} options.extend  ask the server for more time
   * @param {() => number} [options.now]  a monotonic clock, in ms
   */
  constructor({ holdSeconds, onTick, onWarning, onEnd, extend, now = () => performance.now() }) {
    this.#lengthMs = holdSeconds * 1_000;
    this.#onTick = onTick;
    this.#onWarning = onWarning;
    this.#onEnd = onEnd;
    this.#extend = extend;
    this.#now = now;
  }

  /** @returns {number} ms that are left; 0 without a hold */
  get left() {
    return this.#hold ? Math.max(0, this.#endsAt - this.#now()) : 0;
  }

  /** @returns {number} ms that an extension would gain */
  get gain() {
    if (!this.#hold || this.#hold.paying) return 0;
    return Math.max(0, Math.min(this.#now() + this.#lengthMs, this.#capAt) - this.#endsAt);
  }

  /** @returns {boolean} whether an extension is worth a request */
  get extensible() {
    return this.gain >= Math.min(LEAST_GAIN_MS, this.#lengthMs / 2);
  }

  /** @returns {boolean} whether no extension can make it live longer */
  get capped() {
    return this.#endsAt >= this.#capAt - 1_000;
  }

  /** Count for this hold; for none, stop. The hold was heard of just now. @param {Hold | null} hold */
  follow(hold) {
    if (hold === this.#hold) return;
    this.#hold = hold;
    clearTimeout(this.#timer);
    if (!hold) return;
    const now = this.#now();
    const serverNow = microseconds(hold.server_time);
    this.#endsAt = now + Number(microseconds(hold.expires_at) - serverNow) / 1_000;
    this.#capAt = now + Number(microseconds(hold.max_expires_at) - serverNow) / 1_000;
    this.#renewedAt = now;
    // More time takes a warning back, so that it is given again when that time runs out, too.
    if (this.#warned !== null && this.left > this.#warned * 1_000) this.#warned = null;
    this.#step();
  }

  /** The person does something. While they do, their seats stay theirs, as far as the house allows. */
  active() {
    if (!this.#hold || this.#now() - this.#renewedAt < EXTEND_EVERY_MS || !this.extensible) return;
    this.#renewedAt = this.#now();
    this.#extend();
  }

  #step() {
    const hold = this.#hold;
    if (!hold || hold.paying) return;
    const left = this.left;
    this.#onTick(left);
    if (left === 0) {
      this.#hold = null;
      this.#onEnd(hold);
      return;
    }
    const passed = WARNINGS.filter((seconds) => left <= seconds * 1_000).at(-1);
    if (passed !== undefined && (this.#warned === null || passed < this.#warned)) {
      this.#warned = passed;
      this.#onWarning(passed);
    }
    // On the full second, so that the shown number changes when it should.
    this.#timer = setTimeout(() => this.#step(), left % 1_000 || 1_000);
  }
}
