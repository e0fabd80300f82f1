"""A managed identity endpoint, as the App Service and Functions hosts offer it to their apps.

Protocol: https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference.
``DefaultAzureCredential`` finds it through ``IDENTITY_ENDPOINT`` and ``IDENTITY_HEADER``.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .servers import HttpServer, Request, Response

TENANT = "7f0c7a3e-6a54-4b0a-9d38-0d6a5a0f5c11"
CLIENT_ID = "3d1f5a86-0d3e-4a8e-9b64-5f2f7c1e9a70"
"""The user-assigned identity; there is no system-assigned one, as in the deployment."""

TOKEN_SECONDS = 3600


class IdentityEndpoint(HttpServer):
    """Issues unsigned tokens that name their audience; emulators accept what was issued."""

    def __init__(self) -> None:
        super().__init__(certificate=None)
        self.header = secrets.token_urlsafe(16)
        self.issued: set[str] = set()

    @property
    def environment(self) -> dict[str, str]:
        """What the host and the deployment give the app."""
        return {
            "IDENTITY_ENDPOINT": f"{self.url}/msi/token",
            "IDENTITY_HEADER": self.header,
            "AZURE_CLIENT_ID": CLIENT_ID,
            "AZURE_TOKEN_CREDENTIALS": "prod",
        }

    def handle(self, request: Request) -> Response:
        self.counts["token"] += 1
        if not secrets.compare_digest(request.headers.get("x-identity-header", ""), self.header):
            return Response(401, {"message": "Wrong identity header."})
        query = parse_qs(urlsplit(request.target).query)
        if query.get("client_id") != [CLIENT_ID]:
            return Response(400, {"message": "No such managed identity is assigned to the app."})
        audience = query["resource"][0]
        now = int(time.time())
        token = _token(
            {
                "aud": audience,
                "iss": f"https://sts.windows.net/{TENANT}/",
                "iat": now,
                "nbf": now - 60,
                "exp": now + TOKEN_SECONDS,
                "oid": TENANT,
                "tid": TENANT,
                "jti": secrets.token_urlsafe(8),
            }
        )
        self.issued.add(token)
        return Response(
            200,
            {
                "access_token": token,
                "expires_on": str(now + TOKEN_SECONDS),
                "resource": audience,
                "token_type": "Bearer",
            },
        )


def _token(claims: dict[str, Any]) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "none", "typ": "JWT"}, claims)]
    return ".".join([*(base64.urlsafe_b64encode(p).rstrip(b"=").decode() for p in parts), "none"])
