"""What in a head tells where a message came from, and must not leave (the promise of the hidden origin).

Three rules: fields of the table go; any other X- field that holds the client's IP address goes; message ids that hold
the client's IP address, or any bracketed address literal, get our domain on their right-hand side (the same old id
always becomes the same new one, in Message-ID, In-Reply-To and References alike, so that threads stay whole).
A host name in a message id stays: it is the author's own choice, and replies and signatures hang on it.
"""

from __future__ import annotations

import hashlib
import re

# name -> why. Kept on purpose: X-Mailer and User-Agent (a program, not a place), DKIM-Signature and ARC-* (may still
# verify and name public domains only), List-* and Resent-* (addressed to the reader), Delivered-To (RFC 9228: the
# customer's own server stops its forwarding loops by it).
ORIGIN_FIELDS: dict[str, str] = {
    "received": "names hosts and addresses of the customer's network; replaced by ours",
    "x-received": "the same by another name",
    "received-spf": "holds client-ip",
    "x-received-spf": "holds client-ip",
    "authentication-results": "an inner server's words; no reader may trust them (RFC 8601 5)",
    "x-authentication-results": "the same by another name",
    "return-path": "written by the last server only (RFC 5321 4.4)",
    "bcc": "names hidden recipients (RFC 5322 3.6.3)",
    "resent-bcc": "names hidden recipients",
    "x-original-to": "names an inner mailbox",
    "x-envelope-from": "envelope data of the customer's server",
    "x-envelope-to": "names recipients",
    "x-originating-ip": "address of the author's machine",
    "x-original-ip": "address of the author's machine",
    "x-client-ip": "address of the author's machine",
    "x-sender-ip": "address of the author's machine",
    "x-remote-ip": "address of the author's machine",
    "x-remote-addr": "address of the author's machine",
    "x-real-ip": "address of the author's machine",
    "x-forwarded-for": "address of the author's machine",
    "x-http-remote-addr": "address of the author's machine",
    "x-mdremoteip": "address of the author's machine (MDaemon)",
    "x-mdhelo": "host name of the author's machine (MDaemon)",
    "x-mdarrival-date": "trace of the customer's server (MDaemon)",
    "x-originating-host": "host name of the author's machine",
    "x-remote-host": "host name of the author's machine",
    "x-helo": "host name of the author's machine",
    "x-sender-host": "host name of the author's machine",
    "x-host": "host name of the author's machine",
    "x-mail-host": "host name of the author's machine",
    "x-php-originating-script": "file and user on the web server",
    "x-php-script": "file and client address on the web server",
    "x-script": "file on the web server",
    "x-antiabuse": "host, user and group on the web server",
    "x-source": "program on the web server",
    "x-source-args": "command line on the web server",
    "x-source-dir": "folder on the web server",
    "x-source-auth": "log-in on the web server",
    "x-source-ip": "address of the author's machine",
    "x-source-l": "whether the sender is local to the web server",
    "x-source-sender": "host and port of the author's machine",
    "x-source-cap": "base64 of account and host (cPanel)",
    "x-exim-id": "queue id of the customer's server",
    "x-get-message-sender-via": "log-in and host (cPanel)",
    "x-authenticated-sender": "log-in name on the customer's server",
    "x-authenticated-user": "log-in name on the customer's server",
    "x-authenticated-by": "log-in name on the customer's server",
    "x-authenticated-as": "log-in name on the customer's server",
    "x-auth-id": "log-in name on the customer's server",
    "x-authuser": "log-in name on the customer's server",
    "x-auth-user": "log-in name on the customer's server",
    "x-sasl-user": "log-in name on the customer's server",
    "x-sender-id": "log-in name on the customer's server",
    "x-local-domain": "whether the customer's server thinks it local",
    "x-postfix-queue-id": "queue id of the customer's server",
    "x-virus-scanned": "host name of the inner scanner",
    "x-amavis-alert": "host name of the inner scanner",
    "x-quarantine-id": "id in the inner scanner",
    "x-clientproxiedby": "host name and address (Exchange)",
    "x-originatororg": "inner organisation (Exchange)",
    "x-originalarrivaltime": "trace of the inner server (Exchange)",
    "x-auto-response-suppress-origin": "trace of the inner server (Exchange)",
    "x-tm-as-product-ver": "inner scanner",
    "x-barracuda-connect": "host name and address of the inner client",
    "x-ironport-av": "inner scanner",
    "x-ip": "address of the author's machine",
    "status": "mailbox file bookkeeping",
    "x-status": "mailbox file bookkeeping",
    "x-uid": "mailbox file bookkeeping",
    "x-uidl": "mailbox file bookkeeping",
    "x-keywords": "mailbox file bookkeeping",
    "x-mozilla-status": "mailbox file bookkeeping",
    "x-mozilla-status2": "mailbox file bookkeeping",
}
ORIGIN_PREFIXES: dict[str, str] = {
    "x-ms-exchange-organization-": "inner host names and routing (Exchange)",
    "x-ms-exchange-crosstenant-": "inner host names and routing (Exchange)",
    "x-ms-exchange-transport-": "inner host names and routing (Exchange)",
    "x-ms-exchange-forest-": "inner host names and routing (Exchange)",
    "x-ms-exchange-antispam-": "verdict of an inner filter (Exchange)",
    "x-forefront-": "verdict and address of an inner filter (Exchange)",
    "x-spam-": "an inner or forged verdict must not speak to the recipient's filter",
    "x-spamd-": "an inner or forged verdict must not speak to the recipient's filter",
    "x-rspamd-": "an inner or forged verdict, and the inner filter's host name",
    "x-mailscanner-": "an inner scanner's verdict and ids",
    "x-proofpoint-": "an inner scanner's verdict and ids",
    "x-barracuda-": "an inner scanner's verdict and ids",
    "x-smg-": "ours alone to write",
}

_NAMES = frozenset(name.encode() for name in ORIGIN_FIELDS)
_PREFIXES = tuple(prefix.encode() for prefix in ORIGIN_PREFIXES)
_ID = re.compile(rb"<([^<>\s@]{1,500})@([^<>\s]{1,500})>")
_ADDRESS_CHAR = rb"[0-9A-Fa-f.:]"


def is_origin(name: bytes) -> bool:
    """Whether a field of this lower-case name goes, whatever it holds."""
    return name in _NAMES or name.startswith(_PREFIXES)


def names_client(name: bytes, value: bytes, client_ip: str) -> bool:
    """Whether an X- field holds the client's address: a habit of some program that the table does not know."""
    return name.startswith(b"x-") and _holds_address(value, client_ip)


def _holds_address(value: bytes, client_ip: str) -> bool:
    """The address as a whole token: 10.0.0.1 is not in 10.0.0.12."""
    address = client_ip.encode("ascii", "replace")
    if not address or address not in value:
        return False
    token = rb"(?<!" + _ADDRESS_CHAR + rb")" + re.escape(address) + rb"(?![0-9A-Fa-f:]|\.[0-9])"
    return re.search(token, value) is not None


def hide_ids(value: bytes, client_ip: str, domain: str) -> bytes:
    """The message ids in a header value with those replaced whose right-hand side tells an address."""

    def hidden(found: re.Match[bytes]) -> bytes:
        left, right = found.groups()
        if not (
            right.startswith(b"[") or _holds_address(right, client_ip) or _holds_address(left, client_ip)
        ):
            return found.group()
        digest = hashlib.sha256(found.group()).hexdigest()[:32]
        return f"<{digest}@{domain}>".encode()

    return _ID.sub(hidden, value)
