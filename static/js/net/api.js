import { Code } from "../protocol.js";

/** @import { Changes, ErrorBody, Hold, Release, Snapshot } from "../protocol.js" */

const TIMEOUT_MS = 8_000;
const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;

/** The server said no, or nobody answered: the contract's error as something to throw. */
export class Refused extends Error {
  /** @param {ErrorBody} body */
  constructor(body) {
    super(body.detail);
    this.code = body.code;
    this.detail = body.detail;
    this.seats = body.seats ?? {};
    this.alternatives = body.alternatives ?? [];
    this.retryAfter = body.retry_after ?? null;
  }
}

/** @param {number} ms @returns {Promise<void>} */
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** @param {string} path */
const isStatus = (path) => /\/status(\?|$)/.test(path);

/** A name for a request; `crypto.randomUUID` would want HTTPS. @returns {string} */
const randomKey = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/**
 * The REST API of one showtime's seats.
 *
 * A request ends after 8 s. Where nobody answers, or the server says that it is away (503), asks for patience (429) or
 * is busy with the very seat (`seat_locked`), it is sent again after a pause: the server's own, or a growing one. What is
 * posted has a key, so that it is done once and a lost answer is told again. How the seats stand is asked once: whoever
 * wants to know asks again by themselves.
 */
export class Api {
  #base;
  #fetch;
  #csrf;
  #sleep;
  #random;
  #newKey;
  #onWait;
  #closing = new AbortController();
  /** @type {string | null} */
  #tag = null;

  /**
   * @param {object} options
   * @param {number} options.showtimeId
   * @param {() => string} options.csrf  the token as it is now
   * @param {typeof globalThis.fetch} [options.fetch]
   * @param {(ms: number) => Promise<void>} [options.sleep]
   * @param {() => number} [options.random]  from 0 to 1
   * @param {() => string} [options.newKey]  names a request
   * @param {() => void} [options.onWait]  a request will be sent again after a pause
   */
  constructor({
    showtimeId,
    csrf,
    fetch,
    sleep: pause = sleep,
    random = Math.random,
    newKey = randomKey,
    onWait = () => {},
  }) {
    this.showtimeId = showtimeId;
    this.#base = `/api/v1/showtimes/${showtimeId}/seats`;
    this.#csrf = csrf;
    this.#fetch = fetch ?? ((input, init) => globalThis.fetch(input, init));
    this.#sleep = pause;
    this.#random = random;
    this.#newKey = newKey;
    this.#onWait = onWait;
  }

  /** Hold seats beside those one has. @param {string[]} seats @returns {Promise<Hold>} */
  hold(seats) {
    return this.#send("POST", `${this.#base}/lock`, { seats });
  }

  /** Let seats go; all, without an argument. @param {string[]} [seats] @returns {Promise<Release>} */
  release(seats) {
    return this.#send("DELETE", `${this.#base}/unlock`, seats ? { seats } : {});
  }

  /** Renew the hold's time. @returns {Promise<Hold>} */
  extend() {
    return this.#send("PUT", `${this.#base}/extend-lock`, {});
  }

  /** Hold the best seats together. @param {number} quantity @returns {Promise<Hold>} */
  holdBest(quantity) {
    return this.#send("POST", "/api/v1/holds", { showtime_id: this.showtimeId, quantity });
  }

  /**
   * How the seats stand: the changes alone, or all of them where the version is too old; null if nothing has changed since
   * the last time.
   * @param {number} [since]  the version that is known
   * @returns {Promise<Snapshot | Changes | null>}
   */
  async status(since) {
    const response = await this.#answer("GET", `${this.#base}/status${since === undefined ? "" : `?since=${since}`}`);
    if (response.status === 304) return null;
    const body = await response.json();
    this.#tag = response.headers.get("ETag");
    return body;
  }

  /** The next `status` is answered, also if nothing has changed. */
  forget() {
    this.#tag = null;
  }

  /** Give up whatever is under way. */
  close() {
    this.#closing.abort();
    this.#closing = new AbortController();
  }

  /** @returns {Promise<any>} */
  async #send(method, path, body) {
    return (await this.#answer(method, path, body)).json();
  }

  /** @returns {Promise<Response>} */
  async #answer(method, path, body) {
    const closing = this.#closing.signal;
    const key = method === "POST" ? this.#newKey() : null;
    for (let attempt = 1; ; attempt += 1) {
      let refused;
      try {
        const response = await this.#once(method, path, body, key);
        if (response.ok || response.status === 304) return response;
        refused = new Refused(await readError(response));
      } catch (error) {
        if (closing.aborted) throw error;
        refused = new Refused({ code: Code.UNREACHABLE, detail: "" });
      }
      if (attempt >= (isStatus(path) ? 1 : ATTEMPTS) || !isWorthAnotherTry(refused)) throw refused;
      if (refused.code !== Code.SEAT_LOCKED) this.#onWait();
      await this.#sleep(this.#pause(attempt, refused.retryAfter));
      if (closing.aborted) throw refused;
    }
  }

  /** @returns {Promise<Response>} */
  async #once(method, path, body, key) {
    const limit = new AbortController();
    const closing = this.#closing.signal;
    const abort = () => limit.abort();
    closing.addEventListener("abort", abort);
    const timer = setTimeout(abort, TIMEOUT_MS);
    try {
      /** @type {Record<string, string>} */
      const headers = { Accept: "application/json" };
      if (method === "GET") {
        if (this.#tag && isStatus(path)) headers["If-None-Match"] = this.#tag;
      } else {
        headers["Content-Type"] = "application/json";
        headers["X-CSRFToken"] = this.#csrf();
        if (key) headers["Idempotency-Key"] = key;
      }
      const response = await this.#fetch(path, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        credentials: "same-origin",
        cache: "no-store",
        signal: limit.signal,
      });
      // The answer's body belongs to the time limit, too.
      return response.status === 304 ? response : new Response(await response.blob(), response);
    } finally {
      clearTimeout(timer);
      closing.removeEventListener("abort", abort);
    }
  }

  /** @param {number} attempt @param {number | null} asked  seconds @returns {number} ms */
  #pause(attempt, asked) {
    const own = FIRST_PAUSE_MS * 2 ** (attempt - 1) * (0.5 + this.#random());
    return Math.min(LONGEST_PAUSE_MS, asked === null ? own : asked * 1_000 + this.#random() * 250);
  }
}

/** @param {Refused} refused */
function isWorthAnotherTry(refused) {
  if (refused.code === Code.SEAT_LOCKED) return refused.retryAfter !== null;
  return [Code.UNREACHABLE, Code.UNAVAILABLE, Code.RATE_LIMITED].includes(refused.code);
}

/** @param {Response} response @returns {Promise<ErrorBody>} */
async function readError(response) {
  const waits = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  const retry = Number.isNaN(waits) ? {} : { retry_after: waits };
  try {
    const body = await response.json();
    if (typeof body.code === "string") return { ...retry, ...body };
  } catch {
    // A page of something between us and the server.
  }
  return { code: response.status >= 500 ? Code.UNAVAILABLE : Code.UNREACHABLE, detail: "", ...retry };
}
