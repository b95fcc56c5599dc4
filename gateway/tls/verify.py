"""Whether the certificate a server showed is the one that was demanded.

OpenSSL has checked the chain when the level is `verify`. Names, pins and TLSA records are compared here, on the very
certificate of the connection.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.rules.route_types import TlsaRecord, TlsDemand
from gateway.rules.tls_policy import matching_name
from gateway.rules.types import TlsInfo, TlsLevel

MAX_CHAIN = 10


class CertificateRejected(Exception):
    """`result` is a result type of RFC 8460 section 4.3, the text a sentence about what is wrong."""

    def __init__(self, result: str, text: str) -> None:
        super().__init__(text)
        self.result = result


def check_peer(demand: TlsDemand, host: str, peer: ssl.SSLObject, now: datetime) -> TlsInfo:
    """What was agreed, after every check that the demand asks for; raises CertificateRejected."""
    chain = chain_of(peer)
    if not chain:
        raise CertificateRejected("validation-failure", "the server showed no certificate")
    subject = _subject(demand, host, peer, chain, now)
    cipher = peer.cipher()
    return TlsInfo(
        version=peer.version() or "",
        cipher=cipher[0] if cipher else "",
        verified=bool(demand.fingerprint) or demand.level in (TlsLevel.VERIFY, TlsLevel.DANE),
        subject=subject,
        fingerprint=hashlib.sha256(chain[0]).hexdigest(),
        policy=demand.source,
    )


def _subject(demand: TlsDemand, host: str, peer: ssl.SSLObject, chain: Sequence[bytes], now: datetime) -> str:
    wanted = demand.names or (host,)
    if demand.fingerprint:
        return _check_pin(demand.fingerprint, chain[0])
    if demand.level is TlsLevel.VERIFY:
        return _check_name(peer, wanted)
    if demand.level is TlsLevel.DANE:
        return check_dane(demand.tlsa, wanted, chain, now)
    return first_name(chain[0])


def _check_pin(fingerprint: str, leaf: bytes) -> str:
    if hashlib.sha256(leaf).hexdigest() != fingerprint:
        raise CertificateRejected("validation-failure", "the certificate is not the pinned one")
    return first_name(leaf)


def _check_name(peer: ssl.SSLObject, wanted: Sequence[str]) -> str:
    certificate: Any = peer.getpeercert() or {}
    found = matching_name(certificate.get("subjectAltName", ()), wanted)
    if not found:
        raise CertificateRejected(
            "certificate-host-mismatch", f"the certificate is not for {' or '.join(wanted)}"
        )
    return found


def chain_of(peer: Any) -> list[bytes]:
    """The certificates the server sent, leaf first, DER. Python 3.13 has a public method for it; before that it is on
    the object behind ssl.SSLObject."""
    public: Callable[[], Sequence[bytes]] | None = getattr(peer, "get_unverified_chain", None)
    if public is not None:
        return list(public() or ())[:MAX_CHAIN]
    found = peer._sslobj.get_unverified_chain() or ()
    return [certificate.public_bytes(2) for certificate in found][:MAX_CHAIN]  # 2 = DER


def first_name(leaf: bytes) -> str:
    """A name to show for a certificate that nobody checked: untrusted text, '' when there is none."""
    try:
        return next(iter(_alternative_names(x509.load_der_x509_certificate(leaf))), ("", ""))[1]
    except (ValueError, TypeError):
        return ""


def _alternative_names(certificate: x509.Certificate) -> list[tuple[str, str]]:
    """subjectAltName in the shape of ssl.getpeercert()."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return []
    hosts = [("DNS", name) for name in names.get_values_for_type(x509.DNSName)]
    return hosts + [("IP Address", str(address)) for address in names.get_values_for_type(x509.IPAddress)]


def check_dane(
    records: Sequence[TlsaRecord], wanted: Sequence[str], chain: Sequence[bytes], now: datetime
) -> str:
    """RFC 7672 section 3: one record that matches is enough. Usage 3 looks at the key alone (no name, no dates);
    usage 2 wants a chain that leads to the named authority, dates and name in order."""
    if any(record.usage == 3 and tlsa_matches(record, chain[0]) for record in records):
        return first_name(chain[0]) or wanted[0]
    anchors = [record for record in records if record.usage == 2]
    if not anchors:
        raise CertificateRejected("validation-failure", "the certificate matches none of the TLSA records")
    return _check_anchored(anchors, wanted, chain, now)


def _check_anchored(
    records: Sequence[TlsaRecord], wanted: Sequence[str], chain: Sequence[bytes], now: datetime
) -> str:
    try:
        certificates = [x509.load_der_x509_certificate(der) for der in chain]
    except (ValueError, TypeError) as error:
        raise CertificateRejected("validation-failure", "the certificate chain cannot be read") from error
    path = _path_to_anchor(certificates, records)
    if path is None:
        raise CertificateRejected(
            "validation-failure", "the certificate chain leads to none of the TLSA records"
        )
    if any(not (one.not_valid_before_utc <= now <= one.not_valid_after_utc) for one in path):
        raise CertificateRejected(
            "certificate-expired", "a certificate of the chain is expired or not yet valid"
        )
    found = matching_name(_alternative_names(certificates[0]), wanted)
    if not found:
        raise CertificateRejected(
            "certificate-host-mismatch", f"the certificate is not for {' or '.join(wanted)}"
        )
    return found


def _path_to_anchor(
    certificates: Sequence[x509.Certificate], records: Sequence[TlsaRecord]
) -> list[x509.Certificate] | None:
    """Leaf, issuer, issuer's issuer ... up to a certificate that a record names; None when there is none."""
    path = [certificates[0]]
    rest = [*certificates[1:], *_certificates_in(records)]
    while len(path) <= MAX_CHAIN:
        if len(path) > 1 and any(_names(record, path[-1]) for record in records):
            return path
        issuer = next((one for one in rest if one not in path and _issued(one, path[-1])), None)
        if issuer is None:
            return None
        path.append(issuer)
    return None


def _certificates_in(records: Sequence[TlsaRecord]) -> list[x509.Certificate]:
    """TLSA 2 0 0 carries the authority itself; the server need not send it."""
    found = []
    for record in records:
        if (record.selector, record.matching) == (0, 0):
            try:
                found.append(x509.load_der_x509_certificate(record.data))
            except (ValueError, TypeError):
                continue
    return found


def _issued(issuer: x509.Certificate, subject: x509.Certificate) -> bool:
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        subject.verify_directly_issued_by(issuer)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, InvalidSignature, ValueError, TypeError):
        return False
    return constraints.ca


def _names(record: TlsaRecord, certificate: x509.Certificate) -> bool:
    return tlsa_matches(record, certificate.public_bytes(Encoding.DER))


def tlsa_matches(record: TlsaRecord, der: bytes) -> bool:
    """RFC 6698 section 2.1. Selector 0 = the certificate, 1 = its public key; matching 0 = whole, 1 = SHA-256,
    2 = SHA-512."""
    try:
        content = der if record.selector == 0 else _public_key(der)
    except (ValueError, TypeError):
        return False
    digest = {0: _whole, 1: _sha256, 2: _sha512}[record.matching]
    return digest(content) == record.data


def _public_key(der: bytes) -> bytes:
    key = x509.load_der_x509_certificate(der).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _whole(content: bytes) -> bytes:
    return content


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _sha512(content: bytes) -> bytes:
    return hashlib.sha512(content).digest()
