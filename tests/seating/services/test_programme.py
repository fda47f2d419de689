"""Putting a film on the programme makes its seats, once, from the layout of that day."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from seating.layout import SeatingLayout
from seating.models import Layout, Price, Seat, SeatStatus, ShowtimeSales
from seating.services import make_seats, publish_layout, schedule_showtime
from tests import factories

pytestmark = pytest.mark.django_db


def test_a_showtime_is_made_with_its_seats_prices_and_counter() -> None:
    showtime = factories.make_showtime()

    assert [seat.code for seat in showtime.seats.all()] == SeatingLayout.from_geometry(showtime.layout.geometry).codes
    assert set(showtime.seats.values_list("status", flat=True)) == {SeatStatus.AVAILABLE}
    assert dict(showtime.prices.values_list("category_id", "amount")) == factories.PRICES
    assert (showtime.sales.seq, showtime.sales.sales_open) == (0, True)
    assert showtime.ends_at - showtime.starts_at == dt.timedelta(minutes=100 + 30)


def test_making_seats_again_makes_none_and_touches_none() -> None:
    showtime = factories.make_showtime()
    showtime.seats.filter(code="A1").update(status=SeatStatus.BLOCKED, block_reason="broken")
    ShowtimeSales.objects.filter(showtime=showtime).update(seq=3)

    assert make_seats(showtime=showtime) == 0
    assert showtime.seats.get(code="A1").status == SeatStatus.BLOCKED
    assert ShowtimeSales.objects.get(showtime=showtime).seq == 3


def test_a_showtime_without_seats_gets_them_on_first_use() -> None:
    showtime = factories.make_showtime()
    Seat.objects.filter(showtime=showtime).delete()
    ShowtimeSales.objects.filter(showtime=showtime).delete()

    assert make_seats(showtime=showtime) == 18
    assert ShowtimeSales.objects.filter(showtime=showtime).exists()


def test_a_category_without_a_price_is_refused_and_nothing_is_left() -> None:
    auditorium = factories.AuditoriumFactory()

    with pytest.raises(ValueError, match="no price: premium"):
        factories.make_showtime(auditorium=auditorium, prices={"standard": 1200})
    assert not auditorium.showtimes.exists()
    assert not Price.objects.exists()


def test_a_room_without_a_layout_cannot_show_anything() -> None:
    auditorium = factories.AuditoriumFactory()
    auditorium.layouts.all().delete()

    with pytest.raises(Layout.DoesNotExist):
        factories.make_showtime(auditorium=auditorium)


def test_a_rebuilt_room_leaves_its_showtimes_as_they_are() -> None:
    showtime = factories.make_showtime()
    rebuilt = SeatingLayout.from_drawing("A ss\nB pp", factories.LEGEND)

    layout = publish_layout(auditorium=showtime.auditorium, layout=rebuilt)
    later = factories.make_showtime(auditorium=showtime.auditorium, starts_at=showtime.ends_at)

    assert layout.number == 2
    assert showtime.seats.count() == 18
    assert [seat.code for seat in later.seats.all()] == ["A1", "A2", "B1", "B2"]


def test_the_same_layout_is_not_published_twice() -> None:
    auditorium = factories.AuditoriumFactory()
    same = SeatingLayout.from_drawing(factories.DRAWING, factories.LEGEND)

    assert publish_layout(auditorium=auditorium, layout=same).number == 1
    assert auditorium.layouts.count() == 1


def test_sales_run_from_now_to_the_end_of_the_trailers_unless_told_otherwise() -> None:
    before = timezone.now()
    showtime = schedule_showtime(
        movie=factories.MovieFactory(),
        auditorium=factories.AuditoriumFactory(),
        starts_at=before + dt.timedelta(days=2),
        prices=factories.PRICES,
    )

    assert before <= showtime.sales_open_at <= timezone.now()
    assert showtime.sales_close_at - showtime.starts_at == dt.timedelta(minutes=15)


def test_a_big_room_costs_as_many_statements_as_a_small_one(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    big = factories.AuditoriumFactory(drawing="\n".join(f"{chr(65 + row)} {'s' * 20}" for row in range(20)))
    movie = factories.MovieFactory()

    # Two of them are the savepoint of the step that makes the seats, which has its own outside the transaction.
    with django_assert_num_queries(9):
        schedule_showtime(movie=movie, auditorium=big, starts_at=timezone.now(), prices=factories.PRICES)
