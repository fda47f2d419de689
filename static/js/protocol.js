/**
 * The words that browser and server share: events, codes, and the shapes of what travels. The server's own lists of them
 * are docs/protocol.md, for the socket, and its API documentation at /api/v1/docs.
 *
 * @typedef {"available" | "locked" | "selected" | "occupied" | "blocked"} SeatStatus  as one viewer sees a seat
 *
 * @typedef {object} Money
 * @property {string} amount    a decimal number
 * @property {string} currency  its ISO 4217 code
 *
 * @typedef {object} Hold  what one holder has at one showtime; times are RFC 3339 by the server's clock
 * @property {string} hold_id
 * @property {number} showtime_id
 * @property {string[]} seats
 * @property {string} locked_at
 * @property {string} expires_at
 * @property {number} expires_in       whole seconds
 * @property {string} max_expires_at   no extension goes past this
 * @property {boolean} paying
 * @property {Money} total
 * @property {string} server_time
 *
 * @typedef {object} Snapshot  every seat at one version
 * @property {number} showtime_id
 * @property {number} version
 * @property {string} server_time
 * @property {boolean} on_sale    whether seats can be had now
 * @property {boolean} cancelled  whether the showtime does not take place
 * @property {number} viewers     how many people look at the showtime, this one among them
 * @property {Record<string, SeatStatus>} seats
 * @property {Hold | null} hold
 *
 * @typedef {object} Changes  the seats that have changed since a version, as this viewer sees them now
 * @property {number} showtime_id
 * @property {number} from_version
 * @property {number} version
 * @property {string} server_time
 * @property {boolean} on_sale
 * @property {boolean} cancelled
 * @property {number} viewers
 * @property {Record<string, SeatStatus>} changes
 * @property {Hold | null} hold
 *
 * @typedef {object} Change  leads from one version to another; a seat of one's own reads `locked`
 * @property {number} showtime_id
 * @property {number} from_version
 * @property {number} version
 * @property {Record<string, SeatStatus>} changes
 *
 * @typedef {object} Release
 * @property {string[]} released
 * @property {Hold | null} hold
 * @property {string} server_time
 *
 * @typedef {object} ErrorBody
 * @property {string} code
 * @property {string} detail                    a sentence to show a person
 * @property {Record<string, string>} [seats]   why, seat by seat
 * @property {string[][]} [alternatives]        free seats together and near
 * @property {number} [retry_after]             seconds
 *
 * @typedef {object} Frame  one message of the socket
 * @property {string} event
 * @property {any} data
 * @property {string | number} [id]
 */

export const Status = Object.freeze({
  AVAILABLE: "available",
  LOCKED: "locked",
  SELECTED: "selected",
  OCCUPIED: "occupied",
  BLOCKED: "blocked",
});

/** What the browser sends. */
export const Ask = Object.freeze({ JOIN: "join:showtime" });

/** What the server sends and the browser looks at. */
export const Told = Object.freeze({
  AVAILABILITY: "seats:availability",
  CHANGED: "seat:status:changed",
  HOLD_CHANGED: "hold:changed",
  HOLD_EXPIRED: "hold:expired",
  HEARTBEAT: "heartbeat",
});

/** The codes that the browser treats in a way of their own. The last is not the server's: nobody answered. */
export const Code = Object.freeze({
  SEAT_LOCKED: "seat_locked",
  SEAT_HELD: "seat_held",
  SEAT_BOOKED: "seat_booked",
  SEAT_BLOCKED: "seat_blocked",
  RATE_LIMITED: "rate_limited",
  UNAVAILABLE: "unavailable",
  UNREACHABLE: "unreachable",
});

/** Codes that say that somebody else has the seat. */
export const TAKEN = new Set([Code.SEAT_HELD, Code.SEAT_BOOKED, Code.SEAT_BLOCKED, Code.SEAT_LOCKED]);
