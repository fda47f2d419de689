import assert from "node:assert/strict";
import { test } from "node:test";

import { Selection } from "../../static/js/seat-map/selection.js";
import { SeatStore } from "../../static/js/seat-map/store.js";

/** A server that answers when it is told to. */
class Server {
  asked = [];
  #second = 1;
  #held = new Set();
  #waiting = [];

  #ask(what, answer) {
    this.asked.push(what);
    return new Promise((accept, refuse) => this.#waiting.push({ accept: () => accept(answer()), refuse }));
  }

  #hold() {
    const time = `2026-11-20T20:00:${String((this.#second += 1)).padStart(2, "0")}Z`;
    return this.#held.size > 0 ? { hold_id: "h", seats: [...this.#held], server_time: time, total: {} } : null;
  }

  hold(seats) {
    return this.#ask(`hold ${seats}`, () => (seats.forEach((code) => this.#held.add(code)), this.#hold()));
  }

  release(seats) {
    return this.#ask(`release ${seats ?? "all"}`, () => {
      const released = seats ?? [...this.#held];
      released.forEach((code) => this.#held.delete(code));
      const hold = this.#hold();
      return { released, hold, server_time: hold?.server_time ?? "2026-11-20T20:01:00Z" };
    });
  }

  holdBest(quantity) {
    const best = ["B1", "B2", "B3"].slice(0, quantity);
    return this.#ask(`best ${quantity}`, () => (best.forEach((code) => this.#held.add(code)), this.#hold()));
  }

  async answer() {
    this.#waiting.shift().accept();
    await new Promise((done) => setImmediate(done));
  }

  async refuse(error) {
    this.#waiting.shift().refuse(error);
    await new Promise((done) => setImmediate(done));
  }
}

async function scene() {
  const store = new SeatStore();
  const seats = Object.fromEntries(["A1", "A2", "B1", "B2", "B3"].map((code) => [code, "available"]));
  store.replace({ version: 1, server_time: "2026-11-20T20:00:00Z", seats, hold: null });
  const server = new Server();
  const told = [];
  const selection = new Selection({
    store,
    api: server,
    onPending: () => {},
    onHeld: (codes) => told.push(`held ${codes}`),
    onReleased: (codes) => told.push(`released ${codes}`),
    onRefused: (error, codes) => told.push(`refused ${codes}: ${error.code}`),
  });
  return { store, server, selection, told, next: () => new Promise((done) => setImmediate(done)) };
}

test("quick picks go out one after the other, in their order", async () => {
  const { server, selection, store, told, next } = await scene();
  selection.toggle("A1");
  selection.toggle("A2");
  selection.toggle("A1");
  await next();
  assert.deepEqual(server.asked, ["hold A1"]);
  assert.equal(selection.pending("A1"), "release");
  await server.answer();
  assert.equal(selection.pending("A1"), "release", "the last wish is not answered yet");
  await server.answer();
  await server.answer();
  assert.deepEqual(server.asked, ["hold A1", "hold A2", "release A1"]);
  assert.deepEqual(told, ["held A1", "held A2", "released A1"]);
  assert.deepEqual(store.hold.seats, ["A2"]);
  assert.equal(selection.pending("A1"), undefined);
  assert.equal(selection.busy, false);
});

test("a refusal rolls the seat back, and what was picked after it goes on", async () => {
  const { server, selection, store, told, next } = await scene();
  selection.toggle("A1");
  selection.toggle("A2");
  await next();
  await server.refuse({ code: "seat_held" });
  assert.equal(selection.pending("A1"), undefined);
  assert.equal(store.status("A1"), "available");
  await server.answer();
  assert.deepEqual(told, ["refused A1: seat_held", "held A2"]);
});

test("the best seats are told without those that were there before", async () => {
  const { server, selection, told, next } = await scene();
  selection.hold(["B1"]);
  await next();
  await server.answer();
  selection.holdBest(2);
  await next();
  await server.answer();
  assert.deepEqual(told, ["held B1", "held B2"]);
});

test("letting all go makes every seat free at once", async () => {
  const { server, selection, store, next } = await scene();
  selection.hold(["A1", "A2"]);
  await next();
  await server.answer();
  selection.releaseAll();
  assert.equal(selection.pending("A1"), "release");
  await next();
  await server.answer();
  assert.equal(store.hold, null);
  assert.equal(store.status("A1"), "available");
});

test("settled waits for the last answer", async () => {
  const { server, selection, next } = await scene();
  let settled = false;
  selection.hold(["A1"]);
  selection.settled().then(() => (settled = true));
  await next();
  assert.equal(settled, false);
  await server.answer();
  await next();
  assert.equal(settled, true);
});
