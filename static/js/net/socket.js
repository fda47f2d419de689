import { Ask, Told } from "../protocol.js";

/** @import { Frame } from "../protocol.js" */

// The server's heart beats every 10 s.
const SILENCE_MS = 13_000;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;
// A line that may have been cut while the machine slept must show within this time that it lives.
const WAKING_MS = 4_000;
// A snapshot that does not come is asked for again.
const ANSWER_MS = 5_000;
// What made one viewer miss a change made many of them miss it.
const SPREAD_MS = 300;
// A line that has lived that long is one to rely on. After so many that came and went, none is called live before.
const STEADY_MS = 10_000;
const FLICKERS = 3;

/**
 * The live connection of one showtime: opens itself again after every loss, at growing intervals with some chance in
 * them, and joins the showtime again. Silence of 13 s counts as a loss.
 */
export class LiveSocket {
  #url;
  #showtimeId;
  #WebSocket;
  #onFrame;
  #onState;
  #random;
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} until silence is a loss; or, without a line, until the next try */
  #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #waking;
  /** @type {ReturnType<typeof setTimeout> | undefined} until the snapshot is asked for (again) */
  #asking;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #steady;
  /** @type {number | null} the frame that asked for the snapshot and has no answer yet */
  #joining = null;
  #lastId = 0;
  #losses = 0;
  #flickers = 0;
  #live = false;
  #closed = true;

  /**
   * @param {object} options
   * @param {string} options.url
   * @param {number} options.showtimeId
   * @param {(frame: Frame) => void} options.onFrame
   * @param {(live: boolean) => void} options.onState  the line can be relied on, or no longer
   * @param {typeof globalThis.WebSocket} [options.WebSocket]
   * @param {() => number} [options.random]  from 0 to 1
   */
  constructor({ url, showtimeId, onFrame, onState, WebSocket = globalThis.WebSocket, random = Math.random }) {
    this.#url = url;
    this.#showtimeId = showtimeId;
    this.#onFrame = onFrame;
    this.#onState = onState;
    this.#WebSocket = WebSocket;
    this.#random = random;
  }

  /** Connect, and stay connected until `close`. */
  open() {
    if (!this.#closed) return;
    this.#closed = false;
    this.#losses = 0;
    this.#connect();
  }

  /** Something was missed: ask for the snapshot, in a moment. Nothing happens while one is on its way, or without a line. */
  resync() {
    if (this.#asking !== undefined || this.#socket?.readyState !== 1) return;
    this.#asking = setTimeout(() => this.#join(), this.#random() * SPREAD_MS);
  }

  /** The machine may have slept: do not wait for the next try, and do not believe a line that does not answer. */
  wake() {
    if (this.#closed) return;
    if (!this.#socket) {
      this.#connect();
      return;
    }
    if (this.#waking !== undefined) return;
    this.#waking = setTimeout(() => this.#lost(), WAKING_MS);
    if (this.#socket.readyState === 1 && this.#joining === null) this.#join();
  }

  /** Hang up, for good. */
  close() {
    this.#closed = true;
    this.#drop();
    this.#live = false;
  }

  #connect() {
    const socket = new this.#WebSocket(this.#url);
    this.#socket = socket;
    this.#listen();
    socket.onopen = () => this.#join();
    socket.onmessage = (message) => this.#receive(message.data);
    socket.onclose = () => this.#lost();
  }

  #join() {
    this.#joining = this.#lastId += 1;
    this.#socket.send(
      JSON.stringify({ event: Ask.JOIN, data: { showtime_id: this.#showtimeId }, id: this.#joining }),
    );
    clearTimeout(this.#asking);
    this.#asking = setTimeout(() => this.#join(), ANSWER_MS);
  }

  #listen() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lost(), SILENCE_MS);
    clearTimeout(this.#waking);
    this.#waking = undefined;
  }

  /** @param {string} text */
  #receive(text) {
    this.#listen();
    /** @type {Frame} */
    const frame = JSON.parse(text);
    if (frame.event === Told.AVAILABILITY && frame.data.showtime_id === this.#showtimeId) this.#shown(frame);
    this.#onFrame(frame);
  }

  /** @param {Frame} frame */
  #shown(frame) {
    if (frame.id === this.#joining) {
      this.#joining = null;
      clearTimeout(this.#asking);
      this.#asking = undefined;
    }
    this.#steady ??= setTimeout(() => {
      this.#losses = this.#flickers = 0;
      this.#tell(true);
    }, STEADY_MS);
    if (this.#flickers < FLICKERS) this.#tell(true);
  }

  #lost() {
    if (this.#steady !== undefined) this.#flickers += 1;
    this.#drop();
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#losses) * (0.5 + this.#random() / 2);
    this.#losses += 1;
    this.#timer = setTimeout(() => this.#connect(), pause);
    this.#tell(false);
  }

  /** @param {boolean} live */
  #tell(live) {
    if (live === this.#live) return;
    this.#live = live;
    this.#onState(live);
  }

  #drop() {
    for (const timer of [this.#timer, this.#waking, this.#asking, this.#steady]) clearTimeout(timer);
    this.#waking = this.#asking = this.#steady = undefined;
    this.#joining = null;
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }
}
