"""SSL contexts for outgoing connections, made once per kind: building one costs milliseconds."""

from __future__ import annotations

import ssl
from pathlib import Path

_VERSIONS = {
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}
FLOOR = "TLSv1.2"


class TlsContexts:
    """`ca_file` (SMG_CA_FILE) replaces the system's authorities."""

    def __init__(self, ca_file: Path | None = None) -> None:
        self._ca_file = ca_file
        self._made: dict[tuple[bool, str], ssl.SSLContext] = {}

    def opportunistic(self) -> ssl.SSLContext:
        """Takes whatever encrypts: the alternative is clear text (RFC 7435)."""
        return self._get(verified=False, min_version="")

    def encrypting(self, min_version: str = "") -> ssl.SSLContext:
        """No check of the certificate by OpenSSL; for level encrypt, and where we check it ourselves (pin, DANE)."""
        return self._get(verified=False, min_version=min_version or FLOOR)

    def verifying(self, min_version: str = "") -> ssl.SSLContext:
        """The chain must lead to a known authority; the name is checked by us (several names may be right)."""
        return self._get(verified=True, min_version=min_version or FLOOR)

    def web(self) -> ssl.SSLContext:
        """For HTTPS: OpenSSL checks chain and host name."""
        context = self._make(verified=True, min_version=FLOOR)
        context.check_hostname = True
        return context

    def _get(self, *, verified: bool, min_version: str) -> ssl.SSLContext:
        key = (verified, min_version)
        if key not in self._made:
            self._made[key] = self._make(verified=verified, min_version=min_version)
        return self._made[key]

    def _make(self, *, verified: bool, min_version: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED if verified else ssl.CERT_NONE
        if verified:
            self._load_authorities(context)
        if min_version:
            context.minimum_version = _VERSIONS[min_version]
        else:
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
        return context

    def _load_authorities(self, context: ssl.SSLContext) -> None:
        if self._ca_file is not None:
            context.load_verify_locations(cafile=str(self._ca_file))
        else:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
