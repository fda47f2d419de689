"""Notices of the provider `demo` that somebody else has written: late, wrong, or forged."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from django.conf import settings

from bookings.models import DemoPayment, PaymentStatus
from bookings.payments.demo import EVENT_TYPES, SIGNATURE_HEADER
from bookings.payments.signatures import signature
from bookings.services import receive_notice

FORGED = "t=1,v1=forged"


def notice(books: DemoPayment, told: str, **wrong: Any) -> bytes:
    said = {"order": books.order, "amount": books.amount, "currency": books.currency, "reference": books.reference}
    said |= wrong
    payment = {"id": said["reference"], "metadata": {"order": said["order"]}}
    payment |= {name: said[name] for name in ("amount", "currency")}
    event = {"id": f"evt_{books.reference}_{told.lower()}", "type": EVENT_TYPES[PaymentStatus(told)]}
    if wrong:
        event["id"] = f"evt_{uuid.uuid4()}"
    return json.dumps({**event, "created": int(time.time()), "data": {"object": payment}}).encode()


def header_of(body: bytes) -> str:
    return signature(secret=settings.DEMO_WEBHOOK_SECRET, body=body, at=int(time.time()))


def send(body: bytes, header: str) -> None:
    receive_notice(provider="demo", body=body, headers={SIGNATURE_HEADER: header})
