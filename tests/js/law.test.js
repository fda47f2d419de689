import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { SeatStore } from "../../static/js/seat-map/store.js";

const read = (name) => JSON.parse(readFileSync(new URL(`../law/${name}`, import.meta.url), "utf8"));

/** The same cases play through the Python client of tests/law. */
function hear(store, { event, data }) {
  switch (event) {
    case "seat:status:changed":
      return store.apply(data);
    case "seats:availability":
      store.replace(data, { final: true });
      return "applied";
    case "answer": {
      if ("changes" in data) return store.catchUp(data);
      const old = data.version < store.version;
      store.replace(data);
      return old ? "old" : "applied";
    }
    case "hold:changed":
      // That there is none has no time; the page asks, and nothing else happens here meanwhile.
      if (data.hold) store.learnHold(data.hold, data.hold.server_time);
      else if (store.hold) store.lapse(store.hold.hold_id);
      return "applied";
    case "hold:expired":
      store.lapse(data.hold_id);
      return "applied";
    default:
      throw new Error(`The store knows no ${event}.`);
  }
}

function shown(store) {
  const { hold } = store;
  return {
    version: store.version,
    on_sale: store.onSale,
    cancelled: store.cancelled,
    seats: Object.fromEntries(store.codes.map((code) => [code, store.status(code)])),
    hold: hold && { hold_id: hold.hold_id, seats: hold.seats, expires_at: hold.expires_at, paying: hold.paying },
  };
}

for (const file of ["cases.json", "odd.json"]) {
  const shared = read(file);
  test(`there are cases in ${file}`, () => assert.ok(shared.length > 20));
  for (const { name, stage, viewer, before, steps, after } of shared) {
    test(`the law: ${[name, stage, viewer].filter(Boolean).join(" – ")}`, () => {
      const store = new SeatStore();
      store.replace(before);
      for (const step of steps) assert.equal(hear(store, step), step.result ?? "applied", JSON.stringify(step));
      assert.deepEqual(shown(store), after);
    });
  }
}
