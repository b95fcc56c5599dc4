"""Alice owns ACME, Bob views it, Ann is an admin there, Charlie owns Globex; each customer has one of everything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from blacklist.models import Alert, DelistingTicket, Listing, Provider, Target
from gateway.control import credentials, customers, dkim, domains, suppressions
from gateway.models import (
    Appeal,
    Attempt,
    Customer,
    HourlyCount,
    Message,
    NdrReport,
    Recipient,
    Refusal,
    TlsRule,
)
from gateway.rules.ids import IdMaker, to_text
from portal import consent, support_requests, tls_tests, tokens
from portal.api import throttling
from portal.models import Membership, User
from portal.webhooks import endpoints

IDS = IdMaker(9)
Role = Membership.Role


@dataclass
class World:
    """One customer with one object for each resource: `ids` by prefix, `secrets` that nobody else sees."""

    customer: Customer
    owner: User
    ids: dict[str, str] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)


@pytest.fixture(autouse=True)
def _fresh_limits() -> None:
    throttling._blocks.clear()


@pytest.fixture
def acme(db: None) -> World:
    return make_world("acme", "alice", 1)


@pytest.fixture
def globex(db: None) -> World:
    return make_world("globex", "charlie", 2)


@pytest.fixture
def token_client(acme: World) -> Callable[..., APIClient]:
    """token_client(world, user, scopes=...): a client with a bearer token."""

    def make(
        world: World, user: User | None = None, scopes: tuple[str, ...] = ("read", "write")
    ) -> APIClient:
        _row, text = tokens.create(
            world.customer, user or world.owner, name="test", scopes=scopes, actor="test"
        )
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
        return client

    return make


@pytest.fixture
def alice(acme: World, token_client: Callable[..., APIClient]) -> APIClient:
    return token_client(acme)


def post(client: Any, path: str, body: Any = None, **headers: Any) -> Any:
    return client.post(f"/api/v1/{path}", body or {}, format="json", **headers)


def member(world: World, name: str, role: str) -> User:
    user = User.objects.create_user(f"{name}@{world.customer.slug}.example")
    Membership.objects.create(user=user, customer=world.customer, role=role)
    return user


def make_world(slug: str, owner: str, number: int) -> World:
    customer = customers.create(actor="test", slug=slug, name=slug.upper(), alert_email=f"ops@{slug}.example")
    user = User.objects.create_user(f"{owner}@{slug}.example")
    Membership.objects.create(user=user, customer=customer, role=Role.OWNER)
    world = World(customer, user)
    world.secrets = [f"{slug}.example", f"{slug}-web", f"subject of {slug}"]
    world.ids["team"] = str(customer.memberships.get().pk)
    _configure(world, slug)
    _mail(world, slug)
    _numbers(world, slug)
    _reputation(world, slug, number)
    _integrations(world, slug)
    world.ids["audit"] = str(customer.audit_entries.latest("id").pk)
    return world


def _configure(world: World, slug: str) -> None:
    customer, ids = world.customer, world.ids
    domain = domains.add(customer, f"{slug}.example", actor="test")
    domains.verify(domain, actor="test")
    ids["domains"] = domain.name
    ids["dkim-keys"] = str(dkim.request(domain, actor="test").pk)
    ids["networks"] = str(customers.add_network(customer, actor="test", network="192.0.2.0/28").pk)
    ids["credentials"] = str(credentials.create(customer, actor="test", username=f"{slug}-web")[0].pk)
    ids["tls-rules"] = str(
        TlsRule.objects.create(customer=customer, recipient_domain=f"bank-of-{slug}.example").pk
    )
    ids["tls-tests"] = str(tls_tests.start(customer, f"bank-of-{slug}.example").pk)
    ids["suppressions"] = str(suppressions.add(customer, f"gone@{slug}.example", actor="test").pk)


def _mail(world: World, slug: str) -> None:
    customer, now = world.customer, timezone.now()
    now_ms = int(now.timestamp() * 1000)
    message = Message.objects.create(
        id=IDS.next(now_ms),
        customer=customer,
        received_at=now,
        sender=f"{slug}@{slug}.example",
        sender_domain=f"{slug}.example",
        subject=f"subject of {slug}",
        size_bytes=10,
        recipient_count=1,
        category="spam",
        score=80,
        symbols=[["LOTTERY", 50.0]],
    )
    recipient = Recipient.objects.create(
        id=IDS.next(now_ms),
        message=message,
        customer=customer,
        address=f"to@friend-of-{slug}.example",
        state="queued",
        domain=f"friend-of-{slug}.example",
        pool="bad",
        next_attempt_at=now,
        expires_at=now + timedelta(days=1),
    )
    Attempt.objects.create(
        message=message, recipient=recipient.pk, at=now, state="queued", stage="rcpt", code=451
    )
    world.ids |= {"messages": to_text(message.pk), "recipients": to_text(recipient.pk)}
    refusal = Refusal.objects.create(
        at=now, customer=customer, stage="mail", code=553, text=f"no {slug}", reason="x"
    )
    ndr = NdrReport.objects.create(
        at=now,
        customer=customer,
        message=message,
        address=f"x@friend-of-{slug}.example",
        domain="f.example",
        cause="5.1.1",
    )
    appeal = Appeal.objects.create(customer=customer, message=message, created_by=f"ann@{slug}.example")
    world.ids |= {"refusals": str(refusal.pk), "ndr-reports": str(ndr.pk), "appeals": str(appeal.pk)}


def _numbers(world: World, slug: str) -> None:
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    HourlyCount.objects.create(
        customer=world.customer, hour=hour, domain=f"{slug}.example", accepted=3, delivered=2
    )


def _reputation(world: World, slug: str, number: int) -> None:
    now = timezone.now()
    provider, _created = Provider.objects.get_or_create(
        slug="zen", defaults={"name": "Zen", "zone": "zen.example", "kind": "ip4"}
    )
    target = Target.objects.create(value=f"198.51.100.{number}", kind="ip4", role="customer_ip")
    target.customers.add(world.customer)
    listing = Listing.objects.create(
        target=target,
        provider=provider,
        severity="major",
        first_seen=now,
        last_seen=now,
        impact={"secret of": slug},
    )
    alert = Alert.objects.create(listing=listing, kind="listed", severity="major", at=now, delivery="now")
    alert.customers.add(world.customer)
    ticket = DelistingTicket.objects.create(listing=listing, state_since=now, opened_at=now)
    world.ids |= {"listings": str(listing.pk), "alerts": str(alert.pk), "tickets": str(ticket.pk)}


def _integrations(world: World, slug: str) -> None:
    customer, ids = world.customer, world.ids
    endpoint, secret = endpoints.create(customer, url=f"https://hook-of-{slug}.example/", actor="test")
    ids["webhooks"] = str(endpoint.pk)
    ids["webhook-deliveries"] = str(endpoints.send_test(endpoint, actor="test").pk)
    token, text = tokens.create(customer, world.owner, name=f"token of {slug}", scopes=["read"], actor="test")
    ids["tokens"] = str(token.pk)
    world.secrets += [secret, text]
    request = support_requests.create(
        customer, subject=f"request of {slug}", text="help", actor=f"ann@{slug}.example"
    )
    support_requests.reply(
        request, text=f"internal note on {slug}", actor="sam", from_support=True, internal=True
    )
    ids["support-requests"] = str(request.pk)
    ids["content-grants"] = str(consent.grant(customer, hours=1, actor=f"ann@{slug}.example").pk)
    message = customer.messages.get()
    ids["content-looks"] = str(consent.look(message, what="subject", actor="sam").pk)


def schema() -> dict[str, Any]:
    """The OpenAPI document, made once."""
    if not _schema:
        from drf_spectacular.generators import SchemaGenerator

        _schema.update(SchemaGenerator().get_schema(request=None, public=True))
    return _schema


_schema: dict[str, Any] = {}
