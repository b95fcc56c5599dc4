"""CPU per signature and per prepared head, ours beside stock dkimpy, on one core: python -m bench.dkim"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime

import dkim

from gateway.rules.headers import prepare
from gateway.rules.policy import DkimKeyPolicy
from gateway.rules.types import Address, Envelope
from gateway.sign import generate_key, sign

HEAD = (
    b"Received: from web01 (web01.inner [10.0.0.5])\r\n\tby mail.inner with ESMTP; Tue, 24 Nov 2026 06:30:05 +0000\r\n"
    b"From: Alice <alice@acme.example>\r\nTo: bob@globex.example\r\nSubject: Invoice 4711\r\n"
    b"Date: Tue, 24 Nov 2026 06:30:05 +0000\r\nMessage-ID: <1@acme.example>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nX-Mailer: Bench 1\r\n\r\n"
)
LINE = b"The invoice for  November is attached, please pay it within 14 days. \r\n"


def text(size: int) -> bytes:
    return HEAD + LINE * (size // len(LINE))


def attachment(size: int) -> bytes:
    return HEAD + base64.encodebytes(os.urandom(size * 3 // 4)).replace(b"\n", b"\r\n")


def cpu_ms(call: Callable[[], object], seconds: float = 1.0) -> float:
    """Mean CPU time of a call, over about so many seconds."""
    call()
    rounds, started = 0, time.process_time()
    while (spent := time.process_time() - started) < seconds:
        call()
        rounds += 1
    return 1000 * spent / rounds


def stock(message: bytes, pem: bytes) -> bytes:
    return dkim.sign(message, b"s", b"acme.example", pem, canonicalize=(b"relaxed", b"relaxed"))


def main() -> None:
    pem, _ = generate_key()
    ed_pem, _ = generate_key("ed25519")
    key, ed_key = (DkimKeyPolicy(1, "acme.example", "s", each) for each in (pem, ed_pem))
    print("CPU ms per message   prepare   rsa-2048   ed25519   stock dkimpy rsa-2048")
    for name, size in (("4 KiB", 4096), ("50 KiB", 51200), ("1 MiB", 2**20), ("10 MiB", 10 * 2**20)):
        for kind, make in (("text", text), ("base64", attachment)):
            message = make(size)
            envelope = Envelope(
                1,
                1,
                1,
                Address("a", "acme.example"),
                [],
                message,
                datetime(2026, 11, 24, tzinfo=UTC),
                "10.0.0.5",
            )
            prepared = prepare(message, envelope, our_hostname="smg", message_id_domain="a")
            row = (
                cpu_ms(
                    lambda m=message, e=envelope: prepare(m, e, our_hostname="smg", message_id_domain="a")
                ),
                cpu_ms(lambda m=prepared: sign(m, key)),
                cpu_ms(lambda m=prepared: sign(m, ed_key)),
                cpu_ms(lambda m=message: stock(m, pem), 0.5),
            )
            print(f"{name:>7} {kind:<10}" + "".join(f"{value:11.3f}" for value in row))


if __name__ == "__main__":
    main()
