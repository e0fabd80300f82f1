"""A Cosmos DB account in two regions, made of the one emulator: each region is a proxy before it.

As with the service, the account's own address belongs to no region; what it answers there names the
region that takes writes and those that may be read.
https://learn.microsoft.com/azure/cosmos-db/distribute-data-globally
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from .servers import FaultProxy, Request, Response
from .tls import Certificate

NAMES = ("West Europe", "North Europe")


class Region(FaultProxy):
    """One address of the account. Everything below a database is counted as ``data``."""

    def __init__(self, account: Account, upstream: int, certificate: Certificate) -> None:
        super().__init__(upstream, certificate)
        self._account = account

    def handle(self, request: Request) -> Response:
        if "/docs" in request.target:
            self.counts["data"] += 1
        return super().handle(request)

    def _forward(self, request: Request) -> Response:
        response = super()._forward(request)
        if request.target == "/":
            return Response(response.status, self._account.described(response.body))
        return response


class Account:
    """``url`` is what an app is given; ``regions`` are where the SDK goes, the first with writes."""

    def __init__(self, upstream: int, certificate: Certificate) -> None:
        fronts = [Region(self, upstream, certificate).start() for _ in range(1 + len(NAMES))]
        self.regions: Sequence[Region] = fronts[1:]
        self.url = fronts[0].url
        self._fronts = fronts

    def fail_over(self) -> None:
        """Give the writes to the other region; this one refuses them from now on."""
        demoted = self.regions[0]
        self.regions = [*self.regions[1:], demoted]
        demoted.answer(403, times=1_000, method="POST", headers={"x-ms-substatus": "3"})

    def described(self, body: bytes) -> bytes:
        """The account's description, with its regions in it."""
        locations = [
            {"name": name, "databaseAccountEndpoint": f"{region.url}/"}
            for name, region in zip(NAMES, self.regions, strict=True)
        ]
        regions = {"writableLocations": locations[:1], "readableLocations": locations}
        return json.dumps(json.loads(body) | regions).encode()

    def stop(self) -> None:
        for front in self._fronts:
            front.stop()
