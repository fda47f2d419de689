"""The rest of the house in the admin: rooms and their drawings, categories, films, holds and what is only looked at."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from bookings.demo import programme
from cinebook.core.models import User
from seating.drawing import drawing_of, legend_text, read_legend, usual_legend
from seating.layout import LayoutError, SeatingLayout, SeatKind
from seating.models import Auditorium, Hold, Layout, Movie, SeatCategory, SeatEvent, SeatHold
from seating.services import withdraw_hold
from tests import factories
from tests.support.asking import held_codes, hold
from tests.support.ledger import assert_sound
from tests.support.passing_time import start_paying
from tests.support.staff import errors, messages, signed_in

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("deaf")]

LEGEND = "s standard\nw standard wheelchair\nc standard companion\np premium"
# What a page may ask the database, however much there is to show.
ENOUGH = 25


class TestDrawings:
    def test_every_room_of_the_demo_is_drawn_again_as_it_is(self) -> None:
        for room in programme.rooms():
            drawing = drawing_of(room.layout)
            assert drawing is not None, room.slug
            assert drawing.layout() == room.layout
            assert read_legend(legend_text(drawing.legend), room.layout.categories) == drawing.legend

    @pytest.mark.parametrize(
        ("drawing", "geometry"),
        [
            (("rows", 0, "seats", 0, "number"), 7),
            (("rows", 0, "seats", 0, "x"), -0.3),
            (("rows", 0, "seats", 0, "y"), 9.0),
        ],
    )
    def test_a_layout_that_was_not_drawn_has_no_drawing(self, drawing: tuple[Any, ...], geometry: Any) -> None:
        document = SeatingLayout.from_drawing(factories.DRAWING, factories.LEGEND).geometry()
        target: Any = document
        for step in drawing[:-1]:
            target = target[step]
        target[drawing[-1]] = geometry
        assert drawing_of(SeatingLayout.from_geometry(document)) is None

    def test_letters_remind_of_what_they_mean(self) -> None:
        legend = usual_legend(["standard", "sofa"])
        assert legend == {
            "s": ("standard", SeatKind.SEAT),
            "o": ("sofa", SeatKind.SEAT),
            "w": ("standard", SeatKind.WHEELCHAIR),
            "c": ("standard", SeatKind.COMPANION),
        }
        assert usual_legend([]) == {}

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("s", "line 1: write a letter"),
            ("s standard\n\nseat standard", "line 3: write a letter"),
            (". standard", "line 1: write a letter"),
            ("s standard seat extra", "line 1: write a letter"),
            ("s standard\ns premium", "line 2: 's' stands there twice"),
            ("s velvet", "line 1: there is no category 'velvet'"),
            ("s standard throne", "line 1: 'throne' is no kind of seat; say seat, wheelchair, companion, loveseat"),
        ],
    )
    def test_a_legend_that_makes_no_sense_is_refused_with_its_line(self, text: str, reason: str) -> None:
        with pytest.raises(LayoutError, match=re.escape(reason)):
            read_legend(text, ["standard", "premium"])


class TestAuditoriums:
    @pytest.fixture
    def room(self) -> Auditorium:
        return factories.AuditoriumFactory()

    @pytest.fixture
    def url(self, room: Auditorium) -> str:
        return f"/admin/seating/auditorium/{room.pk}/change/"

    def form(self, room: Auditorium, **changes: Any) -> dict[str, Any]:
        drawing = {"drawing": factories.DRAWING.strip("\n").replace("\n", "\r\n"), "legend": LEGEND, "curve": "0"}
        return {"name": room.name, "slug": room.slug, "description": "", **drawing, **changes}

    def test_a_room_is_drawn_and_shown(self, staff: Client, url: str) -> None:
        html = staff.get(url).content.decode()
        assert "A sss.sss\nB wcs.sss\nC ppp.ppp</textarea>" in html
        assert html.count('<rect class="house-seat') == 18
        assert "<title>B1, standard, wheelchair</title>" in html

    def test_saving_it_as_it_is_publishes_nothing(self, staff: Client, room: Auditorium, url: str) -> None:
        response = staff.post(url, self.form(room, name="Ruby"), follow=True)
        assert "changed successfully" in messages(response)
        room.refresh_from_db()
        assert (room.name, room.layouts.count()) == ("Ruby", 1)

    def test_a_new_drawing_is_a_new_layout_and_the_old_one_stays(
        self, staff: Client, room: Auditorium, url: str
    ) -> None:
        showtime = factories.make_showtime(auditorium=room)
        response = staff.post(url, self.form(room, drawing="A ss\r\nB pp", curve="0.5"), follow=True)

        assert "layout 2 has 4 seats" in messages(response)
        assert room.current_layout().number == 2
        assert showtime.layout.number == 1
        assert showtime.seats.count() == 18
        html = staff.get(url).content.decode()
        assert "A ss\nB pp</textarea>" in html
        for layout in room.layouts.all():
            assert f"/admin/seating/layout/{layout.pk}/change/" in html

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"drawing": "A ss\nB sxs"}, "Line 2: Row B: the legend does not say what &#x27;x&#x27; is"),
            ({"drawing": "A ss\nA ss"}, "These seats occur twice: A1, A2"),
            ({"legend": "s velvet"}, "Legend, line 1: there is no category &#x27;velvet&#x27;"),
            ({"curve": "-1"}, "greater than or equal to 0"),
            ({"curve": "nan"}, "Enter a number"),
        ],
    )
    def test_a_drawing_that_makes_no_sense_is_a_form_error(
        self, staff: Client, room: Auditorium, url: str, changes: dict[str, str], reason: str
    ) -> None:
        assert reason in errors(staff.post(url, self.form(room, **changes)))
        assert room.layouts.count() == 1

    def test_one_can_look_before_one_saves(self, staff: Client, room: Auditorium, url: str) -> None:
        response = staff.post(url, self.form(room, name="Ruby", drawing="A ss", _preview="Look"))
        assert "Nothing is saved yet" in messages(response)
        assert not errors(response)
        assert response.content.decode().count('<rect class="house-seat') == 2
        room.refresh_from_db()
        assert room.name != "Ruby"
        assert room.layouts.count() == 1

    def test_a_new_room_needs_a_drawing(self, staff: Client) -> None:
        factories.AuditoriumFactory()
        form = {"name": "Ruby", "slug": "ruby", "drawing": "", "legend": LEGEND, "curve": "0"}
        assert "at least one seat" in errors(staff.post("/admin/seating/auditorium/add/", form))
        staff.post("/admin/seating/auditorium/add/", form | {"drawing": "A sss"})
        assert (
            len(SeatingLayout.from_geometry(Auditorium.objects.get(slug="ruby").current_layout().geometry).seats) == 3
        )

    def test_a_layout_from_elsewhere_is_kept_unless_it_is_drawn_anew(
        self, staff: Client, room: Auditorium, url: str
    ) -> None:
        geometry = room.current_layout().geometry
        geometry["rows"][0]["seats"][0]["x"] = -0.3
        Layout.objects.create(auditorium=room, number=2, geometry=geometry)

        assert "not drawn as text" in staff.get(url).content.decode()
        staff.post(url, self.form(room, drawing=""))
        assert room.layouts.count() == 2
        staff.post(url, self.form(room, drawing="A s"))
        assert room.layouts.count() == 3

    def test_a_room_goes_with_its_layouts_unless_something_was_shown_there(
        self, staff: Client, room: Auditorium
    ) -> None:
        used = factories.make_showtime()
        for auditorium in (room, used.auditorium):
            staff.post(f"/admin/seating/auditorium/{auditorium.pk}/delete/", {"post": "yes"})
        assert list(Auditorium.objects.all()) == [used.auditorium]

    def test_a_viewer_sees_the_plan_and_no_field(self, room: Auditorium, url: str) -> None:
        viewer = signed_in("seating.view_auditorium")
        html = viewer.get(url).content.decode()
        assert html.count('<rect class="house-seat') == 18
        assert "textarea" not in html
        assert "_preview" not in html
        assert viewer.post(url, self.form(room, drawing="A s")).status_code == 403
        assert room.layouts.count() == 1


class TestCategories:
    def test_a_code_stays_and_a_category_that_is_drawn_stays(self, staff: Client) -> None:
        factories.AuditoriumFactory()
        SeatCategory.objects.create(code="box", name="Box")
        staff.post("/admin/seating/seatcategory/premium/change/", {"name": "Best", "code": "best", "rank": "5"})
        assert SeatCategory.objects.get(code="premium").name == "Best"
        assert not SeatCategory.objects.filter(code="best").exists()
        for code in ("premium", "box"):
            staff.post(f"/admin/seating/seatcategory/{code}/delete/", {"post": "yes"})
        assert set(SeatCategory.objects.values_list("code", flat=True)) == {"standard", "premium"}


class TestMovies:
    def test_a_film_shows_its_poster_and_stays_while_it_is_shown(self, staff: Client) -> None:
        shown = factories.make_showtime().movie
        Movie.objects.update(poster="posters/moth-season.svg")
        url = f"/admin/seating/movie/{shown.pk}"
        assert "posters/moth-season.svg" in staff.get(f"{url}/change/").content.decode()
        Movie.objects.update(poster="posters/gone.svg")
        assert staff.get(f"{url}/change/").status_code == 200
        staff.post(f"{url}/delete/", {"post": "yes"})
        assert Movie.objects.exists()


class TestHolds:
    @pytest.fixture
    def held(self) -> Hold:
        holder = factories.HolderFactory(guest_key=None, user=factories.UserFactory(username="grace"))
        return Hold.objects.get(pk=hold(factories.make_showtime(), holder, "A1", "A2").hold.hold_id)

    @pytest.fixture
    def url(self, held: Hold) -> str:
        return reverse("admin:seating_hold_withdraw", args=[held.pk])

    def test_it_is_taken_back_after_asking(self, staff: Client, held: Hold, url: str) -> None:
        page = staff.get(reverse("admin:seating_hold_change", args=[held.pk])).content.decode()
        assert url in page
        assert "loses A1, A2 at" in staff.get(url).content.decode()
        assert held_codes(held.showtime) == ["A1", "A2"]

        assert "1 hold was taken back" in messages(staff.post(url, follow=True))
        assert set(SeatHold.objects.values_list("end_reason", flat=True)) == {"withdrawn"}
        assert LogEntry.objects.get().change_message == "Taken back: A1, A2"
        assert url not in staff.get(reverse("admin:seating_hold_change", args=[held.pk])).content.decode()
        assert "is over" in staff.get(url).content.decode()
        assert "over already" in messages(staff.post(url, follow=True))
        assert_sound(held.showtime_id)

    def test_one_that_is_being_paid_stays(self, staff: Client, held: Hold, url: str) -> None:
        start_paying(held.pk)
        assert url not in staff.get(reverse("admin:seating_hold_change", args=[held.pk])).content.decode()
        assert "cancel its booking" in messages(staff.post(url, follow=True))
        assert held_codes(held.showtime) == ["A1", "A2"]

    def test_several_from_the_list(self, staff: Client, held: Hold) -> None:
        other = hold(held.showtime, factories.HolderFactory(), "B1").hold
        form = {"action": "withdraw", "_selected_action": [held.pk, other.hold_id]}
        page = staff.post("/admin/seating/hold/", form).content.decode()
        assert page.count("loses") == 2
        assert held_codes(held.showtime) == ["A1", "A2", "B1"]
        carried = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]+)">', page)
        again = {"confirmed": "Take them back"}
        for name, value in carried:
            if name != "csrfmiddlewaretoken":
                again.setdefault(name, []).append(value)  # type: ignore[arg-type, attr-defined]
        assert "2 holds were taken back" in messages(staff.post("/admin/seating/hold/", again, follow=True))
        assert held_codes(held.showtime) == []

    def test_looking_is_not_acting(self, held: Hold, url: str) -> None:
        viewer = signed_in("seating.view_hold")
        assert url not in viewer.get(reverse("admin:seating_hold_change", args=[held.pk])).content.decode()
        assert viewer.get(url).status_code == viewer.post(url).status_code == 403
        viewer.post("/admin/seating/hold/", {"action": "withdraw", "_selected_action": [held.pk], "confirmed": "yes"})
        assert held_codes(held.showtime) == ["A1", "A2"]

    def test_it_is_found(self, staff: Client, held: Hold) -> None:
        hold(held.showtime, factories.HolderFactory(), "B1")
        ended = hold(factories.make_showtime(), held.holder, "B2").hold
        withdraw_hold(hold_id=ended.hold_id)

        def found(**query: Any) -> set[Any]:
            return {row.pk for row in staff.get("/admin/seating/hold/", query).context["cl"].result_list}

        assert found(q="grace") == {held.pk, ended.hold_id}
        assert found(q=str(held.pk)) == {held.pk}
        assert found(q="nobody") == set()
        assert found(state="ended") == {ended.hold_id}
        assert len(found(state="live")) == 2
        assert found(state="paying") == set()
        assert found(showtime__id__exact=ended.showtime_id) == {ended.hold_id}

    def test_there_must_be_one(self, staff: Client) -> None:
        assert staff.get("/admin/seating/hold/00000000-0000-0000-0000-000000000000/withdraw/").status_code == 404


class TestEverything:
    @pytest.fixture
    def furnished(self) -> None:
        """One of everything, and several of what there are many of."""
        showtime = factories.make_showtime()
        for code in ("A1", "A2", "A3"):
            held = hold(showtime, factories.HolderFactory(guest_key=None, user=factories.UserFactory()), code).hold
            booking = factories.BookingFactory(hold=Hold.objects.get(pk=held.hold_id), showtime=showtime)
            factories.TicketFactory(booking=booking, seat=showtime.seats.get(code=code))
            factories.PaymentFactory(booking=booking)
            factories.make_showtime()

    @pytest.mark.usefixtures("furnished")
    def test_every_page_opens_with_few_statements(self, staff: Client, django_assert_max_num_queries: Any) -> None:
        pages = ["/admin/", "/admin/seating/", "/admin/bookings/"]
        for model, model_admin in admin.site._registry.items():
            base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
            pages.append(base)
            pages.append(base + "?q=a") if model_admin.search_fields else None
            if model_admin.has_add_permission(_request_of(staff)):
                pages.append(f"{base}add/")
            one = model._default_manager.order_by("-pk").first()
            if one is not None:
                pages += [f"{base}{one.pk}/change/", f"{base}{one.pk}/history/"]
        assert len(pages) > 30
        for page in pages:
            with django_assert_max_num_queries(ENOUGH):
                response = staff.get(page)
            assert response.status_code == 200, page
            assert "style=" not in re.sub(r"<(pre|textarea).*?</\1>", "", response.content.decode()), page

    @pytest.mark.usefixtures("furnished")
    def test_what_is_only_looked_at_cannot_be_posted(self, staff: Client) -> None:
        """Not even by somebody who may do anything."""
        looked_at = [
            model for model, model_admin in admin.site._registry.items()
            if not model_admin.has_change_permission(_request_of(staff))
        ]  # fmt: skip
        names = {model.__name__ for model in looked_at}
        assert names >= {"Hold", "Holder", "SeatHold", "SeatEvent", "Layout", "Booking", "Payment"}
        for model in looked_at:
            base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
            before = list(model._default_manager.order_by("pk").values())
            for one in model._default_manager.all():
                form = {field.name: "1" for field in model._meta.concrete_fields}
                assert staff.post(f"{base}{one.pk}/change/", form).status_code == 403
                assert staff.post(f"{base}{one.pk}/delete/", {"post": "yes"}).status_code == 403
            assert staff.post(f"{base}add/", {}).status_code == 403
            everything = [row["id"] for row in before]
            staff.post(base, {"action": "delete_selected", "_selected_action": everything, "post": "yes"})
            assert list(model._default_manager.order_by("pk").values()) == before

    @pytest.mark.usefixtures("furnished")
    def test_who_may_do_nothing_sees_nothing(self) -> None:
        nobody = signed_in()
        html = nobody.get("/admin/").content.decode()
        assert "Film" not in html
        assert "You don’t have permission" in html
        for model in admin.site._registry:
            base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
            one = model._default_manager.first()
            for page in (base, f"{base}add/", f"{base}{one.pk}/change/" if one else base):
                assert nobody.get(page).status_code in {403, 302}, page
        moviegoer = Client()
        moviegoer.force_login(factories.UserFactory())
        assert moviegoer.get("/admin/seating/showtime/").status_code == 302

    def test_the_front_page_says_what_is_on_today(
        self, staff: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The day that it is now may be nearly over, so sales go on into the next.
        noon = timezone.localtime().replace(hour=12, minute=0, second=0, microsecond=0)
        showtime = factories.make_showtime(starts_at=noon, sales_close_at=noon + dt.timedelta(days=1))
        hold(showtime, factories.HolderFactory(), "A1")
        html = " ".join(staff.get("/admin/").content.decode().split())
        assert f"/admin/seating/showtime/{showtime.pk}/seats/" in html
        assert "0 / 18 </td> <td>1</td> <td>17</td>" in html
        assert settings.CINEMA_NAME in html

    def test_the_ledger_of_one_showtime(self, staff: Client) -> None:
        one, other = factories.make_showtime(), factories.make_showtime()
        for showtime in (one, other):
            hold(showtime, factories.HolderFactory(), "A1")
        response = staff.get("/admin/seating/seatevent/", {"showtime__id__exact": one.pk})
        assert [line.pk for line in response.context["cl"].result_list] == [SeatEvent.objects.get(showtime=one).pk]


def _request_of(client: Client) -> Any:
    request = RequestFactory().get("/admin/")
    request.user = User.objects.get(pk=client.session["_auth_user_id"])
    return request
