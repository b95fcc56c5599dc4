"""The team: members and roles, invitations, and the page that an invited person opens."""

from __future__ import annotations

from django import forms
from django.conf import settings
from django.contrib import messages as notes
from django.contrib.auth import login
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from gateway.models import Customer
from portal import team
from portal.access import CHOSEN, access_customer, access_member, access_owner, access_role, actor, page
from portal.forms import add_errors
from portal.models import Invitation, Membership, User

MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"


class InviteForm(forms.Form):
    email = forms.EmailField(label=gettext_lazy("E-mail address"))
    role = forms.ChoiceField(
        label=gettext_lazy("Role"), choices=Membership.Role.choices, initial=Membership.Role.VIEWER
    )


class RoleForm(forms.Form):
    role = forms.ChoiceField(label=gettext_lazy("Role"), choices=Membership.Role.choices)


class PasswordForm(forms.Form):
    password = forms.CharField(
        label=gettext_lazy("Your new password"), widget=forms.PasswordInput({"autocomplete": "new-password"}),
        help_text=gettext_lazy("At least ten characters."), strip=False,
    )  # fmt: skip
    again = forms.CharField(
        label=gettext_lazy("The same again"),
        widget=forms.PasswordInput({"autocomplete": "new-password"}),
        strip=False,
    )

    def clean_again(self) -> str:
        if self.cleaned_data["again"] != self.cleaned_data.get("password"):
            raise ValidationError(_("The two are not the same."))
        return self.cleaned_data["again"]


@page("GET")
def member_list(request: HttpRequest) -> HttpResponse:
    return _team_page(request, access_customer(request), InviteForm())


@page("POST")
def invite(request: HttpRequest) -> HttpResponse:
    customer = access_owner(request)
    form = InviteForm(request.POST)
    if form.is_valid():
        link = f"{settings.SMG.public_url}{reverse('invitation', args=['TOKEN'])}".replace("TOKEN", "{token}")
        try:
            team.invite(
                customer,
                form.cleaned_data["email"],
                form.cleaned_data["role"],
                actor=actor(request),
                link=link,
            )
        except ValidationError as error:
            add_errors(form, error)
        else:
            notes.success(
                request,
                _("The invitation is on its way to %(email)s.") % {"email": form.cleaned_data["email"]},
            )
            return redirect("team")
    return _team_page(request, customer, form)


@page("POST")
def withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    customer = access_owner(request)
    invitation = get_object_or_404(Invitation, customer=customer, pk=min(pk, 2**63 - 1))
    team.withdraw(invitation, actor=actor(request))
    notes.success(request, _("The invitation is withdrawn."))
    return redirect("team")


@page("GET", "POST")
def member(request: HttpRequest, pk: int) -> HttpResponse:
    """One member: the role."""
    access_owner(request)
    member = access_member(request, pk)
    form = RoleForm(request.POST or None, initial={"role": member.role})
    if request.method == "POST" and form.is_valid():
        try:
            team.change_role(member, form.cleaned_data["role"], actor=actor(request))
        except ValidationError as error:
            add_errors(form, error)
        else:
            notes.success(request, _("Saved."))
            return redirect("team")
    context = {"member": member, "form": form}
    return render(request, "customer/member.html", context, status=400 if form.errors else 200)


@page("POST")
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    access_owner(request)
    member = access_member(request, pk)
    try:
        team.remove(member, actor=actor(request))
    except ValidationError as error:
        notes.error(request, " ".join(error.messages))
    else:
        notes.success(request, _("%(email)s is no longer in the team.") % {"email": member.user.email})
    return redirect("team" if member.user_id != request.user.pk else "overview")


@never_cache
@require_http_methods(["GET", "POST"])
def accept(request: HttpRequest, token: str) -> HttpResponse:
    """Where the link of an invitation leads; open to people who have no account yet."""
    invitation = team.open_invitation(token)
    if invitation is None:
        return render(request, "customer/invitation_gone.html", status=404)
    form = PasswordForm(request.POST if request.method == "POST" else None)
    known = User.objects.filter(email__iexact=invitation.email).exists()
    if request.method == "POST":
        joined = _join(request, invitation, form, known)
        if joined:
            return redirect("overview")
    context = {"invitation": invitation, "form": form, "known": known, "next": request.path}
    return render(
        request, "customer/invitation.html", context, status=400 if request.method == "POST" else 200
    )


def _join(request: HttpRequest, invitation: Invitation, form: PasswordForm, known: bool) -> bool:
    try:
        if known:
            if not isinstance(request.user, User):
                raise Http404
            team.accept(invitation, user=request.user)
        else:
            if not form.is_valid():
                return False
            password = form.cleaned_data["password"]
            user = team.accept_as_new(invitation, password=password, language=(get_language() or "en")[:2])
            login(request, user, backend=MODEL_BACKEND)
    except ValidationError as error:
        form.is_valid()
        form.add_error(None, error.messages)
        return False
    request.session[CHOSEN] = invitation.customer_id
    notes.success(request, _("Welcome to %(name)s.") % {"name": invitation.customer.name})
    return True


def _team_page(request: HttpRequest, customer: Customer, form: InviteForm) -> HttpResponse:
    context = {
        "members": list(customer.memberships.select_related("user")),
        "invitations": list(customer.invitations.filter(accepted_at__isnull=True)),
        "form": form,
        "is_owner": access_role(request) == Membership.Role.OWNER,
    }
    return render(request, "customer/team.html", context, status=400 if form.errors else 200)
