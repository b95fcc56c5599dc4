"""The customer's pages."""

from __future__ import annotations

from django.urls import URLPattern, path

from portal.customer import messages, ndr, overview, refusals, security, statistics, suppressions, switch

urlpatterns: list[URLPattern] = [
    path("", overview.overview, name="overview"),
    path("choose/", switch.choose, name="choose_customer"),
    path("close/", switch.close, name="close_customer"),
    path("messages/", messages.message_list, name="messages"),
    path("messages/news/", messages.message_news, name="message_news"),
    path("messages/csv/", messages.message_csv, name="message_csv"),
    path("messages/<str:text_id>/", messages.message_detail, name="message"),
    path("messages/<str:text_id>/retry/", messages.retry, name="message_retry"),
    path("messages/<str:text_id>/release/", messages.release, name="message_release"),
    path("messages/<str:text_id>/cancel/", messages.cancel, name="message_cancel"),
    path("messages/<str:text_id>/appeal/", messages.appeal, name="message_appeal"),
    path("refusals/", refusals.refusal_list, name="refusals"),
    path("refusals/<int:pk>/", refusals.refusal_detail, name="refusal"),
    path("ndr/", ndr.ndr_list, name="ndr"),
    path("ndr/csv/", ndr.ndr_csv, name="ndr_csv"),
    path("ndr/<int:pk>/", ndr.ndr_detail, name="ndr_detail"),
    path("suppressions/", suppressions.suppression_list, name="suppressions"),
    path("suppressions/<int:pk>/remove/", suppressions.suppression_remove, name="suppression_remove"),
    path("statistics/", statistics.statistics, name="statistics"),
    path("statistics/csv/", statistics.statistics_csv, name="statistics_csv"),
    path("settings/security/", security.security, name="security"),
]
