import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Api, Refused } from "../../static/js/net/api.js";

const json = (status, body, headers = {}) => new Response(JSON.stringify(body), { status, headers });

function scene(...answers) {
  const requests = [];
  const pauses = [];
  const api = new Api({
    showtimeId: 7,
    csrf: () => "token",
    random: () => 0.5,
    sleep: async (ms) => void pauses.push(ms),
    fetch: async (path, init) => {
      requests.push({ path, ...init });
      const answer = answers.shift();
      if (answer instanceof Error) throw answer;
      return answer;
    },
  });
  return { api, requests, pauses };
}

test("a hold goes out as the contract has it", async () => {
  const { api, requests } = scene(json(201, { hold_id: "h" }));
  assert.deepEqual(await api.hold(["A1"]), { hold_id: "h" });
  const [request] = requests;
  assert.equal(request.path, "/api/v1/showtimes/7/seats/lock");
  assert.equal(request.method, "POST");
  assert.equal(request.headers["X-CSRFToken"], "token");
  assert.equal(request.body, '{"seats":["A1"]}');
});

test("where nobody answers it is tried again, at growing pauses, and then given up", async () => {
  const gone = () => new TypeError("network");
  const { api, requests, pauses } = scene(gone(), gone(), gone(), gone());
  await assert.rejects(api.release(["A1"]), (error) => error instanceof Refused && error.code === "unreachable");
  assert.equal(requests.length, 4);
  assert.deepEqual(pauses, [500, 1_000, 2_000]);
});

test("a server that says when to come back is taken at its word", async () => {
  const { api, pauses } = scene(
    json(503, { code: "unavailable", detail: "" }, { "Retry-After": "2" }),
    json(429, { code: "rate_limited", detail: "", retry_after: 3 }),
    json(409, { code: "seat_locked", detail: "", retry_after: 1 }),
    json(200, { hold_id: "h" }),
  );
  await api.extend();
  assert.deepEqual(pauses, [2_125, 3_125, 1_125]);
});

test("a page of a proxy instead of an answer counts as a server that is away", async () => {
  const { api, pauses } = scene(new Response("<html>", { status: 502 }), json(200, { hold_id: "h" }));
  await api.extend();
  assert.equal(pauses.length, 1);
});

test("a refusal carries its sentence and its alternatives, and is final", async () => {
  const { api, requests } = scene(
    json(409, { code: "seat_held", detail: "A1: Held", seats: { A1: "seat_held" }, alternatives: [["A2"]] }),
  );
  await assert.rejects(api.hold(["A1"]), (error) => {
    assert.equal(error.code, "seat_held");
    assert.equal(error.detail, "A1: Held");
    assert.deepEqual(error.alternatives, [["A2"]]);
    return true;
  });
  assert.equal(requests.length, 1);
});

test("what is posted is repeated under one key, and the next thing has another", async () => {
  const { api, requests } = scene(
    new TypeError("network"),
    json(503, { code: "unavailable", detail: "" }, { "Retry-After": "2" }),
    json(201, { hold_id: "h" }),
    json(201, { hold_id: "h" }),
  );
  await api.holdBest(2);
  await api.hold(["A1"]);
  const keys = requests.map((request) => request.headers["Idempotency-Key"]);
  assert.match(keys[0], /^[0-9a-f]{32}$/);
  assert.deepEqual(keys.slice(0, 3), Array(3).fill(keys[0]));
  assert.notEqual(keys[3], keys[0]);
  assert.equal(requests[1].body, requests[0].body);
});

test("what is no POST needs no key", async () => {
  const { api, requests } = scene(json(200, {}), json(200, {}), json(200, {}));
  await api.release(["A1"]);
  await api.extend();
  await api.status(3);
  assert.ok(requests.every((request) => !("Idempotency-Key" in request.headers)));
});

test("the status is asked for by its tag, until that is forgotten", async () => {
  const { api, requests } = scene(
    json(200, { version: 3 }, { ETag: 'W/"3"' }),
    new Response(null, { status: 304 }),
    json(200, { version: 3 }, { ETag: 'W/"3"' }),
  );
  assert.deepEqual(await api.status(1), { version: 3 });
  assert.equal(await api.status(3), null);
  api.forget();
  await api.status(3);
  assert.deepEqual(
    requests.map((request) => request.path.split("/").at(-1)),
    ["status?since=1", "status?since=3", "status?since=3"],
  );
  assert.deepEqual(
    requests.map((request) => request.headers["If-None-Match"]),
    [undefined, 'W/"3"', undefined],
  );
});

test("how the seats stand is asked once: whoever wants to know asks again", async () => {
  const { api, requests, pauses } = scene(new TypeError("network"), json(200, {}));
  await assert.rejects(api.status(3), { code: "unreachable" });
  assert.equal(requests.length, 1);
  assert.deepEqual(pauses, []);
});

test("who knows no version asks for all of them", async () => {
  const { api, requests } = scene(json(200, { version: 3 }, { ETag: 'W/"3"' }), new Response(null, { status: 304 }));
  await api.status();
  assert.equal(await api.status(), null);
  assert.deepEqual(
    requests.map((request) => request.path),
    Array(2).fill("/api/v1/showtimes/7/seats/status"),
  );
});

test("a request that hangs ends after eight seconds", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  let asked = 0;
  const api = new Api({
    showtimeId: 7,
    csrf: () => "",
    sleep: async () => {},
    fetch: (path, { signal }) => {
      asked += 1;
      return new Promise((_, refuse) => signal.addEventListener("abort", () => refuse(signal.reason)));
    },
  });
  const givenUp = assert.rejects(api.holdBest(2), { code: "unreachable" });
  mock.timers.tick(7_999);
  await new Promise(setImmediate);
  assert.equal(asked, 1);
  mock.timers.tick(1);
  for (let attempt = 2; attempt <= 4; attempt += 1) {
    await new Promise(setImmediate);
    mock.timers.tick(8_000);
  }
  await givenUp;
  assert.equal(asked, 4);
  mock.timers.reset();
});

test("what is under way when the page is left is given up, and not tried again", async () => {
  let asked = 0;
  const api = new Api({
    showtimeId: 7,
    csrf: () => "",
    fetch: (path, { signal }) => {
      asked += 1;
      return new Promise((_, refuse) => signal.addEventListener("abort", () => refuse(signal.reason)));
    },
  });
  const hold = api.hold(["A1"]);
  api.close();
  await assert.rejects(hold);
  assert.equal(asked, 1);
});
