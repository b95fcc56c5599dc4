"""'What would the gateway say?': the relay's own checks on a pasted or uploaded message, nothing sent."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _

from gateway.explain import ExplainError, explain
from gateway.models import Customer
from portal.access import access_customer, page
from portal.customer.trace_words import symbol_lines, symbol_words, trace_lines
from portal.forms import LinesField

MAX_BYTES = 5 * 1024 * 1024
EXAMPLE = """From: {sender}
To: dora@example.org
Subject: Minutes of the meeting
Date: Tue, 24 Nov 2026 09:00:00 +0100
Message-ID: <minutes@example>

Dear Dora,
the minutes of our meeting are attached.
"""


class ExplainForm(forms.Form):
    credential = forms.ChoiceField(label=_("Login"))
    sender = forms.CharField(
        label=_("Envelope sender"), max_length=320, help_text=_("MAIL FROM; “<>” for a bounce.")
    )
    recipients = LinesField(label=_("Recipients"), help_text=_("One per line."))
    text = forms.CharField(
        label=_("Message with its headers"),
        max_length=MAX_BYTES,
        required=False,
        strip=False,
        widget=forms.Textarea({"rows": 14}),
    )
    file = forms.FileField(label=_("or a file (.eml)"), required=False)

    def __init__(self, customer: Customer, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        names = list(
            customer.credentials.filter(block="").order_by("username").values_list("username", flat=True)
        )
        self.fields["credential"].choices = [(name, name) for name in names]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        found = dict(super().clean() or {})
        upload = found.get("file")
        if upload and upload.size > MAX_BYTES:
            self.add_error("file", _("Larger than 5 MiB; a part of the message is enough here."))
        elif not upload and not found.get("text", "").strip():
            self.add_error("text", _("Paste a message or choose a file."))
        return found

    def raw(self) -> bytes:
        upload = self.cleaned_data.get("file")
        return upload.read() if upload else self.cleaned_data["text"].encode("utf-8", "surrogateescape")


@page("GET", "POST")
def explain_page(request: HttpRequest) -> HttpResponse:
    customer = access_customer(request)
    domain = customer.domains.order_by("-verified_at").values_list("name", flat=True).first()
    sender = f"you@{domain or 'your-domain.example'}"
    initial = {"sender": sender, "recipients": ["dora@example.org"], "text": EXAMPLE.format(sender=sender)}
    form = ExplainForm(customer, request.POST or None, request.FILES or None, initial=initial)
    context: dict[str, Any] = {"form": form, "has_login": bool(form.fields["credential"].choices)}  # type: ignore[attr-defined]
    if request.method == "POST" and form.is_valid():
        context |= _answer(form)
    return render(request, "customer/explain.html", context, status=400 if form.errors else 200)


def _answer(form: ExplainForm) -> dict[str, Any]:
    wanted = form.cleaned_data
    try:
        found = explain(
            form.raw(),
            sender=wanted["sender"],
            recipients=wanted["recipients"],
            credential=wanted["credential"],
        )
    except ExplainError as error:
        form.add_error(None, str(error))
        return {}
    symbols = [(symbol["name"], symbol["share"]) for symbol in found.get("symbols", [])]
    return {
        "answer": found,
        "trace": trace_lines(found["trace"]),
        "symbols": symbol_lines(symbols),
        "flip": [symbol_words(name) for name in found.get("flip", [])],
    }
