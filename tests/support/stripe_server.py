"""A server that speaks as Stripe does, as far as CineBook listens: sessions, their page, refunds, and signed notices.

It is standard library only, and does without CineBook: a test starts it in a thread, a soak as a process.

    python -m tests.support.stripe_server --port 8700 --webhook http://127.0.0.1:8000/api/v1/payments/stripe/webhook

What it shall do wrong is said by `Behaviour`, at the start or later:

    GET  /_control/books               what each order has paid and got back, every session, every notice that was sent
    POST /_control/behaviour           JSON: fields of `Behaviour` to change
    POST /_control/sessions/<id>/<do>  `pay`, `process` (paid by a slow bank), `succeed`, `fail` (that bank's answer)
    POST /_control/refunds/<id>/<end>  `succeeded`, `failed`

The page of a session, `/pay/<id>`, pays at once, unless `visit` says otherwise; POST `do=…` there does as above.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import hashlib
import hmac
import http.client
import http.server
import itertools
import json
import random
import re
import socket
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

KEY = "sk_test_local"
SECRET = "whsec_local"
HALF_AN_HOUR, A_DAY = 1800, 86_400
KNOWN = {
    "mode", "client_reference_id", "metadata", "payment_intent_data", "line_items", "expires_at", "success_url",
    "cancel_url", "expand", "customer_email", "adaptive_pricing",
}  # fmt: skip
# How often a notice that was not taken is sent again, and how long after each attempt, in seconds.
ATTEMPTS, AGAIN_AFTER = 8, 1.0


@dataclasses.dataclass
class Behaviour:
    """What it does by itself, and what it does wrong. Numbers of kinds below are probabilities, from 0 to 1.

    `visit` is what a visit to the page does. `outcomes` are what sessions do that nobody visits, `after` so many
    seconds from the first number to the second; what is missing to 1 does nothing. `notices`: `lost`, `late` (by up to
    `late_seconds`), `twice`, `forged` (before the true one, by a secret that is none), `reordered` (after the next
    one). `faults` of answers: `stall` (for `stall_seconds`), `drop` (the connection closes before anything is done),
    `500`, `429`, `die` (the work is done, but the connection closes before the answer). `next_faults` come first, one
    for each request; `none` is one of them, too.
    """

    visit: str = "pay"
    outcomes: dict[str, float] = dataclasses.field(default_factory=dict)
    after: tuple[float, float] = (0.0, 0.0)
    bank_seconds: float = 1.0
    notices: dict[str, float] = dataclasses.field(default_factory=dict)
    late_seconds: float = 5.0
    faults: dict[str, float] = dataclasses.field(default_factory=dict)
    next_faults: list[str] = dataclasses.field(default_factory=list)
    stall_seconds: float = 30.0
    # What notices are signed by, each; two while the secret is being changed.
    secrets: list[str] = dataclasses.field(default_factory=lambda: [SECRET])
    # What refunds are made as: `succeeded`, `pending` or `failed`.
    refunds: str = "succeeded"


class Refused(Exception):  # noqa: N818 - it is an answer
    """An answer that is an error, in Stripe's words."""

    def __init__(self, status: int, message: str, **error: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"type": "invalid_request_error", "message": message, **error}}


class StripeServer:
    """The server, and its books.

    Args:
        port: 0 for any.
        webhook: where notices go; without it they are kept in `outbox`, as pairs of a body and its headers.
        seed: of its chances.
    """

    def __init__(
        self, *, port: int = 0, webhook: str = "", seed: int = 0, behaviour: Behaviour | None = None, key: str = KEY
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        self.key = key
        self.webhook = webhook
        self.outbox: list[tuple[bytes, dict[str, str]]] = []
        self.requests: list[tuple[str, str]] = []
        self.sessions: dict[str, dict[str, Any]] = {}
        self.intents: dict[str, dict[str, Any]] = {}
        self.refunds: dict[str, dict[str, Any]] = {}
        self.deliveries: list[dict[str, Any]] = []
        self._answered: dict[str, tuple[str, int, dict[str, Any]]] = {}
        self._under_way: set[str] = set()
        self._held_back: list[tuple[bytes, dict[str, str]]] = []
        self._numbers = itertools.count(1)
        self._chance = random.Random(seed)  # noqa: S311 - it must be repeatable
        self._name = f"{seed:x}{time.time_ns():x}"
        self._lock = threading.RLock()
        self._stopped = threading.Event()
        self._http = _Http(self, port)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._http.shutdown()
        self._http.server_close()

    @contextlib.contextmanager
    def running(self) -> Iterator[StripeServer]:
        self.start()
        try:
            yield self
        finally:
            self.stop()

    def books(self) -> dict[str, Any]:
        """What a checker compares: money by order, in minor units as Stripe counts them."""
        with self._lock:
            orders: dict[str, dict[str, int]] = {}
            for session in self.sessions.values():
                order = orders.setdefault(session["client_reference_id"], {"sessions": 0, "captured": 0, "refunded": 0})
                order["sessions"] += 1
                if session["payment_status"] == "paid":
                    order["captured"] += session["amount_total"]
            for refund in self.refunds.values():
                if refund["status"] == "succeeded":
                    orders[self.intents[refund["payment_intent"]]["metadata"]["booking"]]["refunded"] += refund[
                        "amount"
                    ]
            return copy.deepcopy(
                {"orders": orders, "sessions": list(self.sessions.values()), "deliveries": self.deliveries}
            )

    # --- What happens to sessions -------------------------------------------------------------------------------------

    def do(self, session_id: str, what: str) -> None:
        """Let a buyer `pay`, or `process` by a slow bank, which lets it `succeed` or `fail` in the end."""
        with self._lock:
            session = self._session(session_id)
            intent = self.intents.get(session["payment_intent"] or "")
            if what in ("pay", "process") and session["status"] == "open":
                intent = self._intent(session, "succeeded" if what == "pay" else "processing")
                session |= {"status": "complete", "url": None, "payment_intent": intent["id"]}
                if what == "pay":
                    session["payment_status"] = "paid"
                self._tell("checkout.session.completed", session)
            elif what in ("succeed", "fail") and intent and intent["status"] == "processing":
                good = what == "succeed"
                intent["status"] = "succeeded" if good else "requires_payment_method"
                session["payment_status"] = "paid" if good else "unpaid"
                self._tell(f"checkout.session.async_payment_{'succeeded' if good else 'failed'}", session)

    def end_refund(self, refund_id: str, status: str) -> None:
        """Let a refund come to `succeeded` or `failed`, also one that was called `succeeded` before, as banks do."""
        with self._lock:
            refund = self.refunds[refund_id]
            refund["status"] = status
            self._tell("refund.updated", refund)
            if status == "failed":
                self._tell("refund.failed", refund)

    def _intent(self, session: dict[str, Any], status: str) -> dict[str, Any]:
        intent = {
            "id": self._id("pi"),
            "object": "payment_intent",
            "amount": session["amount_total"],
            "currency": session["currency"],
            "metadata": session["_intent_metadata"],
            "status": status,
        }
        self.intents[intent["id"]] = intent
        return intent

    def _run_itself(self, session_id: str) -> None:
        """Let a session do what nobody has to do for it."""
        drawn = self._draw(self.behaviour.outcomes)
        if not drawn:
            return
        begins, ends = self.behaviour.after
        self._later(begins + self._chance.random() * (ends - begins), lambda: self._outcome(session_id, drawn))

    def _outcome(self, session_id: str, what: str) -> None:
        if what in ("pay", "process"):
            self.do(session_id, what)
        else:
            self.do(session_id, "process")
            self._later(self.behaviour.bank_seconds, lambda: self.do(session_id, what))

    def _session(self, session_id: str) -> dict[str, Any]:
        session = self.sessions.get(session_id)
        if session is None:
            raise Refused(404, f"No such checkout.session: '{session_id}'", code="resource_missing", param="session")
        if session["status"] == "open" and session["expires_at"] <= time.time():
            self._expire(session)
        return session

    def _expire(self, session: dict[str, Any]) -> None:
        session |= {"status": "expired", "url": None}
        self._tell("checkout.session.expired", session)

    # --- What is asked over the wire ----------------------------------------------------------------------------------

    def answer(self, method: str, path: str, params: dict[str, Any]) -> dict[str, Any]:
        """Do what a request asks."""
        with self._lock:
            self.requests.append((method, path))
            for (wanted, pattern), do in self._routes().items():
                found = re.fullmatch(pattern, path)
                if found and wanted == method:
                    return do(*found.groups(), params)
        raise Refused(404, f"Unrecognized request URL ({method}: {path}).")

    def _routes(self) -> dict[tuple[str, str], Callable[..., dict[str, Any]]]:
        return {
            ("POST", "/v1/checkout/sessions"): self._create_session,
            ("GET", "/v1/checkout/sessions/([^/]+)"): lambda name, params: self._shown(self._session(name), params),
            ("POST", "/v1/checkout/sessions/([^/]+)/expire"): self._expire_session,
            ("GET", "/v1/payment_intents/([^/]+)"): lambda name, _params: self._found_intent(name),
            ("GET", "/v1/refunds"): self._list_refunds,
            ("POST", "/v1/refunds"): self._create_refund,
        }

    def _create_session(self, params: dict[str, Any]) -> dict[str, Any]:
        unknown = params.keys() - KNOWN
        if unknown:
            name = min(unknown)
            raise Refused(400, f"Received unknown parameter: {name}", code="parameter_unknown", param=name)
        now = time.time()
        for name in ("mode", "success_url", "line_items"):
            if not params.get(name):
                raise Refused(400, f"Missing required param: {name}.", code="parameter_missing", param=name)
        expires_at = int(params.get("expires_at", now + A_DAY))
        if not now + HALF_AN_HOUR <= expires_at <= now + A_DAY:
            raise Refused(
                400, "`expires_at` must be between 30 minutes and 24 hours from Checkout Session creation.",
                param="expires_at",
            )  # fmt: skip
        items = [(int(item["quantity"]), item["price_data"]) for item in params["line_items"]]
        currencies = {price["currency"] for _quantity, price in items}
        if len(currencies) != 1 or not all(re.fullmatch("[a-z]{3}", currency) for currency in currencies):
            raise Refused(400, "Invalid currency.", param="line_items[0][price_data][currency]")
        total = sum(quantity * int(price["unit_amount"]) for quantity, price in items)
        if 0 < total < 50:
            raise Refused(400, "The Checkout Session's total amount must convert to at least 50 cents.",
                          code="amount_too_small")  # fmt: skip
        session_id = self._id("cs_test")
        session = {
            "id": session_id,
            "object": "checkout.session",
            "amount_subtotal": total,
            "amount_total": total,
            "cancel_url": params.get("cancel_url"),
            "client_reference_id": params.get("client_reference_id"),
            "created": int(now),
            "currency": currencies.pop(),
            "expires_at": expires_at,
            "livemode": False,
            "metadata": params.get("metadata", {}),
            "mode": params["mode"],
            "payment_intent": None,
            "payment_status": "unpaid" if total else "no_payment_required",
            "status": "open",
            "success_url": params["success_url"],
            "url": f"{self.address}/pay/{session_id}",
            "_intent_metadata": params.get("payment_intent_data", {}).get("metadata", {}),
        }
        self.sessions[session_id] = session
        self._run_itself(session_id)
        return self._shown(session, params)

    def _expire_session(self, name: str, params: dict[str, Any]) -> dict[str, Any]:
        session = self._session(name)
        if session["status"] != "open":
            status = session["status"]
            raise Refused(400, f'Only Checkout Sessions with a status in ["open"] can be expired, not {status}.')
        self._expire(session)
        return self._shown(session, params)

    def _found_intent(self, name: str) -> dict[str, Any]:
        if name not in self.intents:
            raise Refused(404, f"No such payment_intent: '{name}'", code="resource_missing", param="intent")
        return self.intents[name]

    def _list_refunds(self, params: dict[str, Any]) -> dict[str, Any]:
        wanted = params.get("payment_intent")
        data = [refund for refund in self.refunds.values() if wanted in (None, refund["payment_intent"])]
        return {"object": "list", "url": "/v1/refunds", "has_more": False, "data": data[::-1]}

    def _create_refund(self, params: dict[str, Any]) -> dict[str, Any]:
        intent = self._found_intent(params.get("payment_intent", ""))
        live = [r for r in self._list_refunds({"payment_intent": intent["id"]})["data"] if r["status"] != "failed"]
        left = intent["amount"] - sum(refund["amount"] for refund in live)
        if intent["status"] != "succeeded":
            raise Refused(400, "This PaymentIntent does not have a successful charge to refund.")
        if left <= 0:
            raise Refused(400, "Charge has already been refunded.", code="charge_already_refunded")
        amount = int(params.get("amount", left))
        if amount > left:
            raise Refused(400, "Refund amount is greater than unrefunded amount on charge.", param="amount")
        refund = {
            "id": self._id("re"),
            "object": "refund",
            "amount": amount,
            "currency": intent["currency"],
            "metadata": params.get("metadata", {}),
            "payment_intent": intent["id"],
            "status": self.behaviour.refunds,
        }
        self.refunds[refund["id"]] = refund
        self._tell("refund.created", refund)
        return refund

    def _shown(self, session: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
        shown = {name: value for name, value in session.items() if not name.startswith("_")}
        if "payment_intent" in params.get("expand", []) and shown["payment_intent"]:
            shown["payment_intent"] = self.intents[shown["payment_intent"]]
        return copy.deepcopy(shown)

    def once(self, key: str, fingerprint: str, work: Callable[[], dict[str, Any]]) -> tuple[int, dict[str, Any], bool]:
        """Return the status and the body of an answer, and whether it was given before under the same key."""
        with self._lock:
            if key and key in self._answered:
                known, status, body = self._answered[key]
                if known != fingerprint:
                    raise Refused(
                        400, "Keys for idempotent requests can only be used with the same parameters they were first "
                        "used with.", type="idempotency_error",
                    )  # fmt: skip
                return status, body, True
            if key in self._under_way:
                raise Refused(409, "There is currently another in-progress request using this Idempotent Key.",
                              code="idempotency_key_in_use", type="idempotency_error")  # fmt: skip
            if key:
                self._under_way.add(key)
        try:
            # What fails its validation is not kept.
            body = copy.deepcopy(work())
            with self._lock:
                if key:
                    self._answered[key] = (fingerprint, 200, body)
            return 200, body, False
        finally:
            with self._lock:
                self._under_way.discard(key)

    # --- Chance, and time ---------------------------------------------------------------------------------------------

    def draw_fault(self) -> str:
        with self._lock:
            if self.behaviour.next_faults:
                return self.behaviour.next_faults.pop(0)
            return self._draw(self.behaviour.faults)

    def pause(self, seconds: float) -> None:
        self._stopped.wait(seconds)

    def _draw(self, kinds: dict[str, float]) -> str:
        """Return one of the kinds, each as often as it is probable; "" for what is left."""
        with self._lock:
            drawn = self._chance.random()
        for kind, probability in kinds.items():
            if drawn < probability:
                return kind
            drawn -= probability
        return ""

    def _later(self, seconds: float, do: Callable[[], Any]) -> None:
        def wait() -> None:
            if not self._stopped.wait(seconds):
                do()

        threading.Thread(target=wait, daemon=True).start()

    def _id(self, prefix: str) -> str:
        return f"{prefix}_{self._name}{next(self._numbers):05d}"

    # --- Notices ------------------------------------------------------------------------------------------------------

    def event(self, kind: str, thing: dict[str, Any]) -> bytes:
        """Return the body of a notice."""
        shown = {name: value for name, value in thing.items() if not name.startswith("_")}
        return json.dumps(
            {
                "id": self._id("evt"),
                "object": "event",
                "api_version": "2026-10-28.endive",
                "created": int(time.time()),
                "livemode": False,
                "type": kind,
                "data": {"object": shown},
            }
        ).encode()

    def signed(self, body: bytes, *secrets: str, age: int = 0) -> tuple[bytes, dict[str, str]]:
        """Return a notice, signed by these secrets, or by those of the behaviour; `age` seconds ago."""
        at = int(time.time()) - age
        digests = [
            hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
            for secret in secrets or self.behaviour.secrets
        ]
        return body, {"Stripe-Signature": ",".join([f"t={at}", *(f"v1={digest}" for digest in digests)])}

    def _tell(self, kind: str, thing: dict[str, Any]) -> None:
        body = self.event(kind, thing)
        wrong = self._draw(self.behaviour.notices)
        if wrong == "lost":
            return
        if wrong == "forged":
            self._send(self.signed(body.replace(b"evt_", b"evt_forged_"), "whsec_guessed"), attempts=1)
        if wrong == "reordered":
            self._held_back.append(self.signed(body))
            # Should no other follow, it leaves by itself.
            self._later(self.behaviour.late_seconds, self._send_held_back)
            return
        delay = self._chance.random() * self.behaviour.late_seconds if wrong == "late" else 0
        for _time in range(2 if wrong == "twice" else 1):
            self._send(self.signed(body), delay=delay)
        self._send_held_back()

    def _send_held_back(self) -> None:
        with self._lock:
            held_back, self._held_back = self._held_back, []
        for notice in held_back:
            self._send(self.signed(notice[0]), delay=0.05)

    def _send(self, notice: tuple[bytes, dict[str, str]], *, delay: float = 0, attempts: int = ATTEMPTS) -> None:
        if self.webhook:
            self._later(delay, lambda: self._deliver(notice, attempts))
        else:
            self.outbox.append(notice)

    def _deliver(self, notice: tuple[bytes, dict[str, str]], attempts: int) -> None:
        """Bring a notice to the webhook, again and again until it is taken; signed anew each time, as Stripe does."""
        body, headers = notice
        for attempt in range(1, attempts + 1):
            status = _post(self.webhook, body, headers)
            self.deliveries.append({"event": json.loads(body)["id"], "attempt": attempt, "status": status})
            if 200 <= status < 300 or attempt == attempts or self._stopped.wait(AGAIN_AFTER * attempt):
                return
            _body, headers = self.signed(body)


def _post(address: str, body: bytes, headers: dict[str, str]) -> int:
    """Return the status of the answer; 0 if there was none."""
    parts = urllib.parse.urlsplit(address)
    assert parts.hostname
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=20)
    try:
        connection.request("POST", parts.path, body, {**headers, "Content-Type": "application/json"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def nested(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Return form-encoded parameters as Stripe reads them: `a[b][0]=c` is {"a": {"b": ["c"]}}."""
    tree: dict[str, Any] = {}
    for name, value in pairs:
        first, *rest = [part.rstrip("]") for part in name.split("[")]
        place = tree
        for part in [first, *rest][:-1]:
            place = place.setdefault(part, {})
        place[[first, *rest][-1]] = value
    return {name: _lists(value) for name, value in tree.items()}


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {name: _lists(one) for name, one in value.items()}
    if all(name.isdigit() for name in inner):
        return [inner[name] for name in sorted(inner, key=int)]
    return inner


class _Http(http.server.ThreadingHTTPServer):
    daemon_threads = True
    # A crowd may come at once.
    request_queue_size = 128

    def __init__(self, stand_in: StripeServer, port: int) -> None:
        self.stand_in = stand_in
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Who stops listening to an answer that stalls is none.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def stand_in(self) -> StripeServer:
        assert isinstance(self.server, _Http)
        return self.server.stand_in

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, *_args: Any) -> None:
        pass

    def _serve(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        if url.path.startswith("/_control/"):
            self._control(url.path, body)
        elif url.path.startswith("/pay/"):
            self._page(url.path.rpartition("/")[2], dict(urllib.parse.parse_qsl(body)))
        else:
            self._api(url.path, f"{url.query}&{body}")

    def _api(self, path: str, encoded: str) -> None:
        fault = self.stand_in.draw_fault()
        if fault == "stall":
            self.stand_in.pause(self.stand_in.behaviour.stall_seconds)
            fault = "drop"
        if fault == "drop":
            self._hang_up()
            return
        try:
            status, answer, replayed = self._answer(path, encoded, fault)
        except Refused as refused:
            status, answer, replayed = refused.status, refused.body, False
        if fault == "die":
            self._hang_up()
        else:
            self._send(status, answer, {"Idempotent-Replayed": "true"} if replayed else {})

    def _answer(self, path: str, encoded: str, fault: str) -> tuple[int, dict[str, Any], bool]:
        if self.headers.get("Authorization") != f"Bearer {self.stand_in.key}":
            raise Refused(401, "Invalid API Key provided.")
        if fault == "500":
            raise Refused(500, "An unknown error occurred.", type="api_error")
        if fault == "429":
            raise Refused(429, "Too many requests hit the API too quickly.", code="rate_limit")
        params = nested(urllib.parse.parse_qsl(encoded, keep_blank_values=True))
        key = self.headers.get("Idempotency-Key", "") if self.command == "POST" else ""
        said = json.dumps([path, params], sort_keys=True)
        return self.stand_in.once(key, said, lambda: self.stand_in.answer(self.command, path, params))

    def _page(self, session_id: str, form: dict[str, str]) -> None:
        try:
            session = self.stand_in.sessions[session_id]
        except KeyError:
            self._send(404, "There is no such page.")
            return
        what = form.get("do", self.stand_in.behaviour.visit)
        self.stand_in.do(session_id, what)
        if session["status"] == "complete":
            self._send(303, "", {"Location": session["success_url"]})
        elif session["status"] == "expired":
            self._send(200, "<p>This page has expired.</p>")
        else:
            self._send(
                200,
                f"<h1>{session['amount_total']} {session['currency']}</h1>"
                f'<form method="post"><button name="do" value="pay">Pay</button></form>'
                f'<a href="{session["cancel_url"]}">Back</a>',
            )

    def _control(self, path: str, body: str) -> None:
        if path == "/_control/books":
            self._send(200, self.stand_in.books())
        elif path == "/_control/behaviour":
            self.stand_in.behaviour = dataclasses.replace(self.stand_in.behaviour, **json.loads(body))
            self._send(200, dataclasses.asdict(self.stand_in.behaviour))
        else:
            _empty, _control, things, name, what = path.split("/")
            act = self.stand_in.end_refund if things == "refunds" else self.stand_in.do
            act(name, what)
            self._send(200, {})

    def _send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        page = isinstance(content, str)
        sent = content.encode() if page else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": "text/html; charset=utf-8" if page else "application/json",
            "Content-Length": str(len(sent)),
            "Request-Id": self.stand_in._id("req"),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(sent)

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def main() -> None:
    """Serve until somebody ends it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8700)
    parser.add_argument("--webhook", default="")
    parser.add_argument("--key", default=KEY)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--behaviour", type=json.loads, default={}, help="JSON: fields of Behaviour")
    given = parser.parse_args()
    server = StripeServer(
        port=given.port, webhook=given.webhook, seed=given.seed, key=given.key, behaviour=Behaviour(**given.behaviour)
    )
    sys.stdout.write(f"Stripe's stand-in listens at {server.address}\n")
    sys.stdout.flush()
    with server.running(), contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


if __name__ == "__main__":
    main()
