/**
 * What the page says, in its own language: the sentences stand in the page, with names in braces for what they are about.
 */
export class Words {
  /** @type {Map<string, string>} */
  #sentences;
  #money;
  #clock;

  /**
   * @param {HTMLTemplateElement} template  one `<data value="key">` per sentence
   * @param {{ language: string, currency: string, timeZone: string }} place
   */
  constructor(template, { language, currency, timeZone }) {
    const lines = /** @type {NodeListOf<HTMLDataElement>} */ (template.content.querySelectorAll("data"));
    this.#sentences = new Map([...lines].map((line) => [line.value, line.textContent.trim()]));
    this.#money = new Intl.NumberFormat(language, { style: "currency", currency });
    this.#clock = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone });
  }

  /** @param {string} key @param {Record<string, string | number>} [values] @returns {string} */
  say(key, values = {}) {
    const sentence = this.#sentences.get(key) ?? key;
    return sentence.replace(/\{(\w+)\}/g, (braces, name) => String(values[name] ?? braces));
  }

  /** @param {string[]} codes @returns {string} such as “A7, A8 and A9” */
  together(codes) {
    if (codes.length < 2) return codes.join("");
    return this.say("and", { seats: codes.slice(0, -1).join(", "), last: codes.at(-1) });
  }

  /** @param {{ amount: string }} money @returns {string} */
  money({ amount }) {
    return this.#money.format(Number(amount));
  }

  /** @param {string} instant  RFC 3339 @returns {string} the time on the cinema's clock */
  time(instant) {
    return this.#clock.format(new Date(instant));
  }

  /** @param {number} ms @returns {string} minutes and seconds that are left, such as 9:05 */
  left(ms) {
    const seconds = Math.ceil(ms / 1_000);
    return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  }
}

/** @template {HTMLElement} [T=HTMLElement] @param {string} id @returns {T} an element that the page has */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`The page has no #${id}.`);
  return /** @type {T} */ (element);
}
