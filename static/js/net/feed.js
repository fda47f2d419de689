import { Told } from "../protocol.js";
import { LiveSocket } from "./socket.js";

/** @import { Changes, Frame, Snapshot } from "../protocol.js" */
/** @import { SeatStore } from "../seat-map/store.js" */
/** @import { Api } from "./api.js" */

// Polls begin when the socket has had its chance.
const FIRST_POLL_MS = 2_000;
// What is on its way may still arrive.
const BEHIND_MS = 500;
// A number that jumps about draws the eye.
const VIEWERS_EVERY_MS = 10_000;

/**
 * The server's news of a showtime, and what becomes of them: by the socket, or asked for every few seconds while there is
 * none. It owns both lines and decides when to ask, which answer counts and what the connection is called. It knows no
 * DOM.
 *
 * @typedef {"connecting" | "live" | "polling" | "offline"} Connection
 */
export class LiveFeed {
  #store;
  #api;
  #socket;
  #showtimeId;
  #pollMs;
  #random;
  #now;
  #onConnection;
  #onViewers;
  #onExpired;
  /** @type {Connection | null} */
  #connection = null;
  #isOpen = false;
  #live = false;
  #polling = false;
  #again = false;
  #doubting = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #pollTimer;
  #viewers = 0;
  #viewersAt = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #viewersTimer;

  /**
   * @param {object} options
   * @param {string} options.url  the socket's
   * @param {number} options.showtimeId
   * @param {SeatStore} options.store
   * @param {Api} options.api
   * @param {number} options.pollMs  how often to ask without a socket, about
   * @param {(connection: Connection) => void} options.onConnection
   * @param {(count: number) => void} options.onViewers  how many look on; at most every 10 s
   * @param {(holdId: string, codes: string[]) => void} options.onExpired  the time of our hold has run out
   * @param {typeof globalThis.WebSocket} [options.WebSocket]
   * @param {() => number} [options.random]  from 0 to 1
   * @param {() => number} [options.now]  a monotonic clock, in ms
   */
  constructor({
    url,
    showtimeId,
    store,
    api,
    pollMs,
    onConnection,
    onViewers,
    onExpired,
    WebSocket,
    random = Math.random,
    now = () => performance.now(),
  }) {
    this.#store = store;
    this.#api = api;
    this.#showtimeId = showtimeId;
    this.#pollMs = pollMs;
    this.#random = random;
    this.#now = now;
    this.#onConnection = onConnection;
    this.#onViewers = onViewers;
    this.#onExpired = onExpired;
    this.#socket = new LiveSocket({
      url,
      showtimeId,
      WebSocket,
      random,
      onFrame: (frame) => this.#receive(frame),
      onState: (live) => this.#turn(live),
    });
  }

  /** Begin, until `close`. */
  open() {
    this.#isOpen = true;
    this.#tell("connecting");
    this.#socket.open();
    this.#pollIn(FIRST_POLL_MS);
  }

  /** End; it can be opened again. */
  close() {
    this.#isOpen = this.#live = false;
    this.#socket.close();
    clearTimeout(this.#pollTimer);
    clearTimeout(this.#viewersTimer);
  }

  /** Somebody is back, or the machine: what is shown may be old. */
  wake() {
    if (!this.#isOpen) return;
    this.#socket.wake();
    this.soon();
  }

  /** There may be news. With a live socket they come by themselves. */
  soon() {
    if (this.#isOpen && !this.#live) this.#pollIn(0);
  }

  /** Ask how everything stands, also when nothing has changed. @returns {Promise<string | null>} the server's time */
  async sync() {
    this.#api.forget();
    try {
      return (await this.#ask())?.server_time ?? null;
    } catch {
      // The next poll asks the same; without polls the socket is asked.
      this.#socket.resync();
      return null;
    }
  }

  /** @param {Frame} frame */
  #receive({ event, data }) {
    if (data?.showtime_id !== this.#showtimeId) return;
    switch (event) {
      case Told.AVAILABILITY:
        this.#countViewers(data.viewers);
        this.#store.replace(data, { final: true });
        break;
      case Told.CHANGED:
        if (this.#store.apply(data) === "gap") this.#socket.resync();
        this.#doubt();
        break;
      case Told.HEARTBEAT:
        this.#countViewers(data.viewers);
        if (data.version > this.#store.version) {
          setTimeout(() => data.version > this.#store.version && this.#socket.resync(), BEHIND_MS);
        }
        break;
      case Told.HOLD_CHANGED:
        // That there is no hold has no time: it may be older than an answer of our own.
        if (data.hold) this.#store.learnHold(data.hold, data.hold.server_time);
        else this.sync();
        break;
      case Told.HOLD_EXPIRED:
        if (this.#store.hold?.hold_id === data.hold_id) this.#onExpired(data.hold_id, data.seats);
        break;
    }
  }

  /** What tells of our own hold may be lost, and no version shows it; but a seat of ours that is free does. */
  #doubt() {
    if (this.#doubting || !this.#store.doubtsHold) return;
    this.#doubting = true;
    setTimeout(() => {
      this.#doubting = false;
      if (this.#isOpen && this.#store.doubtsHold) this.sync();
    }, BEHIND_MS);
  }

  /** @param {boolean} live */
  #turn(live) {
    this.#live = live;
    clearTimeout(this.#pollTimer);
    if (live) {
      // The socket leads on from here; what a tag has named is no longer what is shown.
      this.#api.forget();
      this.#tell("live");
    } else {
      this.#tell("offline");
      // Most losses are over in a second; and a server that has just begun anew need not be asked by all at once.
      this.#pollIn(FIRST_POLL_MS * (0.5 + this.#random() / 2));
    }
  }

  /** @param {number} ms */
  #pollIn(ms) {
    clearTimeout(this.#pollTimer);
    this.#pollTimer = setTimeout(() => this.#poll(), ms);
  }

  async #poll() {
    if (this.#live) return;
    if (this.#polling) {
      this.#again = true;
      return;
    }
    this.#polling = true;
    this.#again = false;
    /** @type {Connection} */
    let came = "polling";
    try {
      await this.#ask();
    } catch {
      came = "offline";
    }
    this.#polling = false;
    if (this.#live || !this.#isOpen) return;
    this.#tell(came);
    this.#pollIn(this.#again ? 0 : this.#pollMs * (0.85 + 0.3 * this.#random()));
  }

  /** @returns {Promise<Snapshot | Changes | null>} null if nothing has changed */
  async #ask() {
    const known = this.#store.version;
    const answer = await this.#api.status(known);
    if (!answer) return null;
    this.#countViewers(answer.viewers);
    if ("changes" in answer) {
      // What was not taken over must be answered once more.
      if (this.#store.catchUp(answer) === "gap") this.#api.forget();
    } else {
      // Only a database that was put back can say less than what was known when it was asked.
      this.#store.replace(answer, { final: answer.version < known });
    }
    return answer;
  }

  /** @param {number} count */
  #countViewers(count) {
    this.#viewers = count;
    clearTimeout(this.#viewersTimer);
    this.#viewersTimer = setTimeout(
      () => {
        this.#viewersAt = this.#now();
        this.#onViewers(this.#viewers);
      },
      Math.max(0, this.#viewersAt + VIEWERS_EVERY_MS - this.#now()),
    );
  }

  /** @param {Connection} connection */
  #tell(connection) {
    if (connection === this.#connection) return;
    this.#connection = connection;
    this.#onConnection(connection);
  }
}
