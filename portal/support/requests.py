"""Support's side of support requests: the list, the answer, notes that the customer does not see."""

from __future__ import annotations

from django import forms
from django.contrib import messages as notes
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal import support_requests
from portal.access import MAX_ID, actor
from portal.customer.keyset import keyset_page
from portal.models import SupportRequest
from portal.support.base import staff_page


class AnswerForm(forms.Form):
    text = forms.CharField(
        label=gettext_lazy("Answer"),
        max_length=support_requests.LONGEST_TEXT,
        widget=forms.Textarea({"rows": 7}),
    )
    internal = forms.BooleanField(label=gettext_lazy("note for support only"), required=False)


@staff_page("GET")
def request_list(request: HttpRequest) -> HttpResponse:
    rows = SupportRequest.objects.select_related("customer")
    state = request.GET.get("state", "open")
    if state in SupportRequest.State.values:
        rows = rows.filter(state=state)
    context = {
        "found": keyset_page(rows, request.GET.get("before", "")),
        "state": state,
        "states": SupportRequest.State.choices,
    }
    return render(request, "support/requests.html", context)


@staff_page("GET", "POST")
def request_answer(request: HttpRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(SupportRequest.objects.select_related("customer"), pk=min(pk, MAX_ID))
    form = AnswerForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        support_requests.reply(found, actor=actor(request), from_support=True, **form.cleaned_data)
        notes.success(
            request, _("Noted.") if form.cleaned_data["internal"] else _("The customer can read it now.")
        )
        return redirect("support_answer", pk=pk)
    context = {"found": found, "replies": found.replies.all(), "form": form}
    return render(request, "support/request.html", context, status=400 if form.errors else 200)


@staff_page("POST")
def request_close(request: HttpRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(SupportRequest.objects.select_related("customer"), pk=min(pk, MAX_ID))
    support_requests.close(found, actor=actor(request))
    return redirect("support_requests_open")
