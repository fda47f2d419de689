import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { LiveSocket } from "../../static/js/net/socket.js";

/** A socket whose other end is the test. */
class Line {
  /** @type {Line[]} */
  static opened = [];
  sent = [];
  readyState = 0;
  closed = false;

  constructor(url) {
    this.url = url;
    Line.opened.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.closed = true;
  }

  accept() {
    this.readyState = 1;
    this.onopen();
  }

  tell(event, data) {
    this.onmessage({ data: JSON.stringify({ event, data }) });
  }
}

function scene() {
  const told = [];
  const socket = new LiveSocket({
    url: "ws://house/ws/seats/",
    showtimeId: 7,
    WebSocket: Line,
    random: () => 1,
    onFrame: (frame) => told.push(frame.event),
    onState: (live) => told.push(live),
  });
  socket.open();
  return { socket, told };
}

const last = () => Line.opened.at(-1);

beforeEach(() => {
  Line.opened = [];
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
});

test("it joins its showtime, and is live with the snapshot", () => {
  const { told } = scene();
  last().accept();
  assert.deepEqual(last().sent, [{ event: "join:showtime", data: { showtime_id: 7 } }]);
  assert.deepEqual(told, []);
  last().tell("seats:availability", { showtime_id: 7 });
  assert.deepEqual(told, [true, "seats:availability"]);
});

test("it opens itself again at growing intervals, and joins again", () => {
  const { told } = scene();
  for (const pause of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
    const before = Line.opened.length;
    last().onclose();
    mock.timers.tick(pause - 1);
    assert.equal(Line.opened.length, before);
    mock.timers.tick(1);
    assert.equal(Line.opened.length, before + 1);
  }
  assert.equal(told.every((state) => state === false), true);
  last().accept();
  last().tell("seats:availability", { showtime_id: 7 });
  last().onclose();
  const before = Line.opened.length;
  mock.timers.tick(1_000);
  assert.equal(Line.opened.length, before + 1, "a success begins the intervals anew");
});

test("silence of 25 s is a loss; every frame breaks it", () => {
  const { told } = scene();
  last().accept();
  mock.timers.tick(24_000);
  last().tell("heartbeat", { showtime_id: 7 });
  mock.timers.tick(24_999);
  assert.equal(last().closed, false);
  mock.timers.tick(1);
  assert.equal(last().closed, true);
  assert.equal(told.at(-1), false);
  mock.timers.tick(1_000);
  assert.equal(Line.opened.length, 2);
});

test("once hung up it stays so", () => {
  const { socket } = scene();
  last().accept();
  socket.close();
  mock.timers.tick(120_000);
  assert.equal(Line.opened.length, 1);
  assert.equal(last().closed, true);
});
