"""A time stamp authority: OpenSSL makes the responses, as of an authority of its own or of a bad one."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shared.crypto.timestamps import REPLY_TYPE, REQUEST_TYPE
from shared.ports.posting import PostResponse
from tests.support.required import require

DAY = timedelta(days=1)
STAMPING = ExtendedKeyUsageOID.TIME_STAMPING

CONFIGURATION = """
[tsa]
default_tsa = authority
[authority]
serial = serial
signer_cert = signer.pem
signer_key = signer.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha256
"""
GRANTED = bytes.fromhex("3003020100")
"""PKIStatusInfo, DER."""


def require_openssl() -> None:
    """OpenSSL's command must be installed; see ``require``."""
    require(shutil.which("openssl") is not None, "openssl is not installed; install it")


@dataclass
class TestAuthority:
    """An authority with a root and a certificate of its own.

    Attributes:
        folder: Where its files are.
        usages: What its certificate is for.
        valid_for: From when to when that is valid, from now.
        requests: That came in.
    """

    __test__ = False
    folder: Path
    usages: Sequence[x509.ObjectIdentifier] = (STAMPING,)
    valid_for: tuple[timedelta, timedelta] = (-DAY, DAY)
    requests: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self.root = _certificate("A root", "A root", root_key, root_key, (-2 * DAY, 2 * DAY), ())
        signer = _certificate("An authority", "A root", key, root_key, self.valid_for, self.usages)
        self.root_file = self.folder / "root.pem"
        self.root_file.write_bytes(self.root.public_bytes(serialization.Encoding.PEM))
        (self.folder / "signer.pem").write_bytes(signer.public_bytes(serialization.Encoding.PEM))
        (self.folder / "signer.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        (self.folder / "authority.cnf").write_text(CONFIGURATION)
        (self.folder / "serial").write_text("01\n")

    def reply(self, request: bytes) -> bytes:
        """The response to a request."""
        self.requests.append(request)
        self._write("request", request)
        self._run(
            "ts", "-reply", "-config", "authority.cnf", "-queryfile", "request", "-out", "reply"
        )
        return (self.folder / "reply").read_bytes()

    def signing(self, reply: bytes) -> bytes:
        """What another authority granted, signed by this one, whatever its certificate is for."""
        self._write("other", reply)
        self._run("ts", "-reply", "-in", "other", "-token_out", "-out", "token")
        self._run("cms", "-verify", "-noverify", "-inform", "DER", "-in", "token", "-out", "info")
        self._run(
            *("cms", "-sign", "-binary", "-nodetach", "-outform", "DER", "-md", "sha256"),
            *("-econtent_type", "1.2.840.113549.1.9.16.1.4", "-in", "info", "-out", "signed"),
            *("-signer", "signer.pem", "-inkey", "signer.key"),
        )
        body = GRANTED + (self.folder / "signed").read_bytes()
        return b"\x30\x82" + len(body).to_bytes(2, "big") + body

    def respond(self, body: bytes) -> PostResponse:
        """For a ``MemoryPoster``."""
        return PostResponse(200, REPLY_TYPE, self.reply(body))

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Take requests on this machine; the value is the URL."""
        authority = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.headers["Content-Type"] == REQUEST_TYPE
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with lock:
                    reply = authority.reply(body)
                self.send_response(200)
                self.send_header("Content-Type", REPLY_TYPE)
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_: object) -> None:
                pass

        lock = threading.Lock()
        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}/tsr"
            finally:
                server.shutdown()
                thread.join()

    def _write(self, name: str, content: bytes) -> None:
        (self.folder / name).write_bytes(content)

    def _run(self, *arguments: str) -> None:
        ran = subprocess.run(
            ["openssl", *arguments], cwd=self.folder, capture_output=True, timeout=60, check=False
        )
        assert ran.returncode == 0, ran.stderr


def _certificate(
    subject: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    valid_for: tuple[timedelta, timedelta],
    usages: Sequence[x509.ObjectIdentifier],
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + valid_for[0])
        .not_valid_after(now + valid_for[1])
        .add_extension(x509.BasicConstraints(ca=not usages, path_length=None), critical=True)
    )
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=True)
    return builder.sign(issuer_key, hashes.SHA256())
