import { Api } from "../net/api.js";
import { LiveFeed } from "../net/feed.js";
import { watchForWaking } from "../net/waking.js";
import { Status } from "../protocol.js";
import { Countdown, WARNINGS } from "../seat-map/countdown.js";
import { sayGoodbye } from "../seat-map/leaving.js";
import { Notices } from "../seat-map/notices.js";
import { CHECKOUTS, ChoicePanel } from "../seat-map/panel.js";
import { Selection } from "../seat-map/selection.js";
import { SeatStore } from "../seat-map/store.js";
import { SeatMapView } from "../seat-map/view.js";
import { byId, Words } from "../words.js";

/** @import { Connection } from "../net/feed.js" */
/** @import { Hold } from "../protocol.js" */

const map = byId("seat-map");
const showtimeId = Number(map.dataset.showtime);
const holdSeconds = Number(map.dataset.holdSeconds);
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
    feed.soon();
  },
  onReleased(codes) {
    notices.clear();
    if (codes.length > 0) notices.announce(words.say("released", { seats: words.together(codes) }));
    feed.soon();
  },
  onRefused(refused, codes) {
    notices.clear();
    notices.refuse(refused, codes);
    feed.sync();
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
  onDone(code) {
    view.focus(code);
    if (owesWarning) warn();
  },
});
const countdown = new Countdown({
  holdSeconds,
  onTick: (ms) => panel.tick(ms),
  onWarning: warn,
  onEnd(hold) {
    lapse(hold.hold_id, hold.seats);
    feed.sync();
  },
  extend,
});

/** @type {string | null} the hold whose end was told */
let lapsed = null;
/** Whether a warning waits for an open offer to be answered. */
let owesWarning = false;
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
  panel.render(hold);
  countdown.follow(hold);
  if (hold && !hold.paying) panel.tick(countdown.left);
  if (hold) {
    lapsed = null;
    notices.forgive();
  }
  if (!hold || countdown.left > WARNINGS[0] * 1_000) calm();
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
  const warned = notices.warns;
  try {
    const hold = await api.extend();
    store.learnHold(hold, hold.server_time);
    if (!warned) return;
    calm();
    // Where that was the last time, the answer is not all that there is to say.
    if (countdown.capped && countdown.left <= WARNINGS[0] * 1_000) warn();
    else notices.announce(words.say("kept", { time: words.time(hold.expires_at) }));
  } catch {
    feed.sync();
  }
}

function warn() {
  const seconds = Math.ceil(countdown.left / 1_000);
  const extensible = !countdown.capped;
  const last = words.say("warn-last", { time: words.time(store.hold.max_expires_at) });
  const left = seconds > 110 ? words.say("warn-minutes") : words.say("warn-seconds", { count: seconds });
  const beside = extensible ? words.say("warn-left") : last;
  // Where holds are that short, each pick would be followed by a question.
  const urgent = seconds <= WARNINGS.at(-1) && holdSeconds >= WARNINGS[0];
  owesWarning = !notices.warn(extensible ? left : last, { beside, extensible, urgent });
}

/** There is time again, or nothing left to warn of. */
function calm() {
  owesWarning = false;
  notices.calm();
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

// --- The server's news ------------------------------------------------------------------------------------------------

const pollMs = Number(map.dataset.pollSeconds) * 1_000;

const feed = new LiveFeed({
  url: `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/seats/`,
  showtimeId,
  store,
  api,
  pollMs,
  onConnection: showConnection,
  onViewers: (count) => view.countViewers(count),
  onExpired: lapse,
});

/** @param {Connection} connection */
function showConnection(connection) {
  const line = byId("connection");
  line.dataset.state = connection;
  line.textContent = words.say(connection, { seconds: pollMs / 1_000 });
  if (connection === "live") notices.reached();
}

feed.open();
watchForWaking(() => feed.wake());

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

for (const id of CHECKOUTS) {
  byId(id).addEventListener("click", async (event) => {
    if (!selection.busy || event.ctrlKey || event.metaKey) return;
    // What was picked last shall come along.
    event.preventDefault();
    await selection.settled();
    if (store.hold) location.assign(byId(id).getAttribute("href"));
  });
}

for (const kind of ["pointerdown", "pointermove", "keydown", "scroll"]) {
  // What is done about the question whether to keep the seats is not an answer yet.
  addEventListener(kind, () => notices.asks || countdown.active(), { passive: true, capture: true });
}

sayGoodbye({
  address: map.dataset.leave,
  visitedAt: map.dataset.visitedAt,
  csrf,
  holds: () => selection.busy || Boolean(store.hold && !store.hold.paying),
  onLeave() {
    feed.close();
    api.close();
  },
  onReturn() {
    feed.open();
    return feed.sync();
  },
});
