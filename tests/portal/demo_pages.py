"""The addresses of all pages, each with an object of the demo that has something to show on it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.urls import URLPattern, URLResolver, reverse

from blacklist.models import Alert, CheckRun, DelistingTicket, Listing
from gateway.models import (
    Credential,
    Customer,
    DkimKey,
    Gateway,
    Message,
    NdrReport,
    Refusal,
    Suppression,
    TlsRule,
)  # fmt: skip
from portal import tls_tests
from portal.customer import blacklists_urls, integrations_urls, support_requests_urls
from portal.customer import urls as customer_urls
from portal.models import (
    ApiToken,
    ContentGrant,
    Invitation,
    Membership,
    SupportRequest,
    WebhookDelivery,
    WebhookEndpoint,
)  # fmt: skip
from portal.support import urls as support_urls

NOT_WALKED = {
    "invitation": "wants the secret of a mail",
    "mail_caught": "the sink is empty", "mail_caught_raw": "the sink is empty",
    "support_queue_verb": "own test", "help_page": "own test", "help_image": "own test", "tls_probe": "asks servers",
    "close_customer": "support only",
}  # fmt: skip


def customer_patterns() -> list[Any]:
    blacklists = [one for one in blacklists_urls.urlpatterns if not _is_for_support(one)]
    ours = [one for one in customer_urls.urlpatterns if one.name != "mail_catcher"]
    return [*ours, *integrations_urls.urlpatterns, *support_requests_urls.urlpatterns, *blacklists]


def support_patterns() -> list[Any]:
    runs = [one for one in blacklists_urls.urlpatterns if _is_for_support(one)]
    catcher = [one for one in customer_urls.urlpatterns if one.name == "mail_catcher"]
    return [*support_urls.urlpatterns, *runs, *catcher]


def admin_addresses() -> dict[str, str]:
    """The list and the newest object of every model in the administration."""
    found = {"admin:index": reverse("admin:index")}
    for model in sorted(admin.site._registry, key=lambda one: one._meta.label_lower):
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        found[f"{name}_changelist"] = reverse(f"{name}_changelist")
        newest = model._default_manager.order_by("-pk").first()
        if newest is not None:
            found[f"{name}_change"] = reverse(f"{name}_change", args=[newest.pk])
    return found


def _is_for_support(pattern: URLPattern | URLResolver) -> bool:
    return str(pattern.pattern).startswith("support/")


def addresses(patterns: list[Any]) -> dict[str, str]:
    """Name -> address; '' for one with an argument that `objects` does not know."""
    known = objects()
    return {
        str(pattern.name): _address(pattern, known) for pattern in patterns if pattern.name not in NOT_WALKED
    }


def _address(pattern: URLPattern, known: dict[str, Any]) -> str:
    name = str(pattern.name)
    if not pattern.pattern.converters:
        return reverse(name)
    key = _key(known, name)
    return reverse(name, args=[known[key]]) if key else ""


def _key(known: dict[str, Any], name: str) -> str | None:
    """The object's name, or the longest that the page's begins with: 'credential_held' is about a 'credential'."""
    return max((key for key in known if name.startswith(key)), key=len, default=None)


def objects() -> dict[str, Any]:
    """For every address with an argument: the object whose page it is."""
    acme = Customer.objects.get(slug="acme")
    mail = Message.objects.filter(customer=acme)
    held, suspect = mail.filter(recipients__state="held"), mail.filter(category="suspect")
    waiting = mail.filter(recipients__state="queued").latest("id").text_id
    rule, login = (
        TlsRule.objects.get(recipient_domain="bank.example").pk,
        Credential.objects.get(username="acme-crm"),
    )
    own = Listing.objects.filter(target__customers=acme, delisted_at=None).earliest("id").pk
    hook, request = (
        WebhookEndpoint.objects.get(disabled_at=None),
        SupportRequest.objects.filter(customer=acme).latest("id"),
    )
    ticket = DelistingTicket.objects.get(state="needs_customer").pk
    member, gateway = (
        Membership.objects.get(user__email="bob@acme.example").pk,
        Gateway.objects.get(name="mta02").pk,
    )
    run = CheckRun.objects.filter(kind="daily").latest("id").pk
    text = held.latest("id").text_id
    return {
        "message": text, "message_retry": waiting, "message_release": text, "message_cancel": text,
        "message_appeal": suspect.latest("id").text_id, "refusal": Refusal.objects.latest("id").pk,
        "ndr_detail": NdrReport.objects.filter(customer=acme).latest("id").pk,
        "suppression_remove": Suppression.objects.latest("id").pk,
        "dkim_revoke": DkimKey.objects.get(state="active").pk, "domain": "acme.example", "domain_check": "acme.example",
        "domain_remove": "acme.example", "dkim_request": "acme-news.example", "tls_change": rule, "tls_remove": rule,
        "credential": login.pk, "credential_rotate": login.pk, "credential_revoke": login.pk,
        "credential_release": login.pk, "team_withdraw": Invitation.objects.latest("id").pk, "member": member,
        "member_remove": member, "listing": own, "listing_mute": own,
        "alert_acknowledge": Alert.objects.filter(customers=acme).latest("id").pk, "ticket": ticket,
        "blacklist_run": run, "blacklist_run_progress": run, "webhook": hook.pk, "webhook_test": hook.pk,
        "webhook_rotate": hook.pk, "webhook_switch": hook.pk, "webhook_remove": hook.pk,
        "webhook_delivery": WebhookDelivery.objects.filter(endpoint=hook).latest("created_at").pk,
        "webhook_again": WebhookDelivery.objects.filter(endpoint=hook).latest("created_at").pk,
        "token_revoke": ApiToken.objects.latest("id").pk, "support_request": request.pk,
        "support_request_close": request.pk,
        "consent_revoke": ContentGrant.objects.latest("id").pk,
        "support_customer": acme.pk, "support_customer_limit": acme.pk, "support_customer_suspend": acme.pk,
        "support_customer_invite": acme.pk, "open_customer": acme.pk, "support_message": text,
        "support_message_look": text, "support_break_glass": text, "support_gateway_drain": gateway,
        "support_gateway_check": gateway, "support_answer": request.pk, "support_answer_close": request.pk,
        "tls_test_result": tls_tests.start(acme, "bank.example").pk,
    }  # fmt: skip
