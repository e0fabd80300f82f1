"""One certificate for 127.0.0.1, made for a test run and trusted by it alone."""

from __future__ import annotations

import ipaddress
import os
import secrets
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp.connector
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate and its key, as PEM files."""

    certificate: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate, self.key)
        return context

    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))


def make_certificate(
    folder: Path, *names: str, valid_until: timedelta = timedelta(days=2)
) -> Certificate:
    """A certificate for 127.0.0.1 and some names of DNS, valid from a while ago until then."""
    key = ec.generate_private_key(ec.SECP256R1())
    # Of two trusted certificates of one name, OpenSSL checks against the first alone.
    common_name = f"test {secrets.token_hex(8)}"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + valid_until)
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                    *(x509.DNSName(each) for each in names),
                ]
            ),
            critical=False,
        )
        # Not an authority's: some clients take that for no server's, whoever is trusted.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    made.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return made


@contextmanager
def trusted(certificate: Certificate) -> Iterator[None]:
    """Let this process and its children trust the certificate, as a machine's own store would.

    aiohttp builds its default context once, when it is imported, before any test can set
    ``SSL_CERT_FILE``; so that context gets another one in its place.
    """
    before = aiohttp.connector._SSL_CONTEXT_VERIFIED
    aiohttp.connector._SSL_CONTEXT_VERIFIED = certificate.client_context()
    os.environ["SSL_CERT_FILE"] = str(certificate.certificate)
    try:
        yield
    finally:
        del os.environ["SSL_CERT_FILE"]
        aiohttp.connector._SSL_CONTEXT_VERIFIED = before
