"""What the demo needs instead of the internet: a zone for its domains, and a sink at the end of its gateways.

Only active with SMG_DEMO=on. The sink keeps the last messages as files; support sees them in the portal.
"""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from gateway.config import Config
from gateway.dns import StaticZone
from gateway.smtp.tls import server_context

log = logging.getLogger(__name__)

KEEP = 500

ZONE = {
    "acme.example": {
        "MX": ["10 mx.acme.example."],
        "A": ["192.0.2.10"],
        "TXT": ['"v=spf1 a:spf.smg.example -all"'],
    },
    "mx.acme.example": {"A": ["192.0.2.11"]},
    "acme-news.example": {
        "MX": ["10 mx.acme.example."],
        "TXT": ['"v=spf1 a:spf.smg.example -all"'],
    },
    "globex.example": {"MX": ["10 mx.globex.example."], "A": ["192.0.2.20"]},
    "mx.globex.example": {"A": ["192.0.2.21"]},
    "spf.smg.example": {"A": ["192.0.2.1", "192.0.2.2", "192.0.2.3"]},
    "customer.example": {"MX": ["10 mx.customer.example."]},
    "partner.example": {"MX": ["10 mx.partner.example."]},
    "bank.example": {"MX": ["10 mx.bank.example."]},
}


def demo_zone() -> StaticZone:
    """The domains of the demo, answered from memory."""
    return StaticZone(ZONE)


class SinkHandler:
    """Takes every message and keeps it: `<id>.eml` with its octets, `<id>.json` with the envelope."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Two made-up recipients let the demo show what a failure looks like."""
        local = address.partition("@")[0].lower()
        if local.startswith("nobody"):
            return "550 5.1.1 <" + address + ">: Recipient address rejected: User unknown"
        if local.startswith("full"):
            return "452 4.2.2 The email account that you tried to reach is over quota"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        await asyncio.to_thread(self._keep, session, envelope)
        return "250 2.0.0 Kept in the demo's sink"

    def _keep(self, session: Session, envelope: Envelope) -> None:
        now = datetime.now(UTC)
        name = now.strftime("%Y%m%d-%H%M%S-%f")
        about = {
            "received_at": now.isoformat(),
            "helo": session.host_name,
            "peer": str(session.peer[0]) if session.peer else "",
            "tls": session.ssl is not None,
            "sender": envelope.mail_from,
            "recipients": envelope.rcpt_tos,
        }
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        (self._directory / f"{name}.eml").write_bytes(content)
        (self._directory / f"{name}.json").write_text(json.dumps(about))
        for old in sorted(self._directory.glob("*.eml"))[:-KEEP]:
            old.unlink(missing_ok=True)
            old.with_suffix(".json").unlink(missing_ok=True)


def sink(config: Config) -> Controller:
    """The sink's server, not yet started; it offers STARTTLS with the relay's own certificate."""
    return Controller(
        SinkHandler(config.var_dir / "demo" / "sink"),
        hostname=config.demo_sink.host,
        port=config.demo_sink.port,
        server_hostname="sink.smg.example",
        tls_context=server_context(config),
        data_size_limit=config.max_message_size_bytes,
        enable_SMTPUTF8=True,
    )
