"""Every address of the site, each app's below its own."""

from csp.constants import SELF, UNSAFE_INLINE
from csp.decorators import csp_update
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerSplitView

from cinebook.core import failures
from cinebook.health import health

# The page that browses the API sets styles from its script.
browsable = csp_update({"style-src": [SELF, UNSAFE_INLINE]})(SpectacularSwaggerSplitView.as_view(url_name="schema"))

api: list[URLPattern | URLResolver] = [
    path("health", health, name="health"),
    path("schema", SpectacularJSONAPIView.as_view(), name="schema"),
    path("docs", browsable, name="docs"),
    path("", include("bookings.api.urls")),
    path("", include("seating.api.urls")),
]

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/v1/", include(api)),
    path("", include("seating.urls")),
]

handler400 = failures.bad_request
handler403 = failures.permission_denied
handler404 = failures.not_found
handler500 = failures.server_error
