import { Status } from "../protocol.js";

/** @import { Change, Changes, Hold, SeatStatus, Snapshot } from "../protocol.js" */

/**
 * How the seats of a showtime stand, as far as this page knows. It knows no DOM and asks nobody.
 *
 * The law: a snapshot and the changes that follow it give the next snapshot. A change is applied only to the version it
 * leads on from. What is one's own is told by the hold alone; a change says the same to everybody.
 */
export class SeatStore {
  /** @type {Map<string, SeatStatus>} as a stranger sees them */
  #seats = new Map();
  /** @type {Map<string, SeatStatus>} what an answer of our own has told ahead of the change that will say it */
  #ahead = new Map();
  /** @type {Map<string, number>} the version at which a seat changed last */
  #touched = new Map();
  /** @type {Hold | null} */
  #hold = null;
  #heardAt = 0n;
  #saleAt = 0n;
  #listeners = new Set();
  version = -1;
  /** Whether seats can be had now. */
  onSale = true;
  /** Whether the showtime does not take place. */
  cancelled = false;

  /** Be told, after every change, which seats may look different. @param {(codes: Set<string>) => void} listener */
  subscribe(listener) {
    this.#listeners.add(listener);
  }

  /** @returns {Hold | null} what this viewer holds */
  get hold() {
    return this.#hold;
  }

  /** @returns {boolean} whether a seat that we believe to hold is said to be nobody's, or sold: one of both is old */
  get doubtsHold() {
    return this.#hold?.seats.some((code) => this.#seats.get(code) !== Status.LOCKED) ?? false;
  }

  /** @returns {string[]} every seat's code */
  get codes() {
    return [...this.#seats.keys()];
  }

  /** @returns {number} how many seats are free */
  get available() {
    return this.codes.filter((code) => this.status(code) === Status.AVAILABLE).length;
  }

  /** @param {string} code @returns {SeatStatus | undefined} as this viewer sees the seat */
  status(code) {
    if (this.#hold?.seats.includes(code)) return Status.SELECTED;
    return this.#ahead.get(code) ?? this.#seats.get(code);
  }

  /**
   * Take over a whole snapshot. One that is older than what is known changes nothing, for answers may overtake each other.
   * @param {Snapshot} snapshot
   * @param {object} [options]
   * @param {boolean} [options.final]  it is right also if its version is lower, as after a database was put back
   */
  replace(snapshot, { final = false } = {}) {
    if (snapshot.version < this.version && !final) return;
    this.version = snapshot.version;
    this.#seats = new Map(Object.entries(snapshot.seats).map(([code, status]) => [code, asStrangersSee(status)]));
    this.#touched = new Map(this.codes.map((code) => [code, snapshot.version]));
    this.#ahead.clear();
    this.#learnSale(snapshot);
    this.#learnOwn(snapshot, snapshot.seats);
    this.#tell(this.codes);
  }

  /**
   * Take over what has changed since a version, as it was answered to us.
   * @param {Changes} answer
   * @returns {"applied" | "old" | "gap"} a gap asks again
   */
  catchUp(answer) {
    const before = this.#hold?.seats ?? [];
    const turned = this.#learnSale(answer);
    this.#learnOwn(answer, answer.changes);
    const fits = this.#lead(answer);
    this.#tell(turned ? this.codes : [...before, ...(this.#hold?.seats ?? []), ...Object.keys(answer.changes)]);
    return fits;
  }

  /**
   * Apply a change.
   * @param {Change} change
   * @returns {"applied" | "old" | "gap"} a gap asks for the snapshot
   */
  apply(change) {
    const fits = this.#lead(change);
    if (fits === "applied") this.#tell(Object.keys(change.changes));
    return fits;
  }

  /**
   * Learn what this viewer holds now. What is older than what is known is passed over.
   * @param {Hold | null} hold
   * @param {string} at  the server's time of it
   */
  learnHold(hold, at) {
    const before = this.#hold?.seats ?? [];
    if (this.#learn(hold, at)) this.#tell([...before, ...(hold?.seats ?? [])]);
  }

  /**
   * Seats are free, as the answer to our own release says: the change that says so comes later.
   * @param {string[]} codes
   * @param {number} since  the version that was known when it was asked; what has changed after it is newer
   */
  released(codes, since) {
    for (const code of codes) {
      if ((this.#touched.get(code) ?? 0) <= since) this.#ahead.set(code, Status.AVAILABLE);
    }
    this.#tell(codes);
  }

  /** The hold is over; nothing but the clock says so. @param {string} holdId */
  lapse(holdId) {
    if (this.#hold?.hold_id !== holdId) return;
    const codes = this.#hold.seats;
    this.#hold = null;
    this.#tell(codes);
  }

  /** @param {Change | Changes} change @returns {"applied" | "old" | "gap"} */
  #lead(change) {
    if (change.version <= this.version) return "old";
    if (change.from_version !== this.version) return "gap";
    this.version = change.version;
    for (const [code, status] of Object.entries(change.changes)) {
      this.#seats.set(code, asStrangersSee(status));
      this.#touched.set(code, change.version);
      this.#ahead.delete(code);
    }
    return "applied";
  }

  /**
   * The sale has no version: what was read later is right.
   * @param {Snapshot | Changes} read
   * @returns {boolean} whether it has turned
   */
  #learnSale({ server_time, on_sale, cancelled }) {
    const readAt = microseconds(server_time);
    if (readAt < this.#saleAt) return false;
    const turned = on_sale !== this.onSale || cancelled !== this.cancelled;
    this.#saleAt = readAt;
    this.onSale = on_sale;
    this.cancelled = cancelled;
    return turned;
  }

  /** @param {Snapshot | Changes} read @param {Record<string, SeatStatus>} seats */
  #learnOwn({ hold, server_time }, seats) {
    // Seats and hold are read one after the other. Where they contradict each other, what is known of the hold stays.
    if (!hold && Object.values(seats).includes(Status.SELECTED)) return;
    this.#learn(hold, hold?.server_time ?? server_time);
  }

  /** @returns {boolean} whether it was news */
  #learn(hold, at) {
    const heardAt = microseconds(at);
    if (heardAt < this.#heardAt) return false;
    this.#heardAt = heardAt;
    this.#hold = hold;
    return true;
  }

  /** @param {Iterable<string>} codes */
  #tell(codes) {
    const told = new Set(codes);
    for (const listener of this.#listeners) listener(told);
  }
}

/** @param {SeatStatus} status @returns {SeatStatus} */
function asStrangersSee(status) {
  return status === Status.SELECTED ? Status.LOCKED : status;
}

/**
 * An instant of the server, whose microseconds a `Date` would lose.
 * @param {string} instant  RFC 3339
 * @returns {bigint}
 */
export function microseconds(instant) {
  const [, whole, fraction = "", zone] = /^(.*?:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/.exec(instant) ?? [];
  return BigInt(Date.parse(whole + zone)) * 1_000n + BigInt(fraction.padEnd(6, "0").slice(0, 6));
}
