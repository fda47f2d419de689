"""The stand-in for Stripe is as strict, and as unreliable, as the tests need it to be."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.stripe_server import KEY, SECRET, Behaviour, StripeServer, nested


def ask(
    server: StripeServer, method: str, path: str, params: str = "", *, idempotency: str = "", auth: str = KEY
) -> tuple[int, Any, str | None]:
    """Return the status, the body, and whether it says that it is a replay."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(server.address).netloc, timeout=5)
    headers = {"Authorization": f"Bearer {auth}", **({"Idempotency-Key": idempotency} if idempotency else {})}
    try:
        connection.request(method, path, params, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), answer.getheader("Idempotent-Replayed")
    finally:
        connection.close()


def session(amount: int = 2400, **given: Any) -> str:
    return urllib.parse.urlencode(
        {
            "mode": "payment",
            "success_url": "https://house.example/made",
            "client_reference_id": "BK-1",
            "payment_intent_data[metadata][booking]": "BK-1",
            "line_items[0][quantity]": 1,
            "line_items[0][price_data][currency]": "eur",
            "line_items[0][price_data][unit_amount]": amount,
            **given,
        }
    )


def test_nested_parameters_are_read_as_stripe_reads_them() -> None:
    pairs = [("a[b][0][c]", "1"), ("a[b][1][c]", "2"), ("d", "3")]
    assert nested(pairs) == {"a": {"b": [{"c": "1"}, {"c": "2"}]}, "d": "3"}


def test_a_key_names_one_request(server: StripeServer) -> None:
    status, first, replayed = ask(server, "POST", "/v1/checkout/sessions", session(), idempotency="one")
    assert (status, replayed) == (200, None)
    assert ask(server, "POST", "/v1/checkout/sessions", session(), idempotency="one") == (200, first, "true")
    status, error, _ = ask(server, "POST", "/v1/checkout/sessions", session(100), idempotency="one")
    assert (status, error["error"]["type"]) == (400, "idempotency_error")
    assert ask(server, "POST", "/v1/checkout/sessions", session(), idempotency="two")[1]["id"] != first["id"]


def test_what_was_refused_is_not_kept_under_its_key(server: StripeServer) -> None:
    assert ask(server, "POST", "/v1/checkout/sessions", session(1), idempotency="one")[0] == 400
    assert ask(server, "POST", "/v1/checkout/sessions", session(), idempotency="one")[0] == 200


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"mode": ""}, "mode"),
        ({"pay_by": 1}, "pay_by"),
        ({"expires_at": int(time.time()) + 60}, "expires_at"),
        ({"expires_at": int(time.time()) + 90_000}, "expires_at"),
    ],
)
def test_nonsense_is_refused(server: StripeServer, given: dict[str, Any], param: str) -> None:
    status, answer, _ = ask(server, "POST", "/v1/checkout/sessions", session(**given))
    assert (status, answer["error"]["param"]) == (400, param)


def test_strangers_and_unknown_things_are_refused(server: StripeServer) -> None:
    assert ask(server, "POST", "/v1/checkout/sessions", session(), auth="sk_test_other")[0] == 401
    for path in ("/v1/checkout/sessions/cs_none", "/v1/payment_intents/pi_none", "/v1/other"):
        assert ask(server, "GET", path)[0] == 404


def test_money_moves_once(server: StripeServer) -> None:
    made = ask(server, "POST", "/v1/checkout/sessions", session())[1]
    assert ask(server, "POST", f"/v1/checkout/sessions/{made['id']}/expire")[1]["status"] == "expired"
    assert ask(server, "POST", f"/v1/checkout/sessions/{made['id']}/expire")[0] == 400
    server.do(made["id"], "pay")
    paid = ask(server, "POST", "/v1/checkout/sessions", session())[1]
    server.do(paid["id"], "pay")
    shown = ask(server, "GET", f"/v1/checkout/sessions/{paid['id']}?expand[0]=payment_intent")[1]
    assert (shown["payment_status"], shown["payment_intent"]["status"]) == ("paid", "succeeded")
    refund = f"payment_intent={shown['payment_intent']['id']}"
    assert ask(server, "POST", "/v1/refunds", refund)[1]["amount"] == 2400
    assert ask(server, "POST", "/v1/refunds", refund)[1]["error"]["code"] == "charge_already_refunded"
    assert server.books()["orders"] == {"BK-1": {"sessions": 2, "captured": 2400, "refunded": 2400}}


def test_the_page_pays_and_leads_back(server: StripeServer) -> None:
    made = ask(server, "POST", "/v1/checkout/sessions", session())[1]
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(server.address).netloc, timeout=5)
    connection.request("GET", urllib.parse.urlsplit(made["url"]).path)
    answer = connection.getresponse()
    connection.close()
    assert (answer.status, answer.getheader("Location")) == (303, "https://house.example/made")
    assert server.sessions[made["id"]]["payment_status"] == "paid"


@pytest.mark.parametrize(
    ("wrong", "events"),
    [({}, 1), ({"lost": 1.0}, 0), ({"twice": 1.0}, 2), ({"forged": 1.0}, 2), ({"late": 1.0}, 1)],
)
def test_notices_go_wrong_as_they_are_told(server: StripeServer, wrong: dict[str, float], events: int) -> None:
    server.behaviour = Behaviour(notices=wrong)
    made = ask(server, "POST", "/v1/checkout/sessions", session())[1]
    server.do(made["id"], "pay")
    assert len(server.outbox) == events


def test_chance_can_be_repeated() -> None:
    def drawn(seed: int) -> list[str]:
        server = StripeServer(seed=seed, behaviour=Behaviour(faults={"500": 0.3, "drop": 0.3}))
        server._http.server_close()
        return [server.draw_fault() for _ in range(50)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert set(drawn(1)) == {"500", "drop", ""}


def test_a_process_of_its_own_pays_and_tells_by_itself() -> None:
    house = StripeServer()
    port = free_port()
    behaviour = {"outcomes": {"pay": 1.0}}
    argv = ["--port", str(port), "--webhook", f"{house.address}/hook", "--behaviour", json.dumps(behaviour)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.stripe_server", *argv], stdout=subprocess.PIPE, text=True
    )
    try:
        with house.running():
            assert process.stdout
            assert f"127.0.0.1:{port}" in process.stdout.readline()
            there = type("There", (), {"address": f"http://127.0.0.1:{port}"})
            assert ask(there, "POST", "/v1/checkout/sessions", session())[0] == 200  # type: ignore[arg-type]
            deadline = time.monotonic() + 10
            while not (books := control(port, "books"))["deliveries"]:
                assert time.monotonic() < deadline
            assert books["orders"]["BK-1"]["captured"] == 2400
            # The house here knows of no webhook, and says so to whoever shows no key.
            assert books["deliveries"][0]["status"] == 401
            assert control(port, "behaviour", {"secrets": [SECRET, "whsec_new"]})["secrets"] == [SECRET, "whsec_new"]
    finally:
        process.terminate()
        process.wait(5)
        if process.stdout:
            process.stdout.close()


def control(port: int, path: str, said: Any = None) -> Any:
    body = json.dumps(said).encode() if said is not None else None
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/_control/{path}", body, timeout=5) as answer:
        return json.loads(answer.read())
