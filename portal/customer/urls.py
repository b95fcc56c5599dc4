"""The customer's pages."""

from __future__ import annotations

from django.urls import URLPattern, path

from portal.customer import overview, security, switch

urlpatterns: list[URLPattern] = [
    path("", overview.overview, name="overview"),
    path("choose/", switch.choose, name="choose_customer"),
    path("close/", switch.close, name="close_customer"),
    path("settings/security/", security.security, name="security"),
]
