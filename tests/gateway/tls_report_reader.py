"""Reads a TLS report as its receiver would, and checks its form (RFC 8460 section 5.3)."""

from __future__ import annotations

import email
import email.policy
import gzip
import json
from typing import Any


def read_report(wire: bytes) -> tuple[dict[str, Any], str]:
    """(the JSON, the attachment's name) of a report, after checking its form."""
    assert b"\n" not in wire.replace(b"\r\n", b"")
    message = email.message_from_bytes(wire, policy=email.policy.default)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "tlsrpt"
    assert message["TLS-Report-Domain"] == "partner.example"
    assert message["TLS-Report-Submitter"] == "smg.example"
    assert message["TLS-Required"] == "No"
    text, attached = message.iter_parts()
    assert "about mail to partner.example" in text.get_content()
    assert attached.get_content_type() == "application/tlsrpt+gzip"
    return json.loads(gzip.decompress(attached.get_content())), str(attached.get_filename())
