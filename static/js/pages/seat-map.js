import { Api } from "../net/api.js";
import { LiveSocket } from "../net/socket.js";
import { Status, Told } from "../protocol.js";
import { Countdown } from "../seat-map/countdown.js";
import { sayGoodbye } from "../seat-map/leaving.js";
import { Notices } from "../seat-map/notices.js";
import { ChoicePanel } from "../seat-map/panel.js";
import { Selection } from "../seat-map/selection.js";
import { SeatStore } from "../seat-map/store.js";
import { SeatMapView } from "../seat-map/view.js";
import { byId, Words } from "../words.js";

/** @import { Frame, Hold } from "../protocol.js" */

const map = byId("seat-map");
const showtimeId = Number(map.dataset.showtime);
const words = new Words(/** @type {HTMLTemplateElement} */ (byId("words")), {
  language: document.documentElement.lang,
  currency: map.dataset.currency,
  timeZone: map.dataset.timeZone,
});
const csrf = () => /(?:^|; )csrftoken=([^;]*)/.exec(document.cookie)?.[1] ?? "";

const store = new SeatStore();
const api = new Api({ showtimeId, csrf, onWait: () => notices.toast(words.say("waiting")) });
const selection = new Selection({
  store,
  api,
  onPending: (codes) => view.render(codes),
  onHeld(codes, hold) {
    notices.clear();
    notices.announce(words.say("held", { seats: words.together(codes), total: words.money(hold.total) }));
    if (codes.length > 1) view.reveal(codes);
    pollSoon();
  },
  onReleased(codes) {
    notices.clear();
    if (codes.length > 0) notices.announce(words.say("released", { seats: words.together(codes) }));
    pollSoon();
  },
  onRefused(refused, codes) {
    notices.clear();
    notices.refuse(refused, codes);
    synchronise();
  },
});
const view = new SeatMapView({
  map,
  store,
  selection,
  words,
  onPick: pick,
  onZoom: () => notices.announce(words.say("zoomed")),
});
const panel = new ChoicePanel({ words, view });
const notices = new Notices({
  words,
  describe: (codes) => [...new Set(codes.map((code) => `${view.sort(code)} ${view.price(code)}`))].join(", "),
  onTake(codes) {
    view.reveal(codes);
    view.focus(codes[0]);
    selection.hold(codes);
  },
  onKeep: extend,
  onDone: (code) => view.focus(code),
});
const countdown = new Countdown({
  holdSeconds: Number(map.dataset.holdSeconds),
  onTick: (ms) => panel.tick(ms),
  onWarning: warn,
  onEnd(hold) {
    lapse(hold.hold_id, hold.seats);
    synchronise();
  },
  extend,
});

/** @type {string | null} the hold whose end was told */
let lapsed = null;
let shown = /** @type {Hold | null | undefined} */ (undefined);

store.replace({
  showtime_id: showtimeId,
  version: Number(map.dataset.version),
  server_time: map.dataset.visitedAt,
  on_sale: !("closed" in map.dataset),
  cancelled: false,
  seats: /** @type {any} */ (view.read()),
  hold: JSON.parse(byId("choice").dataset.hold),
});
store.subscribe((codes) => {
  showSale();
  view.render(codes);
  showHold();
});
panel.closed = !store.onSale;
view.render(store.codes);
showHold();

/** The house stops selling, sells again, or cancels the showtime: what can be done here changes, and the page says why. */
function showSale() {
  const closed = !store.onSale;
  const told = closed ? words.say(store.cancelled ? "sale-cancelled" : "sale-closed") : words.say("sale-open");
  if (closed === panel.closed && (!store.cancelled || byId("sale").textContent === told)) return;
  map.toggleAttribute("data-closed", closed);
  byId("sale").hidden = !closed;
  byId("sale").textContent = closed ? told : "";
  byId("best").hidden = closed;
  panel.closed = closed;
  panel.render(store.hold);
  notices.clear();
  notices.announce(told);
}

function showHold() {
  const hold = store.hold;
  if (hold === shown) return;
  const before = shown;
  const left = countdown.left;
  shown = hold;
  countdown.follow(hold);
  panel.render(hold);
  if (hold && !hold.paying) panel.tick(countdown.left);
  if (hold) {
    lapsed = null;
    notices.forgive();
  }
  if (!hold || countdown.left > 120_000) notices.calm();
  if (before && !hold) miss(before, left);
}

/**
 * The hold is gone. Who let it go themselves or bought it knows; else its time was over, or the house has taken it back.
 * @param {Hold} hold @param {number} left  ms that it had
 */
function miss(hold, left) {
  if (selection.busy || lapsed === hold.hold_id) return;
  if (hold.seats.every((code) => store.status(code) === Status.OCCUPIED)) return;
  if (left <= 0) {
    lapse(hold.hold_id, hold.seats);
    return;
  }
  notices.toast(words.say("lost", { seats: words.together(hold.seats) }));
}

/** @param {string} code */
function pick(code) {
  // Also a seat that looks taken is asked for: the server knows better, and what else is near.
  if ("closed" in map.dataset && store.status(code) !== Status.SELECTED) return;
  selection.toggle(code);
}

async function extend() {
  try {
    const hold = await api.extend();
    store.learnHold(hold, hold.server_time);
    if (!byId("warning").hidden) {
      notices.calm();
      notices.announce(words.say("kept", { time: words.time(hold.expires_at) }));
    }
  } catch {
    synchronise();
  }
}

function warn() {
  if (countdown.capped) {
    notices.warn(words.say("warn-last", { time: words.time(store.hold.max_expires_at) }), false);
  } else if (countdown.left > 110_000) {
    notices.warn(words.say("warn-minutes"), true);
  } else {
    notices.warn(words.say("warn-seconds", { count: Math.ceil(countdown.left / 1_000) }), true);
  }
}

/** @param {string} holdId @param {string[]} codes */
function lapse(holdId, codes) {
  if (lapsed === holdId) return;
  lapsed = holdId;
  store.lapse(holdId);
  const gone = [Status.OCCUPIED, Status.BLOCKED];
  notices.lapse(
    codes,
    codes.filter((code) => !gone.includes(/** @type {any} */ (store.status(code)))),
  );
}

// --- The server's news: by the socket, or asked for every few seconds while there is none ---------------------------

const pollMs = Number(map.dataset.pollSeconds) * 1_000;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let pollTimer;
let live = false;

const socket = new LiveSocket({
  url: `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/seats/`,
  showtimeId,
  onFrame: receive,
  onState(isLive) {
    live = isLive;
    if (live) {
      clearTimeout(pollTimer);
      pollTimer = undefined;
      connection("live");
    } else if (!pollTimer) {
      // A line that cannot be had again does not make the polls come faster.
      pollSoon();
    }
  },
});

/** @param {Frame} frame */
function receive({ event, data }) {
  if (data?.showtime_id !== showtimeId) return;
  switch (event) {
    case Told.AVAILABILITY:
      store.replace(data);
      break;
    case Told.CHANGED:
      if (store.apply(data) === "gap") socket.join();
      break;
    case Told.HEARTBEAT:
      // What is on its way may still arrive.
      if (data.version > store.version) setTimeout(() => data.version > store.version && socket.join(), 500);
      break;
    case Told.HOLD_CHANGED:
      // That there is no hold has no time: it may be older than an answer of our own.
      if (data.hold) store.learnHold(data.hold, data.hold.server_time);
      else synchronise();
      break;
    case Told.HOLD_EXPIRED:
      if (store.hold?.hold_id === data.hold_id) lapse(data.hold_id, data.seats);
      break;
  }
}

/** Ask how everything stands. @returns {Promise<string | null>} the server's time, if it had news */
async function synchronise() {
  try {
    api.forget();
    const snapshot = await api.status();
    if (snapshot) store.replace(snapshot);
    return snapshot?.server_time ?? null;
  } catch {
    return null;
  }
}

function pollSoon() {
  if (live) return;
  clearTimeout(pollTimer);
  pollTimer = setTimeout(poll, 0);
}

async function poll() {
  try {
    const snapshot = await api.status();
    if (snapshot) store.replace(snapshot);
    if (!live) connection("polling");
  } catch {
    if (!live) connection("offline");
  }
  clearTimeout(pollTimer);
  pollTimer = live ? undefined : setTimeout(poll, pollMs);
}

/** @param {"live" | "polling" | "offline" | "connecting"} state */
function connection(state) {
  const line = byId("connection");
  line.dataset.state = state;
  line.textContent = words.say(state, { seconds: pollMs / 1_000 });
}

connection("connecting");
socket.open();

// --- What the person does -------------------------------------------------------------------------------------------

document.addEventListener("submit", (event) => {
  const button = /** @type {HTMLButtonElement | null} */ (event.submitter);
  switch (button?.name) {
    case "release":
      selection.release([button.value]);
      break;
    case "release_all":
      selection.releaseAll();
      break;
    case "best":
      selection.holdBest(Number(/** @type {HTMLSelectElement} */ (byId("best-quantity")).value));
      break;
    case "take":
      selection.hold(button.value.split(" "));
      document.getElementById("refusal")?.remove();
      break;
    default:
      return;
  }
  event.preventDefault();
});

for (const id of ["checkout", "bar-checkout"]) {
  byId(id).addEventListener("click", async (event) => {
    if (!selection.busy || event.ctrlKey || event.metaKey) return;
    // What was picked last shall come along.
    event.preventDefault();
    await selection.settled();
    if (store.hold) location.assign(byId(id).getAttribute("href"));
  });
}

for (const kind of ["pointerdown", "pointermove", "keydown", "scroll"]) {
  addEventListener(kind, () => countdown.active(), { passive: true, capture: true });
}

document.addEventListener("visibilitychange", () => {
  // Timers and sockets may have slept.
  if (document.visibilityState === "visible") synchronise();
});

sayGoodbye({
  address: map.dataset.leave,
  visitedAt: map.dataset.visitedAt,
  csrf,
  holds: () => selection.busy || Boolean(store.hold && !store.hold.paying),
  onLeave() {
    clearTimeout(pollTimer);
    socket.close();
    api.close();
  },
  async onReturn() {
    connection("connecting");
    live = false;
    socket.open();
    return synchronise();
  },
});
