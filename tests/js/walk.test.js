import assert from "node:assert/strict";
import { test } from "node:test";

import { Walk } from "../../static/js/seat-map/walk.js";

// A wide row, a short one behind an aisle, and a wide one again; the rows do not count their seats from the same place.
const row = (label, xs) => xs.map((x, place) => ({ code: `${label}${place + 1}`, x }));
const room = () => new Walk([row("A", [0, 1, 2, 5, 6]), row("B", [2]), row("C", [0, 1, 2, 3, 4, 5, 6])]);

test("left and right go along the row, over an aisle, and end at its ends", () => {
  const walk = room();
  assert.equal(walk.step("A3", "ArrowRight"), "A4");
  assert.equal(walk.step("A1", "ArrowLeft"), "A1");
  assert.equal(walk.step("A5", "ArrowRight"), "A5");
});

test("up and down go to the nearest seat, and a short row does not bend the way", () => {
  const walk = room();
  assert.equal(walk.step("A5", "ArrowDown"), "B1");
  assert.equal(walk.step("B1", "ArrowDown"), "C7");
  assert.equal(walk.step("C7", "ArrowDown"), "C7");
  assert.equal(walk.step("C7", "ArrowLeft"), "C6");
  assert.equal(walk.step("C6", "ArrowUp"), "B1");
  assert.equal(walk.step("B1", "ArrowUp"), "A4");
});

test("Home and End are the row's, with Ctrl the room's", () => {
  const walk = room();
  assert.equal(walk.step("A3", "Home"), "A1");
  assert.equal(walk.step("A3", "End"), "A5");
  assert.equal(walk.step("B1", "End", true), "C7");
  assert.equal(walk.step("B1", "Home", true), "A1");
});

test("other keys lead nowhere", () => {
  assert.equal(room().step("A1", "x"), undefined);
  assert.equal(room().step("A1", "Enter"), undefined);
});
