"""What Azurite lacks and the adapters use, added by a proxy in front of it."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

from .servers import FaultProxy, Request, Response


class StorageFront(FaultProxy):
    """Put Block From URL, between containers of this front; ``copies`` switches it off.

    https://learn.microsoft.com/rest/api/storageservices/put-block-from-url
    """

    copies = True

    def _forward(self, request: Request) -> Response:
        source = request.headers.get("x-ms-copy-source")
        if source is None:
            return super()._forward(request)
        self.counts["copy"] += 1
        if not self.copies:
            return Response(403, b"", {"x-ms-error-code": "CannotVerifyCopySource"})
        url = urlsplit(source)
        wanted = {"x-ms-range": request.headers["x-ms-source-range"], "host": url.netloc}
        fetched = super()._forward(Request("GET", f"{url.path}?{url.query}", wanted, b""))
        if fetched.status != http.client.PARTIAL_CONTENT:
            return Response(403, b"", {"x-ms-error-code": "CannotVerifyCopySource"})
        headers = {k: v for k, v in request.headers.items() if "source" not in k}
        return super()._forward(Request("PUT", request.target, headers, fetched.body))
