"""Who and what is in the demo: two customers with their people, domains, logins, rules, and support."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.utils import timezone

from gateway.control import credentials, customers, dkim, domain_checks, domains, gateways, tls_rules
from gateway.models import Credential, Customer, Domain, Gateway, TlsRule
from portal.models import Membership, User

ACTOR = "demo"
GATEWAYS = (("mta01", "good"), ("mta02", "good"), ("mta03", "bad"))
PEOPLE = (
    ("alice@acme.example", "acme", Membership.Role.OWNER),
    ("bob@acme.example", "acme", Membership.Role.VIEWER),
    ("charlie@globex.example", "globex", Membership.Role.OWNER),
)
SUPPORT = "sam@smg.example"


@dataclass(frozen=True, slots=True)
class Access:
    """What the first page of the demo tells: passwords and a secret that exist nowhere else in clear text."""

    password: str
    support_password: str
    secret: str


def make_cast() -> Access:
    """Create what is missing. Passwords and the secret are new each time: the old ones cannot be read again."""
    for name, pool in GATEWAYS:
        make_gateway(name, pool)
    acme = make_customer("acme", name="ACME", alert_email="ops@acme.example", rate_limit=100)
    globex = make_customer("globex", name="Globex", alert_email="it@globex.example", language="de")
    password, support_password = new_password(), new_password()
    hashed = make_password(password)  # once: each takes half a second
    for email, slug, role in PEOPLE:
        make_person(email, hashed, {"acme": acme, "globex": globex}[slug], role)
    make_support(support_password)
    make_domains(acme, globex)
    make_rules(acme)
    make_login(acme, "acme-erp", label="Invoices from the ERP", senders=["invoices@acme.example"])
    make_login(acme, "acme-crm", label="Customer database")
    make_login(globex, "globex-mail", label="Exchange")
    return Access(password, support_password, fresh_secret(acme, "acme-web"))


def make_gateway(name: str, pool: str) -> None:
    if not Gateway.objects.filter(name=name).exists():
        gateways.create(
            actor=ACTOR,
            name=name,
            pool=pool,
            hostname=f"{name}.smg.example",
            next_hop=str(settings.SMG.demo_sink),
        )


def make_customer(slug: str, **values: Any) -> Customer:
    there = Customer.objects.filter(slug=slug).first()
    return there or customers.create(actor=ACTOR, slug=slug, **values)


def make_person(email: str, hashed: str, customer: Customer, role: str) -> None:
    user = _user(email, hashed)
    Membership.objects.get_or_create(user=user, customer=customer, defaults={"role": role})


def make_support(password: str) -> None:
    user = _user(SUPPORT, make_password(password))
    user.is_staff = user.is_superuser = True
    user.save(update_fields=["is_staff", "is_superuser"])


def make_domains(acme: Customer, globex: Customer) -> None:
    proven = [
        domains.add(acme, "acme.example", actor=ACTOR),
        domains.add(globex, "globex.example", actor=ACTOR),
        domains.add(acme, "acme-news.example", actor=ACTOR),
    ]
    for domain in proven:
        domains.verify(domain, actor=ACTOR)
    shop = domains.add(acme, "acme-shop.example", actor=ACTOR)
    make_key(proven[0])
    for domain in [*proven, shop]:
        domain_checks.check(domain)


def make_key(domain: Domain) -> None:
    if domain.dkim_keys.exists():
        return
    key = dkim.request(domain, actor="alice@acme.example")
    dkim.approve(key, actor=SUPPORT)
    dkim.keep_check(key, problem="", now=timezone.now())
    dkim.activate(key, actor=ACTOR)


def make_rules(acme: Customer) -> None:
    if not TlsRule.objects.filter(customer=acme).exists():
        tls_rules.add(
            acme,
            actor="alice@acme.example",
            recipient_domain="bank.example",
            level="verify",
            on_failure="hold",
        )
        tls_rules.add(
            acme, actor="alice@acme.example", recipient_domain="partner.example", level="encrypt", on_failure="reject",
            shadow=True, note="Watch first, then enforce",
        )  # fmt: skip


def make_login(customer: Customer, username: str, **values: Any) -> None:
    if not Credential.objects.filter(username=username).exists():
        credentials.create(customer, actor=ACTOR, username=username, **values)


def fresh_secret(customer: Customer, username: str) -> str:
    """The login's secret: of a new one, or rotated, because a stored hash tells nothing."""
    there = Credential.objects.filter(username=username).first()
    if there:
        return credentials.rotate(there, actor=ACTOR, overlap_h=0)
    return credentials.create(customer, actor=ACTOR, username=username, label="Web shop")[1]


def new_password() -> str:
    return "-".join(secrets.token_hex(2) for _ in range(4))


def _user(email: str, hashed: str) -> User:
    user = User.objects.filter(email=email).first() or User.objects.create_user(email)
    user.password = hashed
    user.save(update_fields=["password"])
    return user
