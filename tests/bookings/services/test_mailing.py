"""What a buyer is told by mail: each thing once, in order, with a link that any browser may open."""

from __future__ import annotations

import datetime as dt
import re
import smtplib
from typing import Any

import pytest
from django.core.mail import EmailMultiAlternatives
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from structlog.testing import capture_logs

from bookings.models import Booking
from bookings.services import (
    cancel_booking,
    cancel_booking_for_house,
    cancel_bookings_of_showtime,
    settle_overdue_payments,
)
from bookings.services.mailing import MAIL, Mail, send_mail, write_mail
from cinebook.core.models import Effect
from cinebook.core.outbox import deliver_effects
from seating.models import Holder, Showtime
from seating.services import cancel_showtime
from tests.support.asking import hold
from tests.support.buying import FlakyDemo, buy, capture_silently, close_window, decide, let_try_again, notify

pytestmark = pytest.mark.django_db(transaction=True)


def written() -> list[str]:
    """Return which mails were written, in order."""
    return [effect.arguments["mail"] for effect in Effect.objects.filter(name=MAIL).order_by("pk")]


def link(mail: Any) -> str:
    """Return the path of the link to the booking."""
    found = re.search(r"http://127\.0\.0\.1:8000(/bookings/\S+)", mail.body)
    assert found
    return found[1]


class TestWhatIsTold:
    def test_bought(self, bought: Booking) -> None:
        assert written() == ["confirmed"]

    def test_bought_on_the_page_of_the_provider_told_three_times(self, pending: Booking) -> None:
        assert written() == []
        decide(pending)
        notify(pending, times=3)
        assert written() == ["confirmed"]

    def test_cancelled(self, bought: Booking) -> None:
        for _twice in range(2):
            cancel_booking(holder_id=bought.holder_id, reference=bought.reference)
        assert written() == ["confirmed", "cancelled", "refunded"]

    def test_the_refund_is_told_when_it_has_worked(self, bought: Booking, provider: FlakyDemo) -> None:
        provider.away = {"refund"}
        cancel_booking(holder_id=bought.holder_id, reference=bought.reference)
        assert written() == ["confirmed", "cancelled"]
        provider.away.clear()
        let_try_again(bought)
        settle_overdue_payments()
        assert written() == ["confirmed", "cancelled", "refunded"]

    def test_given_up_by_somebody_who_looks_at_it(self, pending: Booking) -> None:
        cancel_booking(holder_id=pending.holder_id, reference=pending.reference)
        assert written() == []

    def test_not_paid_in_time_and_paid_after_all(self, pending: Booking) -> None:
        close_window(pending)
        settle_overdue_payments()
        assert written() == ["expired"]
        capture_silently(pending)
        notify(pending)
        assert written() == ["expired", "confirmed"]

    def test_paid_when_the_seats_are_somebody_elses(self, showtime: Showtime, ben: Holder, pending: Booking) -> None:
        close_window(pending)
        settle_overdue_payments()
        hold(showtime, ben, "A1")
        capture_silently(pending)
        notify(pending)
        assert written() == ["expired", "too_late", "refunded"]

    def test_the_house_cancels_a_booking(self, bought: Booking) -> None:
        cancel_booking_for_house(reference=bought.reference)
        assert written() == ["confirmed", "cancelled_by_house", "refunded"]

    def test_the_house_cancels_one_that_is_being_paid(self, pending: Booking) -> None:
        cancel_booking_for_house(reference=pending.reference)
        assert written() == ["cancelled_by_house"]

    def test_the_house_cancels_a_showtime(self, showtime: Showtime, bought: Booking) -> None:
        cancel_showtime(showtime_id=showtime.pk)
        cancel_bookings_of_showtime(showtime_id=showtime.pk)
        settle_overdue_payments()
        assert written() == ["confirmed", "showtime_cancelled", "refunded"]

    def test_what_is_rolled_back_is_not_told(self, bought: Booking, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*given: Any, **more: Any) -> None:
            raise ValueError("a mistake of ours")

        monkeypatch.setattr("bookings.services.purchases._write_payment", fail)
        with pytest.raises(ValueError, match="a mistake"):
            cancel_booking(holder_id=bought.holder_id, reference=bought.reference)
        assert written() == ["confirmed"]


class TestMail:
    def test_it_has_all_that_is_needed_at_the_door(
        self, showtime: Showtime, bought: Booking, mailoutbox: list[EmailMultiAlternatives], settings: Settings
    ) -> None:
        starts_at = dt.datetime(2031, 7, 4, 18, 30, tzinfo=dt.UTC)
        Showtime.objects.update(starts_at=starts_at, ends_at=starts_at + dt.timedelta(hours=2))
        assert deliver_effects() == 1
        [mail] = mailoutbox
        html = str(mail.alternatives[0][0])
        assert mail.to == ["ada@example.org"]
        # On the cinema's clock, which is two hours ahead in summer.
        assert mail.subject == f"Your tickets: {showtime.movie.title}, Friday 4 July, 20:30"
        codes = bought.tickets.values_list("code", flat=True)
        wanted = [
            "Hello Ada Example,", showtime.movie.title, "Friday 4 July 2031, 20:30", showtime.auditorium.name,
            "A1, A2", "€24.00", bought.reference, *codes,
        ]  # fmt: skip
        for text in (mail.body, html):
            assert [word for word in wanted if word not in text] == []
        assert link(mail) in html
        assert "\n\n\n" not in mail.body
        assert mail.extra_headers["Auto-Submitted"] == "auto-generated"

    def test_names_are_no_markup(
        self, showtime: Showtime, bought: Booking, mailoutbox: list[EmailMultiAlternatives]
    ) -> None:
        Booking.objects.update(contact_name="<b>Ada</b> & Ben")
        showtime.movie.title = "Q&A <live>"
        showtime.movie.save()
        deliver_effects()
        [mail] = mailoutbox
        assert "Hello <b>Ada</b> & Ben," in mail.body
        assert "Q&A <live>" in mail.subject
        html = str(mail.alternatives[0][0])
        assert "Hello &lt;b&gt;Ada&lt;/b&gt; &amp; Ben," in html
        assert "Q&amp;A &lt;live&gt;" in html

    def test_one_that_is_sent_twice_says_so_by_its_id(
        self, bought: Booking, mailoutbox: list[EmailMultiAlternatives], settings: Settings
    ) -> None:
        settings.SITE_URL = "https://tickets.example"
        effect = Effect.objects.get()
        deliver_effects()
        send_mail(**effect.arguments, key=str(effect.key))
        ids = [mail.message()["Message-ID"] for mail in mailoutbox]
        assert ids == [f"<{effect.key}@tickets.example>"] * 2

    @pytest.mark.parametrize("mail", Mail)
    def test_each_can_be_written_and_is_one_of_its_own(
        self, mail: Mail, bought: Booking, mailoutbox: list[EmailMultiAlternatives]
    ) -> None:
        Effect.objects.all().delete()
        with transaction.atomic():
            write_mail(reference=bought.reference, mail=mail)
        assert deliver_effects() == 1
        [sent] = mailoutbox
        for text in (sent.subject, sent.body, str(sent.alternatives[0][0])):
            assert bought.showtime.movie.title in text
            assert "{" not in text
        # Tickets that are no longer good are not repeated.
        assert (bought.tickets.all()[0].code in sent.body) is (mail is Mail.CONFIRMED)

    def test_tickets_that_have_ended_before_they_are_sent_are_not_sent(
        self, bought: Booking, mailoutbox: list[EmailMultiAlternatives]
    ) -> None:
        cancel_booking(holder_id=bought.holder_id, reference=bought.reference)
        deliver_effects()
        assert [mail.subject.partition(":")[0] for mail in mailoutbox] == ["Cancelled", "Your money is back"]

    def test_who_paid_too_late_is_offered_seats_that_are_free(
        self, showtime: Showtime, ben: Holder, pending: Booking, mailoutbox: list[EmailMultiAlternatives]
    ) -> None:
        close_window(pending)
        settle_overdue_payments()
        hold(showtime, ben, "A1", "A2", "A3")
        capture_silently(pending)
        notify(pending)
        deliver_effects()
        assert [mail.subject.partition(":")[0] for mail in mailoutbox] == [
            "Not paid in time",
            "Your payment came too late",
            "Your money is back",
        ]
        late = mailoutbox[1]
        assert re.search("[ABC][1-6] and [ABC][1-6] were free when we wrote this", late.body)
        assert f"http://127.0.0.1:8000/showtimes/{showtime.pk}/" in late.body
        assert f"http://127.0.0.1:8000/showtimes/{showtime.pk}/" in str(late.alternatives[0][0])

    def test_nothing_is_offered_of_a_showtime_that_does_not_sell(
        self, showtime: Showtime, bought: Booking, mailoutbox: list[EmailMultiAlternatives]
    ) -> None:
        Showtime.objects.update(sales_close_at=timezone.now())
        send_mail(reference=bought.reference, mail="too_late", key="1")
        assert "were free" not in mailoutbox[0].body

    def test_a_mail_server_that_is_away_is_tried_again_and_nobody_is_named(
        self, bought: Booking, mailoutbox: list[EmailMultiAlternatives], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(self: Any) -> None:
            raise smtplib.SMTPRecipientsRefused({"ada@example.org": (450, b"ada@example.org is busy")})

        with monkeypatch.context() as away, capture_logs() as lines:
            away.setattr(EmailMultiAlternatives, "send", refuse)
            assert deliver_effects() == 0
        assert "SMTPRecipientsRefused" in Effect.objects.get().error
        assert not re.search("ada|Ada|Example", str(lines) + Effect.objects.get().error)
        with connection.cursor() as cursor:
            cursor.execute("UPDATE core_effect SET next_attempt_at = clock_timestamp()")
        assert deliver_effects() == 1
        assert len(mailoutbox) == 1
        assert "ada" not in str(Effect.objects.get().arguments)


class TestLink:
    """A guest who reads their mail on another device is nobody there."""

    def test_it_opens_the_booking_in_any_browser(
        self, bought: Booking, client: Client, mailoutbox: list[EmailMultiAlternatives]
    ) -> None:
        assert client.get(bought.get_absolute_url()).status_code == 404
        deliver_effects()
        opened = client.get(link(mailoutbox[0]), follow=True)
        assert opened.redirect_chain == [(bought.get_absolute_url(), 302)]
        assert bought.tickets.all()[0].code in opened.content.decode()
        assert client.get(bought.get_absolute_url()).status_code == 200
        assert Client().get(bought.get_absolute_url()).status_code == 404

    def test_and_lets_it_be_cancelled(
        self, bought: Booking, client: Client, mailoutbox: list[EmailMultiAlternatives]
    ) -> None:
        deliver_effects()
        client.get(link(mailoutbox[0]))
        assert client.get(f"{bought.get_absolute_url()}cancel/").status_code == 200
        client.post(f"{bought.get_absolute_url()}cancel/")
        bought.refresh_from_db()
        assert bought.status == "REFUNDED"

    def test_one_that_was_not_paid_can_be_looked_at(self, pending: Booking, client: Client) -> None:
        with transaction.atomic():
            write_mail(reference=pending.reference, mail=Mail.CONFIRMED)
        cancel_booking(holder_id=pending.holder_id, reference=pending.reference)
        session = client.session
        session["opened_bookings"] = [pending.reference]
        session.save()
        assert client.get(pending.get_absolute_url()).status_code == 200

    def test_nobody_can_make_one(
        self, showtime: Showtime, ben: Holder, bought: Booking, client: Client, mailoutbox: list[EmailMultiAlternatives]
    ) -> None:
        deliver_effects()
        path = link(mailoutbox[0])
        other = path.replace(bought.reference, buy(hold(showtime, ben, "C1").hold).booking.reference)
        assert other != path
        for forged in (other, path[:-2] + "/", f"{bought.get_absolute_url()}opened/x/", path[:-3] + "%00/"):
            assert client.get(forged).status_code == 404, forged
        assert client.get(bought.get_absolute_url()).status_code == 404

    def test_a_browser_remembers_the_last_twenty(
        self, bought: Booking, client: Client, mailoutbox: list[EmailMultiAlternatives]
    ) -> None:
        session = client.session
        session["opened_bookings"] = [f"BK-{number:010}" for number in range(20)]
        session.save()
        deliver_effects()
        for _again in range(2):
            client.get(link(mailoutbox[0]))
        assert client.session["opened_bookings"] == [*[f"BK-{number:010}" for number in range(1, 20)], bought.reference]
