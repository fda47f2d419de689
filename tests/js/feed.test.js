import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { LiveFeed } from "../../static/js/net/feed.js";
import { SeatStore } from "../../static/js/seat-map/store.js";
import { Line } from "./line.js";

const TIME = "2026-11-20T20:00:00.000001Z";
const answer = (version, more = {}) => ({
  showtime_id: 7,
  version,
  server_time: TIME,
  on_sale: true,
  cancelled: false,
  viewers: 1,
  hold: null,
  ...more,
});
const snapshot = (version, seats = { A1: "available", A2: "available" }, more = {}) =>
  answer(version, { seats, ...more });
const changes = (from, version, changed = {}, more = {}) =>
  answer(version, { from_version: from, changes: changed, ...more });

/** Let promises come to their end; timers stand still. */
const settle = async () => {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
};

/** A feed at version 5, whose server and clock are the test's. */
function scene({ random = () => 0.5 } = {}) {
  const told = [];
  const asked = [];
  const answers = [];
  let forgotten = 0;
  let clock = 0;
  const store = new SeatStore();
  store.replace(snapshot(5));
  const api = {
    async status(since) {
      asked.push(since);
      const next = answers.shift() ?? null;
      if (next instanceof Error) throw next;
      return next;
    },
    forget: () => (forgotten += 1),
  };
  const feed = new LiveFeed({
    url: "ws://house/ws/seats/",
    showtimeId: 7,
    store,
    api,
    pollMs: 10_000,
    WebSocket: Line,
    random,
    now: () => clock,
    onConnection: (connection) => told.push(connection),
    onViewers: (count) => told.push(count),
    onExpired: (holdId, codes) => told.push([holdId, codes]),
  });
  const pass = async (ms) => {
    for (let gone = 0; gone < ms; gone += 250) {
      clock += 250;
      mock.timers.tick(250);
      await settle();
    }
  };
  feed.open();
  return { feed, store, told, asked, answers, pass, forgotten: () => forgotten };
}

async function live(options) {
  const made = scene(options);
  Line.last.accept();
  Line.last.answer(snapshot(5));
  await made.pass(10_000);
  Line.last.tell("heartbeat", { version: 5, viewers: 1 });
  made.told.length = made.asked.length = Line.last.sent.length = 0;
  return made;
}

beforeEach(() => {
  Line.opened = [];
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
});

test("with a socket nothing is polled", async () => {
  const { told, asked, pass } = scene();
  Line.last.accept();
  Line.last.answer(snapshot(5));
  for (let beat = 0; beat < 6; beat += 1) {
    await pass(10_000);
    Line.last.tell("heartbeat", { version: 5, viewers: 1 });
  }
  assert.deepEqual(told.filter((word) => word !== 1), ["connecting", "live"]);
  assert.deepEqual(asked, []);
});

test("without a socket it asks every ten seconds or so what has changed since", async () => {
  const { told, store, asked, answers, pass } = scene({ random: () => 1 });
  answers.push(changes(5, 6, { A1: "locked" }), null, changes(6, 8, { A1: "available", A2: "occupied" }));
  Line.last.onclose();
  await pass(2_000);
  assert.deepEqual(asked, [5]);
  assert.equal(store.status("A1"), "locked");
  await pass(11_250);
  assert.deepEqual(asked, [5]);
  await pass(250);
  assert.deepEqual(asked, [5, 6]);
  await pass(11_500);
  assert.deepEqual(asked, [5, 6, 6]);
  assert.deepEqual([store.version, store.status("A1"), store.status("A2")], [8, "available", "occupied"]);
  assert.deepEqual(told.filter((word) => word !== 1), ["connecting", "polling"]);
});

test("a poll that nobody answers is told, and tried again in its time", async () => {
  const { told, asked, answers, pass } = scene();
  answers.push(new Error("away"), null);
  Line.last.onclose();
  await pass(2_000);
  assert.equal(told.at(-1), "offline");
  await pass(10_000);
  assert.equal(told.at(-1), "polling");
  assert.equal(asked.length, 2);
});

test("from the socket to polls, and back", async () => {
  const { told, asked, pass, forgotten } = await live();
  Line.last.onclose();
  assert.deepEqual(told, ["offline"]);
  await pass(1_500);
  Line.last.accept();
  Line.last.answer(snapshot(6));
  assert.deepEqual(told.filter((word) => word !== 1), ["offline", "polling", "live"]);
  const before = asked.length;
  await pass(12_500);
  assert.equal(asked.length, before);
  assert.ok(forgotten() >= 2, "what a tag has named is not what is shown now");
});

test("a socket that is back within a second costs no poll", async () => {
  const { told, asked, pass } = await live();
  Line.last.onclose();
  await pass(750);
  Line.last.accept();
  Line.last.answer(snapshot(5));
  await pass(5_000);
  assert.deepEqual(told.filter((word) => word !== 1), ["offline", "live"]);
  assert.deepEqual(asked, []);
});

test("a socket that dies as often as it opens does not make the words flicker", async () => {
  const { told, pass } = await live();
  for (let round = 0; round < 10; round += 1) {
    Line.last.onclose();
    const before = Line.opened.length;
    while (Line.opened.length === before) await pass(250);
    Line.last.accept();
    Line.last.answer(snapshot(5));
    await pass(1_000);
  }
  const words = told.filter((word) => typeof word === "string");
  assert.ok(words.length <= 8, words.join(" "));
  assert.equal(words.at(-1), "polling");
});

test("gaps bring one snapshot, which ends them", async () => {
  const { store, pass } = await live();
  for (const version of [8, 9, 10]) {
    Line.last.tell("seat:status:changed", { from_version: version - 1, version, changes: { A1: "locked" } });
  }
  await pass(500);
  assert.equal(Line.last.sent.length, 1);
  Line.last.answer(snapshot(10, { A1: "occupied", A2: "available" }));
  Line.last.tell("seat:status:changed", { from_version: 10, version: 11, changes: { A2: "locked" } });
  assert.deepEqual([store.version, store.status("A1"), store.status("A2")], [11, "occupied", "locked"]);
  await pass(2_000);
  assert.equal(Line.last.sent.length, 1);
});

test("a heartbeat ahead of us asks for the snapshot, unless what was missing comes", async () => {
  const { pass } = await live();
  Line.last.tell("heartbeat", { version: 6, viewers: 1 });
  Line.last.tell("seat:status:changed", { from_version: 5, version: 6, changes: { A1: "locked" } });
  await pass(2_000);
  assert.equal(Line.last.sent.length, 0);
  Line.last.tell("heartbeat", { version: 7, viewers: 1 });
  await pass(1_000);
  assert.equal(Line.last.sent.length, 1);
});

test("the socket's snapshot counts, also if its version is lower: the database was put back", async () => {
  const { store } = await live();
  Line.last.tell("seats:availability", snapshot(2, { A1: "locked", A2: "available" }));
  assert.deepEqual([store.version, store.status("A1")], [2, "locked"]);
  Line.last.tell("seat:status:changed", { from_version: 2, version: 3, changes: { A1: "available" } });
  assert.deepEqual([store.version, store.status("A1")], [3, "available"]);
});

test("a poll's, too, if it says less than what was known when it was asked", async () => {
  const { store, answers, pass } = scene();
  answers.push(snapshot(2, { A1: "locked", A2: "available" }));
  Line.last.onclose();
  await pass(2_000);
  assert.deepEqual([store.version, store.status("A1")], [2, "locked"]);
});

test("an answer that was overtaken changes nothing but is asked for once more", async () => {
  const { feed, store, answers, forgotten } = await live();
  answers.push(changes(5, 7, { A1: "locked" }));
  const before = forgotten();
  const done = feed.sync();
  Line.last.tell("seat:status:changed", { from_version: 5, version: 6, changes: { A2: "occupied" } });
  await done;
  assert.deepEqual([store.version, store.status("A1"), store.status("A2")], [6, "available", "occupied"]);
  assert.equal(forgotten(), before + 2);
});

test("that a hold is gone is asked for, and by the socket if that fails", async () => {
  const { asked, answers, pass } = await live();
  answers.push(new Error("away"));
  Line.last.tell("hold:changed", { hold: null });
  await pass(500);
  assert.deepEqual(asked, [5]);
  assert.equal(Line.last.sent.length, 1);
});

test("a seat of ours that is said to be free or sold makes us ask what we hold, once", async () => {
  for (const status of ["available", "occupied"]) {
    const { store, asked, answers, pass } = await live();
    store.learnHold({ hold_id: "h", seats: ["A1"], server_time: TIME }, TIME);
    // The answer to our own request is quicker than the change that it made.
    Line.last.tell("seat:status:changed", { from_version: 5, version: 6, changes: { A2: "locked" } });
    Line.last.tell("seat:status:changed", { from_version: 6, version: 7, changes: { A1: "locked" } });
    await pass(1_000);
    assert.deepEqual(asked, []);
    answers.push(changes(9, 9));
    Line.last.tell("seat:status:changed", { from_version: 7, version: 8, changes: { A1: status } });
    Line.last.tell("seat:status:changed", { from_version: 8, version: 9, changes: { A2: "available" } });
    await pass(1_000);
    assert.deepEqual(asked, [9]);
    assert.equal(store.hold, null);
    assert.equal(store.status("A1"), status);
  }
});

test("the end of a hold is told if it is ours", async () => {
  const { store, told } = await live();
  store.learnHold({ hold_id: "h", seats: ["A1"], server_time: "2026-11-20T21:00:00Z" }, "2026-11-20T21:00:00Z");
  Line.last.tell("hold:expired", { hold_id: "another", seats: ["A2"] });
  Line.last.tell("hold:expired", { hold_id: "h", seats: ["A1"] });
  assert.deepEqual(told, [["h", ["A1"]]]);
});

test("how many look on is told at most every ten seconds", async () => {
  const { told, pass } = await live();
  for (const viewers of [2, 3, 4]) {
    Line.last.tell("heartbeat", { version: 5, viewers });
    await pass(2_000);
  }
  await pass(4_500);
  Line.last.tell("heartbeat", { version: 5, viewers: 5 });
  await pass(10_000);
  const counts = told.filter((word) => typeof word === "number");
  assert.deepEqual(counts, [2, 4, 5]);
});

test("who wakes without a socket asks at once, and with one the socket", async () => {
  const { feed, asked, pass } = await live();
  feed.wake();
  await pass(250);
  assert.equal(Line.last.sent.length, 1);
  assert.deepEqual(asked, []);
  Line.last.onclose();
  feed.wake();
  assert.equal(Line.opened.length, 2);
  await pass(250);
  assert.deepEqual(asked, [5]);
});

test("once closed it asks for nothing, and can be opened again", async () => {
  const { feed, told, asked, pass } = scene();
  Line.last.onclose();
  feed.close();
  feed.wake();
  feed.soon();
  await pass(60_000);
  assert.deepEqual(asked, []);
  assert.equal(Line.opened.length, 1);
  feed.open();
  Line.last.accept();
  Line.last.answer(snapshot(5));
  assert.equal(told.at(-1), "live");
});
