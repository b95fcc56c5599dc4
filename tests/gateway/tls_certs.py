"""Certificates for TLS tests: good, expired, self-signed, for another name; and server contexts with them."""

from __future__ import annotations

import hashlib
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.rules.route_types import TlsaRecord

HOST = "mx.partner.example"


class Certificates:
    """One authority and what it issued. `ca_file` is what SMG_CA_FILE would name."""

    def __init__(self, directory: Path) -> None:
        self.ca = trustme.CA()
        self.ca_file = directory / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.ca_file))
        self.good = self.ca.issue_cert(HOST)
        self.wildcard = self.ca.issue_cert("*.partner.example")
        self.wrong_name = self.ca.issue_cert("mx.other.example")
        self.expired = self.ca.issue_cert(HOST, not_after=datetime.now(UTC) - timedelta(days=1))
        self.untrusted = trustme.CA().issue_cert(HOST)

    def server(self, leaf: trustme.LeafCert, *, chain: bool = True) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf.configure_cert(context)
        return context

    def with_root(self, leaf: trustme.LeafCert, directory: Path) -> ssl.SSLContext:
        """A server that sends its authority's certificate too, as DANE-TA wants it."""
        chain = directory / f"chain{id(leaf)}.pem"
        blobs = [blob.bytes() for blob in leaf.cert_chain_pems]
        chain.write_bytes(b"".join((*blobs, self.ca.cert_pem.bytes())))
        key = directory / f"key{id(leaf)}.pem"
        leaf.private_key_pem.write_to_path(str(key))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        return context

    def weak(self, leaf: trustme.LeafCert) -> ssl.SSLContext:
        """TLS 1.1 and nothing better."""
        context = self.server(leaf)
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        return context


def certificate(leaf: trustme.LeafCert) -> x509.Certificate:
    return x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())


def fingerprint(leaf: trustme.LeafCert) -> str:
    return hashlib.sha256(certificate(leaf).public_bytes(Encoding.DER)).hexdigest()


def tlsa(usage: int, selector: int, matching: int, cert: x509.Certificate) -> TlsaRecord:
    der = cert.public_bytes(Encoding.DER)
    if selector == 1:
        der = cert.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    data = {0: der, 1: hashlib.sha256(der).digest(), 2: hashlib.sha512(der).digest()}[matching]
    return TlsaRecord(usage, selector, matching, data)
