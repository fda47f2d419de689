import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Countdown } from "../../static/js/seat-map/countdown.js";

const START = Date.parse("2026-11-20T20:00:00Z");
const at = (seconds) => new Date(START + seconds * 1_000).toISOString();
const hold = (left, { now = 0, cap = 2_700, paying = false } = {}) => ({
  hold_id: "h",
  seats: ["A1"],
  paying,
  server_time: at(now),
  expires_at: at(now + left),
  max_expires_at: at(cap),
});

function scene(holdSeconds = 900) {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
  const told = [];
  let now = 0;
  const countdown = new Countdown({
    holdSeconds,
    now: () => now,
    onTick: () => {},
    onWarning: (seconds) => told.push(seconds),
    onEnd: () => told.push("end"),
    extend: () => told.push("extend"),
  });
  const pass = (seconds) => {
    for (let second = 0; second < seconds; second += 1) {
      now += 1_000;
      mock.timers.tick(1_000);
    }
  };
  return { countdown, told, pass };
}

test("it warns once at two minutes and once at thirty seconds, and says the end once", () => {
  const { countdown, told, pass } = scene();
  countdown.follow(hold(900));
  pass(779);
  assert.deepEqual(told, []);
  pass(1);
  assert.deepEqual(told, [120]);
  pass(200);
  assert.deepEqual(told, [120, 30, "end"]);
  assert.equal(countdown.left, 0);
});

test("a hold that is short from the start is warned of once", () => {
  const { countdown, told, pass } = scene(20);
  countdown.follow(hold(20));
  pass(10);
  assert.deepEqual(told, [30]);
});

test("more time takes the warning back, and it is given again", () => {
  const { countdown, told, pass } = scene();
  countdown.follow(hold(121));
  pass(2);
  countdown.follow(hold(900, { now: 2 }));
  pass(781);
  assert.deepEqual(told, [120, 120]);
});

test("the time is the server's, whatever the clock of this machine says", () => {
  const { countdown, pass } = scene();
  const later = hold(60, { now: 86_400, cap: 90_000 });
  countdown.follow(later);
  pass(10);
  assert.equal(countdown.left, 50_000);
});

test("being there keeps the seats, once a minute at most, and only for a gain", () => {
  const { countdown, told, pass } = scene();
  countdown.follow(hold(900));
  countdown.active();
  pass(59);
  countdown.active();
  assert.deepEqual(told, []);
  pass(1);
  countdown.active();
  countdown.active();
  assert.deepEqual(told, ["extend"]);
});

test("at the cap nothing is asked for", () => {
  const { countdown, told, pass } = scene();
  countdown.follow(hold(700, { cap: 700 }));
  pass(100);
  countdown.active();
  assert.equal(countdown.gain, 0);
  assert.equal(countdown.extensible, false);
  assert.equal(countdown.capped, true);
  assert.deepEqual(told, []);
});

test("a hold that is being paid has no countdown", () => {
  const { countdown, told, pass } = scene();
  countdown.follow(hold(10, { paying: true }));
  pass(60);
  assert.deepEqual(told, []);
});
