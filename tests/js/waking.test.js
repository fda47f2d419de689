import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { watchForWaking } from "../../static/js/net/waking.js";

function scene() {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setInterval"] });
  const page = Object.assign(new EventTarget(), { visibilityState: "visible" });
  const window = new EventTarget();
  let clock = 1_000_000;
  let woken = 0;
  watchForWaking(() => (woken += 1), { page, window, now: () => clock });
  const pass = (ms, { asleep = false } = {}) => {
    clock += ms;
    mock.timers.tick(asleep ? 5_000 : ms);
  };
  return { page, window, pass, woken: () => woken };
}

test("a tab that is shown again wakes, one that is hidden does not", () => {
  const { page, woken } = scene();
  page.visibilityState = "hidden";
  page.dispatchEvent(new Event("visibilitychange"));
  assert.equal(woken(), 0);
  page.visibilityState = "visible";
  page.dispatchEvent(new Event("visibilitychange"));
  assert.equal(woken(), 1);
});

test("a network that is back wakes", () => {
  const { window, woken } = scene();
  window.dispatchEvent(new Event("online"));
  assert.equal(woken(), 1);
});

test("a network that is gone wakes, so that a dead line is found", () => {
  const { window, woken } = scene();
  window.dispatchEvent(new Event("offline"));
  assert.equal(woken(), 1);
});

test("a clock that has jumped tells of a machine that slept", () => {
  const { pass, woken } = scene();
  for (let beat = 0; beat < 20; beat += 1) pass(5_000);
  assert.equal(woken(), 0);
  pass(15_001, { asleep: true });
  assert.equal(woken(), 1);
  pass(5_000);
  assert.equal(woken(), 1);
});

test("timers of a hidden tab are slow, and that is no sleep", () => {
  const { page, pass, woken } = scene();
  page.visibilityState = "hidden";
  pass(60_000, { asleep: true });
  assert.equal(woken(), 0);
});
