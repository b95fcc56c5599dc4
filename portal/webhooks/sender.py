"""One POST to an address that a customer named: hostile until proven otherwise.

The name is resolved once and the very address that was checked is connected to, so a name cannot change its mind in
between. Private, loopback, link-local and other special addresses are refused, also inside IPv6 ones. Redirects are
not followed, the answer is read up to 16 KiB, everything together may take 5 seconds.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from gateway.rules.mx import IPAddress, IPNetwork, forbidden

TIMEOUT_S = 5.0
MOST_READ_BYTES = 16 * 1024
KEPT_CHARS = 500


class ForbiddenAddressError(OSError):
    """The name leads to an address that webhooks must not reach."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one POST: an HTTP status, or 0 and the error."""

    status: int
    error: str = ""
    body: str = ""
    ms: int = 0
    retry_after_s: int | None = None

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        return self.status == 410


def is_allowed(address: IPAddress, laboratory: Sequence[IPNetwork] = ()) -> bool:
    """Public unicast only, or inside a network that the operator opened for tests."""
    return forbidden(str(address), (), laboratory) is None


def post(
    url: str, body: bytes, headers: Mapping[str, str], *, laboratory: Sequence[IPNetwork] = ()
) -> Answer:
    """POST and tell what came back. Never raises for anything the other side or the network does."""
    started = time.monotonic()
    try:
        answer = _post(urlsplit(url), body, headers, laboratory)
    except (OSError, http.client.HTTPException, ValueError) as error:
        answer = Answer(0, _words(error))
    ms = int((time.monotonic() - started) * 1000)
    return Answer(answer.status, answer.error, answer.body, ms, answer.retry_after_s)


def _post(
    url: SplitResult, body: bytes, headers: Mapping[str, str], laboratory: Sequence[IPNetwork]
) -> Answer:
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    deadline = time.monotonic() + TIMEOUT_S
    stream = _connect(_addresses(host, port, laboratory), port, deadline)
    if url.scheme == "https":
        stream = _context().wrap_socket(stream, server_hostname=host, do_handshake_on_connect=False)
    with _cut_off(stream, deadline) as late:
        try:
            if isinstance(stream, ssl.SSLSocket):
                stream.do_handshake()
            return _talk(stream, url, body, headers)
        except (OSError, http.client.HTTPException) as error:
            # A single read that waited to the deadline ends by its own time-out, at the same moment.
            if late.is_set() or isinstance(error, TimeoutError):
                raise TimeoutError("no complete answer in time") from None
            raise


def _addresses(host: str, port: int, laboratory: Sequence[IPNetwork]) -> list[IPAddress]:
    """What the name resolves to; one forbidden address among them forbids the name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(ipaddress.ip_address(str(row[4][0]).partition("%")[0]) for row in found))
    if not all(is_allowed(address, laboratory) for address in addresses):
        raise ForbiddenAddressError("the name leads to an address that is not public")
    return addresses


def _connect(addresses: list[IPAddress], port: int, deadline: float) -> socket.socket:
    last: OSError = OSError("the name has no address")
    for address in addresses[:4]:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            break
        try:
            return socket.create_connection((str(address), port), timeout=left_s)
        except OSError as error:
            last = error
    raise last


@contextmanager
def _cut_off(stream: socket.socket, deadline: float) -> Iterator[threading.Event]:
    """Shut the connection at the deadline: a time-out per read would let a drip of octets go on for ever."""
    late = threading.Event()

    def cut() -> None:
        late.set()
        with suppress(OSError):  # it may be closed already, which is what we wanted
            socket.socket.shutdown(stream, socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), cut)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()
        stream.close()


def _context() -> ssl.SSLContext:
    from django.conf import settings

    ca_file = settings.SMG.ca_file
    return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)


def _talk(stream: socket.socket, url: SplitResult, body: bytes, headers: Mapping[str, str]) -> Answer:
    connection = http.client.HTTPConnection(url.netloc.rpartition("@")[2])
    connection.sock = stream
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    try:
        connection.request("POST", target, body=body, headers={**headers, "Connection": "close"})
        response = connection.getresponse()
        text = response.read(MOST_READ_BYTES).decode("utf-8", "replace").replace("\0", "")[:KEPT_CHARS]
        error = "redirects are not followed" if 300 <= response.status < 400 else ""
        return Answer(response.status, error, text, 0, _seconds(response.getheader("Retry-After")))
    finally:
        connection.close()


def _seconds(value: str | None) -> int | None:
    return int(value) if value and value.isascii() and value.isdigit() and len(value) < 8 else None


def _words(error: Exception) -> str:
    """An error for the customer's log: ours in words, others by their text, never with inner parts."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate: {error.verify_message}"[:200]
    if isinstance(error, socket.gaierror):
        return "the name does not resolve"
    return (str(error) or type(error).__name__)[:200]
