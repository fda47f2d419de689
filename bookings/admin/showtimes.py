from django.contrib import admin

from seating.admin import ShowtimeAdmin as S
from seating.models import Showtime


@admin.register(Showtime)
class ShowtimeAdmin(S):
    pass
