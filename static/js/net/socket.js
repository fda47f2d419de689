import { Ask, Told } from "../protocol.js";

/** @import { Frame } from "../protocol.js" */

const SILENCE_MS = 25_000;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;

/**
 * The live connection of one showtime: opens itself again after every loss, at growing intervals with some chance in
 * them, and joins the showtime again. Silence of 25 s counts as a loss, for the server's heart beats every 10 s.
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
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #losses = 0;
  #closed = true;

  /**
   * @param {object} options
   * @param {string} options.url
   * @param {number} options.showtimeId
   * @param {(frame: Frame) => void} options.onFrame
   * @param {(live: boolean) => void} options.onState
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

  /** Ask for the snapshot (again). Nothing happens without a connection: it begins with one. */
  join() {
    if (this.#socket?.readyState === 1) {
      this.#socket.send(JSON.stringify({ event: Ask.JOIN, data: { showtime_id: this.#showtimeId } }));
    }
  }

  /** Hang up, for good. */
  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#drop();
  }

  #connect() {
    const socket = new this.#WebSocket(this.#url);
    this.#socket = socket;
    this.#listen();
    socket.onopen = () => this.join();
    socket.onmessage = (message) => this.#receive(message.data);
    socket.onclose = () => this.#lost();
  }

  #listen() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lost(), SILENCE_MS);
  }

  /** @param {string} text */
  #receive(text) {
    this.#listen();
    /** @type {Frame} */
    const frame = JSON.parse(text);
    if (frame.event === Told.AVAILABILITY && frame.data.showtime_id === this.#showtimeId) {
      this.#losses = 0;
      this.#onState(true);
    }
    this.#onFrame(frame);
  }

  #lost() {
    if (this.#closed) return;
    this.#drop();
    this.#onState(false);
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#losses) * (0.5 + this.#random() / 2);
    this.#losses += 1;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), pause);
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }
}
