"""The portal's addresses, by audience."""

from django.contrib import admin
from django.urls import include, path

from portal import appearance

admin.autodiscover()

urlpatterns = [
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
    path("appearance/", appearance.change, name="appearance"),
    path("support/", include("portal.support.urls")),
    path("api/v1/", include("portal.api.urls")),
    path("api-access/", include("portal.customer.integrations_urls")),
    path("tickets/requests/", include("portal.customer.support_requests_urls")),
    path("", include("portal.health")),
    path("", include("portal.customer.blacklists_urls")),
    path("", include("portal.customer.urls")),
]
