"""Every address of the site, each app's below its own."""

from django.contrib import admin
from django.urls import include, path

from cinebook.health import health

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/v1/health", health, name="health"),
    path("", include("seating.urls")),
]
