/** A socket whose other end is the test. */
export class Line {
  /** @type {Line[]} */
  static opened = [];
  sent = [];
  readyState = 0;
  closed = false;

  constructor(url) {
    this.url = url;
    Line.opened.push(this);
  }

  static get last() {
    return Line.opened.at(-1);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.closed = true;
    this.readyState = 3;
  }

  accept() {
    this.readyState = 1;
    this.onopen();
  }

  tell(event, data, id) {
    this.onmessage({ data: JSON.stringify({ event, data: { showtime_id: 7, ...data }, ...(id ? { id } : {}) }) });
  }

  /** Answer what was sent last. */
  answer(data) {
    this.tell("seats:availability", data, this.sent.at(-1).id);
  }
}
