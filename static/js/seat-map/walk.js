/**
 * The way of the arrow keys through a room: by where the seats stand, not by how they are written down. It knows no DOM.
 *
 * @typedef {object} Place
 * @property {string} code
 * @property {number} x  to the right, in any unit
 */
export class Walk {
  /** @type {Place[][]} */
  #rows;
  /** @type {Map<string, [number, number]>} row and place in it */
  #where = new Map();
  /** @type {number | null} where a walk up or down began: a short row on the way does not bend it */
  #column = null;

  /** @param {Place[][]} rows  from the screen, each from the left */
  constructor(rows) {
    this.#rows = rows.filter((row) => row.length > 0);
    this.#rows.forEach((row, r) => row.forEach((place, p) => this.#where.set(place.code, [r, p])));
  }

  /**
   * Where a key leads from a seat; the seat itself at the end of the room, and undefined for a key that leads nowhere.
   * @param {string} from
   * @param {string} key   as `KeyboardEvent.key` names it
   * @param {boolean} far  with Ctrl: Home and End mean the room, not the row
   * @returns {string | undefined}
   */
  step(from, key, far = false) {
    const [r, p] = this.#where.get(from) ?? [0, 0];
    const row = this.#rows[r];
    if (key === "ArrowUp" || key === "ArrowDown") {
      const next = this.#rows[r + (key === "ArrowUp" ? -1 : 1)];
      if (!next) return from;
      this.#column ??= row[p].x;
      return nearest(next, this.#column).code;
    }
    this.#column = null;
    switch (key) {
      case "ArrowLeft":
        return (row[p - 1] ?? row[p]).code;
      case "ArrowRight":
        return (row[p + 1] ?? row[p]).code;
      case "Home":
        return (far ? this.#rows[0] : row)[0].code;
      case "End":
        return (far ? this.#rows.at(-1) : row).at(-1).code;
      default:
        return undefined;
    }
  }
}

/** @param {Place[]} row @param {number} x @returns {Place} */
function nearest(row, x) {
  return row.reduce((best, place) => (Math.abs(place.x - x) < Math.abs(best.x - x) ? place : best));
}
