"""API tokens and webhooks: make (shown once), change, try, send again, revoke."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django import forms
from django.contrib import messages as notes
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal import tokens
from portal.access import MAX_ID, access_customer, actor, page
from portal.forms import add_errors
from portal.models import ApiToken, WebhookDelivery, WebhookEndpoint
from portal.webhooks import endpoints
from portal.webhooks.events import EVENTS

SCOPES = [(tokens.READ, gettext_lazy("read")), (tokens.WRITE, gettext_lazy("change things"))]
DELIVERIES = 50


class TokenForm(forms.Form):
    name = forms.CharField(
        label=gettext_lazy("Used by"),
        max_length=100,
        help_text=gettext_lazy("The program or person that gets it."),
    )
    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("It may"), choices=SCOPES, initial=[tokens.READ], widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("Never more than you may yourself; who leaves the team takes their tokens along."),
    )  # fmt: skip
    expires_at = forms.DateTimeField(
        label=gettext_lazy("Expires"), required=False, help_text=gettext_lazy("Empty: never."),
        widget=forms.DateTimeInput({"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
    )  # fmt: skip


class WebhookForm(forms.Form):
    url = forms.CharField(
        label="URL", max_length=500, help_text=gettext_lazy("https://, at a public address.")
    )
    description = forms.CharField(label=gettext_lazy("Used by"), max_length=200, required=False)
    events = forms.MultipleChoiceField(
        label=gettext_lazy("Events"), required=False, widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("None: all."),
        choices=[(name, words) for name, words in EVENTS.items()],
    )  # fmt: skip


@page("GET")
def overview(request: HttpRequest) -> HttpResponse:
    customer = access_customer(request)
    context = {
        "tokens": [
            (row, token_state(row))
            for row in customer.api_tokens.select_related("user").order_by("revoked_at", "-id")
        ],
        "webhooks": [(row, webhook_state(row)) for row in customer.webhooks.all()],
    }
    return render(request, "customer/integrations/overview.html", context)


@page("GET", "POST")
def token_add(request: HttpRequest) -> HttpResponse:
    """The answer to the POST is the only page that shows the token."""
    customer = access_customer(request, write=True)
    form = TokenForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            person: Any = request.user
            made = tokens.create(customer, person, actor=actor(request), **form.cleaned_data)
        except ValidationError as error:
            add_errors(form, error)
        else:
            return render(
                request, "customer/integrations/token_shown.html", {"token": made[0], "text": made[1]}
            )
    return render(
        request, "customer/integrations/token_add.html", {"form": form}, status=400 if form.errors else 200
    )


@page("GET", "POST")
def token_revoke(request: HttpRequest, pk: int) -> HttpResponse:
    customer = access_customer(request, write=True)
    token = get_object_or_404(customer.api_tokens, pk=min(pk, MAX_ID))
    if request.method == "POST":
        tokens.revoke(token, actor=actor(request))
        notes.success(request, _("%(name)s is revoked.") % {"name": token.name})
        return redirect("integrations")
    return render(request, "customer/integrations/token_revoke.html", {"token": token})


@page("GET", "POST")
def webhook_add(request: HttpRequest) -> HttpResponse:
    customer = access_customer(request, write=True)
    form = WebhookForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            endpoint, secret = endpoints.create(customer, actor=actor(request), **form.cleaned_data)
        except ValidationError as error:
            add_errors(form, error)
        else:
            return _show_secret(request, endpoint, secret)
    return render(
        request, "customer/integrations/webhook_add.html", {"form": form}, status=400 if form.errors else 200
    )


@page("GET", "POST")
def webhook(request: HttpRequest, pk: int) -> HttpResponse:
    """One webhook with its latest deliveries; POST changes it."""
    endpoint = access_webhook(request, pk, write=request.method == "POST")
    initial = {name: getattr(endpoint, name) for name in ("url", "description", "events")}
    form = WebhookForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            endpoints.change(endpoint, actor=actor(request), **form.cleaned_data)
        except ValidationError as error:
            add_errors(form, error)
            endpoint.refresh_from_db()
        else:
            notes.success(request, _("Saved."))
            return redirect("webhook", pk=endpoint.pk)
    context = {
        "endpoint": endpoint,
        "state": webhook_state(endpoint),
        "form": form,
        "deliveries": endpoint.deliveries.all()[:DELIVERIES],
        "event_words": EVENTS,
    }
    return render(request, "customer/integrations/webhook.html", context, status=400 if form.errors else 200)


@page("POST")
def webhook_test(request: HttpRequest, pk: int) -> HttpResponse:
    endpoint = access_webhook(request, pk, write=True)
    try:
        endpoints.send_test(endpoint, actor=actor(request))
    except ValidationError as error:
        notes.error(request, " ".join(error.messages))
    else:
        notes.success(request, _("A test event goes out within a minute; its result stands below."))
    return redirect("webhook", pk=endpoint.pk)


@page("POST")
def webhook_rotate(request: HttpRequest, pk: int) -> HttpResponse:
    endpoint = access_webhook(request, pk, write=True)
    return _show_secret(request, endpoint, endpoints.rotate_secret(endpoint, actor=actor(request)))


@page("POST")
def webhook_switch(request: HttpRequest, pk: int) -> HttpResponse:
    """On when it is off, off when it is on."""
    endpoint = access_webhook(request, pk, write=True)
    if endpoint.is_active:
        endpoints.disable(endpoint, actor=actor(request), reason=_("by %(who)s") % {"who": actor(request)})
    else:
        endpoints.enable(endpoint, actor=actor(request))
    return redirect("webhook", pk=endpoint.pk)


@page("GET", "POST")
def webhook_remove(request: HttpRequest, pk: int) -> HttpResponse:
    endpoint = access_webhook(request, pk, write=True)
    if request.method == "POST":
        endpoints.remove(endpoint, actor=actor(request))
        notes.success(request, _("The webhook is removed."))
        return redirect("integrations")
    return render(request, "customer/integrations/webhook_remove.html", {"endpoint": endpoint})


@page("GET")
def delivery(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """One event: what was sent, and each attempt."""
    found = access_delivery(request, pk)
    context = {"delivery": found, "payload": json.dumps(found.payload, indent=2, ensure_ascii=False)}
    return render(request, "customer/integrations/delivery.html", context)


@page("POST")
def delivery_again(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    found = access_delivery(request, pk, write=True)
    try:
        changed = endpoints.send_again(found, actor=actor(request))
    except ValidationError as error:
        notes.error(request, " ".join(error.messages))
    else:
        words = _("It goes out again within a minute.") if changed else _("It is waiting to be sent already.")
        notes.success(request, words)
    return redirect("webhook_delivery", pk=found.pk)


def access_webhook(request: HttpRequest, pk: int, *, write: bool = False) -> WebhookEndpoint:
    return get_object_or_404(access_customer(request, write=write).webhooks, pk=min(pk, MAX_ID))


def access_delivery(request: HttpRequest, pk: uuid.UUID, *, write: bool = False) -> WebhookDelivery:
    customer = access_customer(request, write=write)
    rows = WebhookDelivery.objects.filter(endpoint__customer=customer).select_related("endpoint__customer")
    return get_object_or_404(rows, pk=pk)


def token_state(token: ApiToken) -> str:
    if token.revoked_at:
        return "revoked"
    return "expired" if token.expires_at and token.expires_at <= timezone.now() else "active"


def webhook_state(endpoint: WebhookEndpoint) -> str:
    if not endpoint.is_active:
        return "off"
    return "failing" if endpoint.failing_since else "active"


def _show_secret(request: HttpRequest, endpoint: WebhookEndpoint, secret: str) -> HttpResponse:
    return render(
        request, "customer/integrations/webhook_secret.html", {"endpoint": endpoint, "secret": secret}
    )
