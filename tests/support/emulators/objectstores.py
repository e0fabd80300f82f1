"""Object stores that targets are in: S3 as moto serves it, and the same behind Google's way to sign in.

moto checks no signatures. Azure Blob is Azurite, see ``node.py``.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Self
from urllib.parse import unquote

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from .servers import FaultProxy, Request, Response
from .tls import Certificate


class S3Server:
    """moto's S3 over HTTPS. ``requests`` has the method and the query of each request."""

    def __init__(self, certificate: Certificate) -> None:
        self.requests: list[tuple[str, str]] = []
        self._app = DomainDispatcherApplication(create_backend_app)
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = make_server(
            "127.0.0.1", 0, self._serve, threaded=True, ssl_context=certificate.server_context()
        )
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join(timeout=5)
        self._server.server_close()

    def _serve(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        self.requests.append((environ["REQUEST_METHOD"], environ["QUERY_STRING"]))
        response: Iterable[bytes] = self._app(environ, start)
        return response


class S3Front(FaultProxy):
    """Makes it fail."""

    def handle(self, request: Request) -> Response:
        # moto would take another port for another service.
        headers = {k: v for k, v in request.headers.items() if k != "host"}
        return super().handle(Request(request.method, request.target, headers, request.body))


class GoogleFront(S3Front):
    """Google Cloud Storage's XML API, which is S3's but for who may come in: those with a token that a
    service account signed itself (https://google.aip.dev/auth/4111)."""

    EMAIL = "backups@project.iam.gserviceaccount.com"
    KEY_ID = "1c3f5a7b9d"

    def __init__(self, upstream: int, certificate: Certificate) -> None:
        super().__init__(upstream, certificate)
        self._key = rsa.generate_private_key(65_537, 2_048)
        self._public = RSAKey.import_key(
            self._key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        self.tokens: set[str] = set()

    def service_account(self, **changed: str) -> str:
        """The JSON of the key, as the console gives it, with some fields changed."""
        pem = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return json.dumps(
            {
                "type": "service_account",
                "project_id": "project",
                "private_key_id": self.KEY_ID,
                "private_key": pem.decode(),
                "client_email": self.EMAIL,
                "client_id": "1234567890",
                "auth_uri": "https://accounts.google.com/o/oauth2/auth",
                "token_uri": "https://oauth2.googleapis.com/token",
                "universe_domain": "googleapis.com",
                **changed,
            }
        )

    def handle(self, request: Request) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not self._is_valid(token):
            code = b"<Error><Code>AuthenticationRequired</Code></Error>"
            return Response(401, code, {"content-type": "application/xml"})
        self.tokens.add(token)
        path, mark, query = request.target.partition("?")
        target = unquote(path) + mark + query  # moto does not see that %2D is the - of a bucket
        return super().handle(Request(request.method, target, request.headers, request.body))

    def _is_valid(self, token: str) -> bool:
        try:
            decoded = jwt.decode(token, self._public, algorithms=["RS256"])
        except (JoseError, ValueError):
            return False
        claims = decoded.claims
        return (
            decoded.header == {"alg": "RS256", "typ": "JWT", "kid": self.KEY_ID}
            and claims["iss"] == claims["sub"] == self.EMAIL
            and claims["scope"] == "https://www.googleapis.com/auth/devstorage.read_write"
            and claims["exp"] - claims["iat"] <= 3_600
            and abs(claims["iat"] - time.time()) < 300
        )
