import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { LiveSocket } from "../../static/js/net/socket.js";
import { Line } from "./line.js";

function scene({ random = () => 1 } = {}) {
  const told = [];
  const socket = new LiveSocket({
    url: "ws://house/ws/seats/",
    showtimeId: 7,
    WebSocket: Line,
    random,
    onFrame: (frame) => told.push(frame.event),
    onState: (live) => told.push(live),
  });
  socket.open();
  return { socket, told };
}

/** One that has been live for a while. */
function steady(options) {
  const made = scene(options);
  Line.last.accept();
  Line.last.answer();
  mock.timers.tick(10_000);
  Line.last.tell("heartbeat");
  made.told.length = 0;
  return made;
}

const joins = () => Line.last.sent.length;

beforeEach(() => {
  Line.opened = [];
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
});

test("it joins its showtime, and is live with the snapshot", () => {
  const { told } = scene();
  Line.last.accept();
  assert.deepEqual(Line.last.sent, [{ event: "join:showtime", data: { showtime_id: 7 }, id: 1 }]);
  assert.deepEqual(told, []);
  Line.last.answer();
  assert.deepEqual(told, [true, "seats:availability"]);
});

test("it opens itself again at growing intervals, and joins again", () => {
  const { told } = scene();
  for (const pause of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
    const before = Line.opened.length;
    Line.last.onclose();
    mock.timers.tick(pause - 1);
    assert.equal(Line.opened.length, before);
    mock.timers.tick(1);
    assert.equal(Line.opened.length, before + 1);
  }
  assert.deepEqual(told, [], "it was never live, and says nothing new");
  Line.last.accept();
  Line.last.answer();
  mock.timers.tick(10_000);
  Line.last.onclose();
  const before = Line.opened.length;
  mock.timers.tick(1_000);
  assert.equal(Line.opened.length, before + 1, "a line that lived begins the intervals anew");
});

test("a line that dies at once, again and again, is not called live until it has lived for 10 s", () => {
  const { told } = scene();
  for (const pause of [1_000, 2_000, 4_000]) {
    Line.last.accept();
    Line.last.answer();
    Line.last.onclose();
    mock.timers.tick(pause);
  }
  assert.deepEqual(told.filter((state) => typeof state === "boolean"), [true, false, true, false, true, false]);
  told.length = 0;
  Line.last.accept();
  Line.last.answer();
  mock.timers.tick(9_999);
  assert.deepEqual(told, ["seats:availability"]);
  mock.timers.tick(1);
  assert.deepEqual(told, ["seats:availability", true]);
});

test("a server that was away for long is live with its first snapshot", () => {
  const { told } = steady();
  for (const pause of [1_000, 2_000, 4_000, 8_000]) {
    Line.last.onclose();
    mock.timers.tick(pause);
  }
  Line.last.accept();
  Line.last.answer();
  assert.deepEqual(told, [false, true, "seats:availability"]);
});

test("silence of 13 s is a loss; every frame breaks it", () => {
  const { told } = steady();
  Line.last.tell("heartbeat");
  mock.timers.tick(12_000);
  Line.last.tell("heartbeat");
  mock.timers.tick(12_999);
  assert.equal(Line.last.closed, false);
  mock.timers.tick(1);
  assert.equal(Line.last.closed, true);
  assert.equal(told.at(-1), false);
  mock.timers.tick(1_000);
  assert.equal(Line.opened.length, 2);
});

test("however much was missed, one snapshot is asked for, after a moment of chance", () => {
  const { socket } = steady({ random: () => 0.5 });
  for (let gap = 0; gap < 5; gap += 1) socket.resync();
  mock.timers.tick(149);
  assert.equal(joins(), 1);
  mock.timers.tick(1);
  assert.equal(joins(), 2);
  socket.resync();
  mock.timers.tick(1_000);
  assert.equal(joins(), 2, "one is on its way");
  Line.last.tell("seats:availability", {});
  socket.resync();
  mock.timers.tick(1_000);
  assert.equal(joins(), 2, "the server's own snapshot is not the answer");
  Line.last.answer();
  socket.resync();
  mock.timers.tick(150);
  assert.equal(joins(), 3);
});

test("a snapshot that does not come is asked for again after 5 s", () => {
  const { socket } = steady();
  socket.resync();
  mock.timers.tick(300);
  assert.equal(joins(), 2);
  mock.timers.tick(4_999);
  assert.equal(joins(), 2);
  Line.last.tell("error", {}, Line.last.sent.at(-1).id);
  mock.timers.tick(1);
  assert.equal(joins(), 3);
  Line.last.answer();
  mock.timers.tick(10_000);
  assert.equal(joins(), 3);
});

test("nothing is asked for without a line", () => {
  const { socket } = scene();
  socket.resync();
  mock.timers.tick(1_000);
  assert.deepEqual(Line.last.sent, []);
  Line.last.onclose();
  socket.resync();
  mock.timers.tick(400);
  assert.equal(Line.opened.length, 1);
});

test("who wakes does not wait for the next try", () => {
  const { socket } = scene();
  for (const pause of [1_000, 2_000, 4_000]) {
    Line.last.onclose();
    mock.timers.tick(pause);
  }
  Line.last.onclose();
  socket.wake();
  assert.equal(Line.opened.length, 5);
  mock.timers.tick(8_000);
  assert.equal(Line.opened.length, 5, "and the next try is no second line");
});

test("who wakes believes a line only if it answers within 4 s", () => {
  const { socket, told } = steady();
  socket.wake();
  assert.equal(joins(), 2);
  mock.timers.tick(2_000);
  socket.wake();
  assert.equal(joins(), 2);
  mock.timers.tick(1_999);
  Line.last.answer();
  mock.timers.tick(4_000);
  assert.equal(Line.opened.length, 1);
  socket.wake();
  mock.timers.tick(4_000);
  assert.equal(Line.last.closed, true);
  assert.equal(told.at(-1), false);
  mock.timers.tick(1_000);
  assert.equal(Line.opened.length, 2);
});

test("once hung up it stays so, and can be opened again", () => {
  const { socket, told } = steady();
  socket.resync();
  socket.close();
  socket.wake();
  mock.timers.tick(120_000);
  assert.equal(Line.opened.length, 1);
  assert.equal(Line.last.closed, true);
  assert.deepEqual(told, []);
  socket.open();
  Line.last.accept();
  Line.last.answer();
  assert.equal(told[0], true);
});
