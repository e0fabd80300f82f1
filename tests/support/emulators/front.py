"""What Azurite lacks and the adapters use, added by a proxy in front of it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import re
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

from azure.storage.blob import generate_blob_sas

from .servers import Fault, FaultProxy, Request, Response

ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
"""The published key of Azurite's only account."""

_SIGNED = (
    ("sp", "st", "se"),
    ("skoid", "sktid", "skt", "ske", "sks", "skv", "saoid", "suoid", "scid", "skdutid", "sduoid"),
    ("sip", "spr", "sv", "sr", "snapshot", "ses", "srh", "srq", "rscc", "rscd", "rsce", "rscl"),
)
"""The fields of a user delegation signature in their order; the object's path follows the first."""


class StorageFront(FaultProxy):
    """Put Block From URL, and user delegation signatures in the form of today's service.

    https://learn.microsoft.com/rest/api/storageservices/put-block-from-url and
    .../create-user-delegation-sas. ``copies`` switches the former off.
    """

    copies = True
    _delegation_key = b""

    def damage_reads(self, times: int) -> Fault:
        """Change a byte of the next ranged reads on their way."""
        fault = Fault(times, lambda request: "x-ms-range" in request.headers, damaged=True)
        self.arm(fault)
        return fault

    def _forward(self, request: Request) -> Response:
        if "skoid=" in request.target:
            return self._forward_delegated(request)
        source = request.headers.get("x-ms-copy-source")
        if source is not None:
            return self._copy(request, source)
        response = super()._forward(request)
        if "comp=userdelegationkey" in request.target:
            found = re.search(rb"<Value>(.+)</Value>", response.body)
            self._delegation_key = base64.b64decode(found[1]) if found else b""
        return response

    def _copy(self, request: Request, source: str) -> Response:
        self.counts["copy"] += 1
        url = urlsplit(source)
        wanted = {"x-ms-range": request.headers["x-ms-source-range"], "host": url.netloc}
        if self.copies:
            fetched = self._forward(Request("GET", f"{url.path}?{url.query}", wanted, b""))
            if fetched.status == http.client.PARTIAL_CONTENT:
                headers = {k: v for k, v in request.headers.items() if "source" not in k}
                return self._forward(Request("PUT", request.target, headers, fetched.body))
        return Response(403, b"", {"x-ms-error-code": "CannotVerifyCopySource"})

    def _forward_delegated(self, request: Request) -> Response:
        """Check the signature here, and hand the same permission on under the account's key."""
        url = urlsplit(request.target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        _, _, container, name = url.path.split("/", 3)
        before, key, after = ([query.get(field, "") for field in part] for part in _SIGNED)
        path = f"/blob/{ACCOUNT}/{container}/{name}"
        signed = "\n".join([*before, path, *key, *after, query.get("rsct", "")]).encode()
        expected = hmac.digest(self._delegation_key, signed, hashlib.sha256)
        if not hmac.compare_digest(base64.b64decode(query["sig"]), expected):
            return Response(403, b"", {"x-ms-error-code": "AuthenticationFailed"})
        sas = generate_blob_sas(
            ACCOUNT,
            container,
            name,
            account_key=ACCOUNT_KEY,
            permission=query["sp"],
            expiry=datetime.fromisoformat(query["se"]),
        )
        target = f"{url.path}?{sas}"
        return super()._forward(Request(request.method, target, request.headers, request.body))
