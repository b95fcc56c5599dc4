"""Configurations to paste into mail servers and programs, filled in with the customer's own values."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.db.models import F
from django.template.loader import render_to_string

from gateway.models import Credential

CLIENTS = (
    ("postfix", "Postfix"),
    ("exim", "Exim"),
    ("exchange", "Exchange / Microsoft 365"),
    ("sendmail", "sendmail"),
    ("msmtp", "msmtp"),
    ("powershell", "PowerShell"),
    ("python", "Python"),
    ("php", "PHP"),
    ("java", "Java"),
)
PLACEHOLDER = "YOUR-SECRET"


@dataclass(frozen=True, slots=True)
class ClientConfig:
    key: str
    name: str
    text: str


def client_configs(credential: Credential | None, secret: str = "") -> list[ClientConfig]:
    """One text per client; the secret is filled in only on the page that shows it."""
    values = connection() | {
        "username": credential.username if credential else "YOUR-LOGIN",
        "secret": secret or PLACEHOLDER,
        "sender": _sender(credential),
    }
    return [ClientConfig(key, name, _text(key, values)) for key, name in CLIENTS]


def connection() -> dict[str, object]:
    """Where customers connect: the public name, the first ports of STARTTLS and implicit TLS ('' = none), whether that
    is this machine, and whether clients that check certificates must be told not to."""
    smtp, smtps = settings.SMG.smtp_listen, settings.SMG.smtps_listen
    local = bool(smtp) and smtp[0].host.startswith("127.")
    host = smtp[0].host if local else settings.SMG.hostname
    return {
        "host": host,
        "is_local": local,
        "port": smtp[0].port if smtp else 25,
        "tls_port": smtps[0].port if smtps else "",
        "self_signed": settings.SMG.tls_cert is None,
    }


def _sender(credential: Credential | None) -> str:
    if credential is None:
        return "you@your-domain.example"
    first = credential.senders[0] if credential.senders else None
    proven_first = F("verified_at").asc(nulls_last=True)
    domain = credential.customer.domains.order_by(proven_first).values_list("name", flat=True).first()
    return first if first and "@" in first else f"you@{first or domain or 'your-domain.example'}"


def _text(key: str, values: dict[str, object]) -> str:
    return render_to_string(f"client_configs/{key}.txt", values).strip() + "\n"
