"""The server's certificate and TLS settings. Without a configured certificate a self-signed one is made once."""

from __future__ import annotations

import datetime as dt
import os
import ssl
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.config import Config, ConfigError

SELF_SIGNED_NAME = "self-signed.pem"
SELF_SIGNED_DAYS = 3650


def server_context(config: Config) -> ssl.SSLContext:
    """TLS 1.2 and newer with the operator's certificate, or the self-signed one; raises ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    load_certificate(context, config)
    return context


def load_certificate(context: ssl.SSLContext, config: Config) -> None:
    """Put the certificate into a context; on a context in use it counts for new connections. Raises ConfigError."""
    if config.tls_key and not config.tls_cert:
        raise ConfigError(f"SMG_TLS_KEY={config.tls_key}: set SMG_TLS_CERT, too")
    certificate = config.tls_cert or self_signed(config.var_dir / "tls", config.hostname)
    try:
        context.load_cert_chain(certificate, config.tls_key)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"SMG_TLS_CERT={certificate}: cannot be used as a certificate with key ({error})"
        ) from error


def self_signed(directory: Path, hostname: str) -> Path:
    """The path of a PEM file with a P-256 key and a certificate for this host name, made if it is not there.

    Several processes may start at once: each writes a file of its own, and the first to link it to the final name wins.
    """
    final = directory / SELF_SIGNED_NAME
    if final.exists():
        return final
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=directory, prefix=".new-")  # mode 0600
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_make_pem(hostname))
            file.flush()
            os.fsync(file.fileno())
        _link_first(temporary, final)
    finally:
        temporary.unlink()
    return final


def _link_first(temporary: Path, final: Path) -> None:
    try:
        final.hardlink_to(temporary)
    except FileExistsError:
        return  # another process was faster; its certificate is as good


def _make_pem(hostname: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + _certificate(key, hostname).public_bytes(serialization.Encoding.PEM)


def _certificate(key: ec.EllipticCurvePrivateKey, hostname: str) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))  # clocks differ
        .not_valid_after(now + dt.timedelta(days=SELF_SIGNED_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
