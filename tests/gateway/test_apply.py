"""manage.py apply, explain and queue: the operator's commands."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import CommandError, call_command

from gateway.crypto import credential_key_from_settings, decrypt, secret_matches
from gateway.models import (
    AuditEntry,
    Body,
    Credential,
    Customer,
    DkimKey,
    Domain,
    Gateway,
    PolicyVersion,
    Recipient,
    TlsRule,
)
from gateway.rules.ids import to_text
from gateway.sign import generate_key
from tests.factories import make_customer, make_domain, make_message

pytestmark = pytest.mark.django_db

FILE = """
[[gateways]]
name = "mta01"
pool = "good"
hostname = "mta01.smg.example"
source_ip = "127.0.0.11"
next_hop_password = "hop secret"
[[gateways]]
name = "mta03"
pool = "bad"
hostname = "mta03.smg.example"
next_hop = "127.0.0.1:2625"
[[shaping]]
destination = "Slow.example"
max_connections = 1
[[customers]]
name = "ACME"
slug = "acme"
alert_email = "ops@acme.example"
rate_limit = 100
  [[customers.credentials]]
  username = "acme-web"
  secret = "only for tests"
  networks = ["192.0.2.0/24"]
  senders = []
  [[customers.domains]]
  name = "acme.example"
  verified = true
  [[customers.networks]]
  network = "192.0.2.0/24"
  [[customers.tls_rules]]
  sender_domain = "acme.example"
  recipient_domain = "bank.example"
  level = "verify"
  on_failure = "hold"
"""


def apply(tmp_path: Path, text: str, *options: str) -> str:
    path = tmp_path / "setup.toml"
    path.write_text(text)
    out = io.StringIO()
    call_command("apply", str(path), *options, stdout=out)
    return out.getvalue()


def test_everything_a_file_names_is_there_and_a_second_time_changes_nothing(tmp_path: Path) -> None:
    assert "10 change(s)" in apply(tmp_path, FILE)
    customer = Customer.objects.get(slug="acme")
    credential = Credential.objects.get(username="acme-web")
    assert (customer.rate_limit, credential.networks) == (100, ["192.0.2.0/24"])
    assert secret_matches("only for tests", credential.secret_hash, credential_key_from_settings())
    assert Domain.objects.get().is_verified
    assert TlsRule.objects.get().on_failure == "hold"
    assert decrypt(Gateway.objects.get(name="mta01").next_hop_password) == "hop secret"
    version = PolicyVersion.objects.get().version
    assert apply(tmp_path, FILE) == "nothing to change\n"
    assert PolicyVersion.objects.get().version == version
    assert "only for tests" not in json.dumps(list(AuditEntry.objects.values("detail")))


def test_check_shows_the_difference_and_makes_none(tmp_path: Path) -> None:
    assert "not made" in apply(tmp_path, FILE, "--check")
    assert not Customer.objects.exists()
    apply(tmp_path, FILE)
    told = apply(tmp_path, FILE.replace("rate_limit = 100", "rate_limit = 50"), "--check")
    assert "customer acme: rate_limit = 50" in told
    assert Customer.objects.get().rate_limit == 100


def test_a_secret_that_is_not_given_is_made_and_said_once(tmp_path: Path) -> None:
    text = '[[customers]]\nslug = "acme"\nname = "ACME"\n[[customers.credentials]]\nusername = "shop"\n'
    assert "credential shop: secret " in apply(tmp_path, text)
    assert "secret" not in apply(tmp_path, text)


def test_a_dkim_key_signs_at_once(tmp_path: Path) -> None:
    pem, record = generate_key()
    (tmp_path / "key.pem").write_bytes(pem)
    key = (
        '[[customers.dkim_keys]]\ndomain = "acme.example"\nselector = "s1"\n'
        f'private_key_file = "{tmp_path}/key.pem"\n'
    )
    apply(tmp_path, FILE + key)
    made = DkimKey.objects.get()
    assert (made.state, made.public_key) == ("active", record)
    assert pem.decode() not in made.private_key
    assert apply(tmp_path, FILE + key) == "nothing to change\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[[customers]]\nslug = "acme"\nname = "A"\nratelimit = 5\n', "unknown key 'ratelimit'"),
        ("[[gatways]]\n", "unknown section 'gatways'"),
        ('[[gateways]]\nname = "x"\npool = "ugly"\nhostname = "x.example"\n', "gateway x: pool"),
        ('[[customers]]\nname = "A"\n', "every entry needs 'slug'"),
        ("[[customers]\n", "Expected"),
    ],
)
def test_a_wrong_file_is_refused_whole_with_the_place(tmp_path: Path, text: str, problem: str) -> None:
    first = '[[gateways]]\nname = "mta09"\npool = "good"\nhostname = "mta09.smg.example"\n'
    with pytest.raises(CommandError, match=problem):
        apply(tmp_path, first + text)
    assert not Gateway.objects.exists()


def test_a_domain_belongs_to_one_customer(tmp_path: Path) -> None:
    make_domain(make_customer("globex"), "acme.example")
    with pytest.raises(CommandError, match="already proven by customer globex"):
        apply(tmp_path, FILE)


# ---- queue


def queue(*arguments: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("queue", *arguments, "--json", stdout=out)
    told: dict[str, Any] = json.loads(out.getvalue())
    return told


def test_queue_tells_and_changes_by_filter() -> None:
    acme = make_customer("acme")
    waiting = make_message(acme, state="queued", to=("a@slow.example", "b@slow.example", "c@other.example"))
    make_message(acme, state="delivered")
    picture = queue()
    assert (picture["queued"], picture["held"]) == (3, 0)
    assert picture["by_destination"][0] == {"name": "slow.example", "state": "queued", "count": 2}
    assert queue("hold", "--domain", "slow.example", "--dry-run") == {"would_change": 2}
    assert queue("hold", "--domain", "slow.example") == {"changed": 2}
    assert queue("release", "--message", to_text(waiting.id)) == {"changed": 2}
    assert queue("cancel", "--recipient", "c@other.example") == {"changed": 1}
    assert Recipient.objects.get(address="c@other.example").state == "cancelled"
    assert AuditEntry.objects.filter(actor="command line").count() == 3


def test_cancelling_the_last_recipient_deletes_the_body() -> None:
    message = make_message(make_customer("acme"), state="queued")
    Body.objects.create(message=message, content=b"x")
    queue("cancel", "--all")
    assert not Body.objects.exists()


def test_a_verb_without_a_filter_must_be_meant() -> None:
    with pytest.raises(CommandError, match="name a filter"):
        queue("cancel")


# ---- explain


def explain(tmp_path: Path, message: bytes, *options: str) -> dict[str, Any]:
    out = io.StringIO()
    with patch("sys.stdin", io.TextIOWrapper(io.BytesIO(message))):
        call_command(
            "explain", "--sender", "web@acme.example", "--recipient", "x@partner.example", "--credential", "acme-web",
            "--json", *options, stdout=out,
        )  # fmt: skip
    told: dict[str, Any] = json.loads(out.getvalue())
    return told


def test_explain_refuses_as_the_relay_would_and_writes_nothing(
    tmp_path: Path, settings: Any, dns_server: Any
) -> None:
    from dataclasses import replace

    from gateway.config import parse_endpoint

    apply(tmp_path, FILE)
    dns_server.mail_domain("acme.example")
    settings.SMG = replace(settings.SMG, nameservers=(parse_endpoint(dns_server.endpoint, 53),))
    told = explain(tmp_path, b"From: boss@globex.example\n\nhello\n")
    assert (told["accepted"], told["reason"]) == (False, "from_not_owner")
    told = explain(tmp_path, b"From: web@acme.example\nSubject: Hello\n\nA letter.\n")
    assert (told["accepted"], told["pool"], told["category"]) == (True, "good", "clean")
    assert [entry["step"] for entry in told["trace"]][:4] == ["account", "sender_domain", "ownership", "rate"]
    assert told["routes"][0]["problem"].startswith("550 5.1.2")
    assert not Recipient.objects.exists()
    with pytest.raises(CommandError, match="no login"):
        explain(tmp_path, b"x", "--credential", "nobody")


def test_explain_names_the_certificates_that_pass(tmp_path: Path, settings: Any, dns_server: Any) -> None:
    from dataclasses import replace
    from ipaddress import ip_network

    from gateway.config import parse_endpoint

    apply(tmp_path, FILE)
    TlsRule.objects.create(
        customer=Customer.objects.get(slug="acme"), recipient_domain="partner.example", level="verify"
    )
    Gateway.objects.update(next_hop="")
    dns_server.mail_domain("acme.example")
    dns_server.mail_domain("partner.example", "127.0.0.1")
    settings.SMG = replace(
        settings.SMG,
        nameservers=(parse_endpoint(dns_server.endpoint, 53),),
        private_mx_networks=(ip_network("127.0.0.0/8"),),
    )
    told = explain(tmp_path, b"From: web@acme.example\nSubject: Hello\n\nA letter.\n")
    assert told["routes"][0]["hops"][0]["tls"] == {
        "level": "verify",
        "source": "rule",
        "blocked": "",
        "certificate": "for mx.partner.example (the MX host) or partner.example (the recipient's domain)",
    }
