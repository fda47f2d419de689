"""What every page of the admin stands on: the site, classes for what may only be read, and the users."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from cinebook.core.models import Effect, EffectStatus, User
from cinebook.core.outbox import retry_dead

if TYPE_CHECKING:
    # Generic for the type checker only: Django's own classes take no parameters.
    AnyModelAdmin = admin.ModelAdmin[Any]
    AnyTabularInline = admin.TabularInline[Any, Any]
    AnyUserAdmin = DjangoUserAdmin[User]
else:
    AnyModelAdmin, AnyTabularInline, AnyUserAdmin = admin.ModelAdmin, admin.TabularInline, DjangoUserAdmin

admin.site.site_header = admin.site.site_title = settings.CINEMA_NAME
admin.site.index_title = _("The house")
# What a form has left empty, and a column has nothing for.
admin.site.empty_value_display = "–"


class _NobodyWrites:
    """Whatever somebody posts: rows are made, changed and deleted by the services alone."""

    def has_add_permission(self, *args: Any) -> bool:
        """Never."""
        return False

    def has_change_permission(self, *args: Any) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, *args: Any) -> bool:
        """Never."""
        return False


class ReadOnlyAdmin(_NobodyWrites, AnyModelAdmin):
    """A model that staff look at; what may be done with it is an action that calls a service."""

    # Counting every row of a table that only grows is dear.
    show_full_result_count = False


class ReadOnlyInline(_NobodyWrites, AnyTabularInline):
    """Rows that belong to what is looked at."""

    extra = 0
    can_delete = False
    template = "admin/read_only_inline.html"


@admin.register(User)
class UserAdmin(AnyUserAdmin):
    """People who sign in, with Django's own forms."""

    list_display = ("username", "email", "is_staff", "is_active", "last_login")


@admin.register(Effect)
class EffectAdmin(ReadOnlyAdmin):
    """The outbox: what has been delivered, what waits, and what was given up, which may be tried again."""

    list_display = ("name", "subject", "status", "attempts", "next_attempt", "error", "created_at", "delivered_at")
    list_filter = ("status", "name")
    search_fields = ("subject",)
    fields = (
        "name", "subject", "arguments", "key", "status", "attempts", "next_attempt", "error", "created_at",
        "delivered_at",
    )  # fmt: skip
    readonly_fields = ("next_attempt",)
    actions = ("try_again",)

    @admin.display(description=_("next attempt"), ordering="next_attempt_at")
    def next_attempt(self, effect: Effect) -> dt.datetime | None:
        """Return when it is tried next, if it waits for that."""
        return effect.next_attempt_at if effect.status == EffectStatus.WAITING else None

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Return whether the person may have effects tried again."""
        return request.user.has_perm("core.change_effect")

    @admin.action(description=_("Try again what was given up"), permissions=["retry"])
    def try_again(self, request: HttpRequest, queryset: QuerySet[Effect]) -> None:
        """Put effects that were given up back in line."""
        dead = list(queryset.filter(status=EffectStatus.DEAD))
        retried = retry_dead(effect_ids=[effect.pk for effect in dead])
        for effect in dead:
            self.log_change(request, effect, "Tried again.")
        told = ngettext("%d effect is tried again.", "%d effects are tried again.", retried) % retried
        self.message_user(request, told, messages.SUCCESS if retried else messages.WARNING)
