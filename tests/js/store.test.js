import assert from "node:assert/strict";
import { test } from "node:test";

import { microseconds, SeatStore } from "../../static/js/seat-map/store.js";

const CODES = ["A1", "A2", "A3", "A4", "B1", "B2", "B3", "B4"];
const STATUSES = ["available", "locked", "occupied", "blocked"];

/** The same numbers in every run. */
function numbers(seed) {
  let state = seed;
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * below);
  };
}

const at = (second) => `2026-11-20T20:00:${String(second).padStart(2, "0")}.000001Z`;
const snapshot = (version, seats, hold = null) => ({
  showtime_id: 1,
  version,
  server_time: at(version % 60),
  on_sale: true,
  cancelled: false,
  seats,
  hold,
});
const holding = (seats, second, id = "h1") => ({ hold_id: id, seats, server_time: at(second) });
const change = (from, version, changes) => ({ showtime_id: 1, from_version: from, version, changes });
const seen = (store) => Object.fromEntries(CODES.map((code) => [code, store.status(code)]));
const free = () => Object.fromEntries(CODES.map((code) => [code, "available"]));

function fresh(seats = free(), version = 1) {
  const store = new SeatStore();
  store.replace(snapshot(version, seats));
  return store;
}

test("the law: a snapshot and its events are the next snapshot, whatever is lost, doubled or late", () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    const any = numbers(seed);
    const truth = free();
    const store = fresh({ ...truth });
    const events = [];
    for (let version = 1; version < 40; version += 1) {
      const changes = { [CODES[any(CODES.length)]]: STATUSES[any(4)], [CODES[any(CODES.length)]]: STATUSES[any(4)] };
      Object.assign(truth, changes);
      events.push(change(version, version + 1, changes));
    }
    let now = free();
    let atVersion = 1;
    for (const event of events) {
      now = { ...now, ...event.changes };
      atVersion = event.version;
      const luck = any(10);
      if (luck === 0) continue; // lost
      if (store.apply(event) === "gap") store.replace(snapshot(atVersion, now));
      if (luck === 1) assert.equal(store.apply(event), "old");
      if (luck === 2 && event.version > 5) assert.equal(store.apply(events[event.version - 5]), "old");
      assert.equal(store.version, atVersion);
      assert.deepEqual(seen(store), now);
    }
    store.replace(snapshot(atVersion, now));
    assert.deepEqual(seen(store), truth);
  }
});

test("one frame may carry several versions", () => {
  const store = fresh();
  assert.equal(store.apply(change(1, 4, { A1: "locked", A2: "occupied" })), "applied");
  assert.equal(store.version, 4);
  assert.equal(store.apply(change(2, 5, { A1: "available" })), "gap");
  assert.equal(store.status("A1"), "locked");
});

test("a snapshot that is older than what is known changes nothing", () => {
  const store = fresh();
  store.apply(change(1, 2, { A1: "occupied" }));
  store.replace(snapshot(1, free()));
  assert.equal(store.status("A1"), "occupied");
});

test("the socket's snapshot is taken as it is: a database may have been put back", () => {
  const store = fresh();
  store.apply(change(1, 9, { A1: "occupied" }));
  store.replace(snapshot(3, { ...free(), A2: "locked" }), { final: true });
  assert.deepEqual([store.version, store.status("A1"), store.status("A2")], [3, "available", "locked"]);
  assert.equal(store.apply(change(3, 4, { A1: "locked" })), "applied");
});

const since = (from, version, changes, { second = version, hold = null, ...more } = {}) => {
  const { seats, ...told } = snapshot(version, {}, hold);
  return { ...told, server_time: at(second), ...more, from_version: from, changes };
};

test("what has changed since a version leads on from that version only", () => {
  const store = fresh();
  assert.equal(store.catchUp(since(1, 4, { A1: "locked", A2: "occupied" })), "applied");
  assert.deepEqual([store.version, store.status("A1"), store.status("A2")], [4, "locked", "occupied"]);
  assert.equal(store.catchUp(since(1, 4, { A1: "available" })), "old");
  assert.equal(store.catchUp(since(2, 6, { A1: "available" })), "gap");
  assert.deepEqual([store.version, store.status("A1")], [4, "locked"]);
});

test("the hold and the sale in it are learnt by their time, also where no seat has changed", () => {
  const store = fresh();
  const heard = [];
  store.subscribe((codes) => heard.push([...codes].sort()));
  store.catchUp(since(1, 1, {}, { second: 5, hold: holding(["B1"], 5) }));
  assert.equal(store.status("B1"), "selected");
  store.catchUp(since(1, 1, {}, { second: 4 }));
  assert.equal(store.status("B1"), "selected");
  store.catchUp(since(1, 1, {}, { second: 7, on_sale: false }));
  assert.deepEqual([store.hold, store.onSale], [null, false]);
  assert.deepEqual(heard, [["B1"], ["B1"], CODES]);
});

test("changes that call a seat ours, with no hold, do not take the hold away", () => {
  const store = fresh();
  store.learnHold(holding(["A1"], 1), at(1));
  store.catchUp(since(1, 2, { A1: "selected" }, { second: 9 }));
  assert.equal(store.status("A1"), "selected");
  assert.equal(store.version, 2);
});

test("one's own seats are told by the hold, and a change calls them locked for everybody", () => {
  const store = fresh();
  store.learnHold(holding(["A1"], 2), at(2));
  assert.equal(store.status("A1"), "selected");
  store.apply(change(1, 2, { A1: "locked" }));
  assert.equal(store.status("A1"), "selected");
  store.learnHold(null, at(3));
  assert.equal(store.status("A1"), "locked");
  store.apply(change(2, 3, { A1: "available" }));
  assert.equal(store.status("A1"), "available");
});

test("what is told late of the hold is passed over", () => {
  const store = fresh();
  store.learnHold(holding(["A1", "A2"], 5), at(5));
  store.learnHold(holding(["A1"], 4), at(4));
  store.learnHold(null, at(1));
  assert.deepEqual(store.hold.seats, ["A1", "A2"]);
});

test("a snapshot whose seats and hold contradict each other does not take the hold away", () => {
  const store = fresh();
  store.learnHold(holding(["A1"], 1), at(1));
  store.replace(snapshot(7, { ...free(), A1: "selected" }, null));
  assert.deepEqual(store.hold.seats, ["A1"]);
  store.replace(snapshot(8, free(), null));
  assert.equal(store.hold, null);
});

test("seats that we let go are free at once, unless something newer has been heard of them", () => {
  const store = fresh({ ...free(), A1: "locked", A2: "locked" });
  store.released(["A1"], store.version);
  assert.equal(store.status("A1"), "available");
  const since = store.version;
  store.apply(change(1, 3, { A2: "locked" }));
  store.released(["A2"], since);
  assert.equal(store.status("A2"), "locked");
  store.apply(change(3, 4, { A1: "occupied" }));
  assert.equal(store.status("A1"), "occupied");
});

test("a hold that has run out is nobody's on this map, and only that hold", () => {
  const store = fresh();
  store.learnHold(holding(["A1"], 2), at(2));
  store.lapse("another");
  assert.equal(store.status("A1"), "selected");
  store.lapse("h1");
  assert.equal(store.hold, null);
});

test("listeners hear which seats may look different", () => {
  const store = fresh();
  const heard = [];
  store.subscribe((codes) => heard.push([...codes].sort()));
  store.apply(change(1, 2, { A1: "locked" }));
  store.learnHold(holding(["B1"], 3), at(3));
  store.learnHold(holding(["B2"], 4), at(4));
  assert.deepEqual(heard, [["A1"], ["B1"], ["B1", "B2"]]);
  assert.equal(store.available, CODES.length - 2);
});

test("instants keep their microseconds, with or without a fraction", () => {
  assert.equal(microseconds("1970-01-01T00:00:01Z"), 1_000_000n);
  assert.equal(microseconds("1970-01-01T00:00:01.000002Z"), 1_000_002n);
  assert.equal(microseconds("1970-01-01T01:00:01.5+01:00"), 1_500_000n);
});

test("of two snapshots the one that was read later knows whether seats are sold", () => {
  const store = fresh();
  const told = (second, on_sale, cancelled) =>
    store.replace({ ...snapshot(1, free()), server_time: at(second), on_sale, cancelled });
  told(5, false, false);
  assert.deepEqual([store.onSale, store.cancelled], [false, false]);
  told(4, true, false);
  assert.deepEqual([store.onSale, store.cancelled], [false, false]);
  told(6, true, false);
  assert.deepEqual([store.onSale, store.cancelled], [true, false]);
  told(7, false, true);
  assert.deepEqual([store.onSale, store.cancelled], [false, true]);
});
