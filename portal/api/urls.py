"""Addresses of the API, included by portal/urls.py at /api/v1/."""

from django.urls import path, re_path
from rest_framework.routers import SimpleRouter

from portal.api import (
    blacklists,
    docs,
    domains,
    integrations,
    judging,
    messages,
    people,
    reports,
    smtp_access,
    tls_tests,
)

router = SimpleRouter()
for prefix, view in {
    "domains": domains.DomainViewSet,
    "dkim-keys": domains.DkimKeyViewSet,
    "networks": domains.NetworkViewSet,
    "credentials": smtp_access.CredentialViewSet,
    "tls-rules": smtp_access.TlsRuleViewSet,
    "tls-tests": tls_tests.TlsTestViewSet,
    "messages": messages.MessageViewSet,
    "recipients": messages.RecipientViewSet,
    "refusals": reports.RefusalViewSet,
    "ndr-reports": reports.NdrViewSet,
    "suppressions": reports.SuppressionViewSet,
    "appeals": judging.AppealViewSet,
    "listings": blacklists.ListingViewSet,
    "alerts": blacklists.AlertViewSet,
    "tickets": blacklists.TicketViewSet,
    "webhooks": integrations.WebhookViewSet,
    "webhook-deliveries": integrations.DeliveryViewSet,
    "tokens": integrations.TokenViewSet,
    "team": people.MemberViewSet,
    "audit": people.AuditViewSet,
    "support-requests": people.RequestViewSet,
    "content-grants": people.GrantViewSet,
    "content-looks": people.LookViewSet,
}.items():
    router.register(prefix, view, basename=f"api-{prefix}")

urlpatterns = [
    path("statistics/", reports.StatisticsView.as_view(), name="api-statistics"),
    path("explain/", judging.ExplainView.as_view(), name="api-explain"),
    path("settings/", people.SettingsView.as_view(), name="api-settings"),
    path("schema/", docs.SchemaView.as_view(), name="api-schema"),
    path("docs/", docs.DocsView.as_view(), name="api-docs"),
    *router.urls,
    re_path(r"^.*$", docs.NothingView.as_view()),
]
