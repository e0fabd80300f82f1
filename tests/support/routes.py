"""Every guarded route, and of each kind something of one tenant's that a request can name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.routing import RouteContext, iter_route_contexts

from functions.api.guard import GuardedRoute
from shared.access.permissions import Permission, Role
from shared.access.principal import Principal
from shared.base.partitions import OPERATOR
from tests.support.app import BASE_URL, POLICY, TARGET, App, grant_request
from tests.support.attestation import keep_attestations
from tests.support.reviews import WHY, finished_review
from tests.support.webhooks import WEBHOOK

EMPLOYEE = Principal(OPERATOR, "usr_operator", (Role.OPERATOR,))

TILE = "0/000.p/1"
"""The path of a tile that every log has."""

CONTENT = b"what nobody else may see"
USERNAMES = {Role.ADMINISTRATOR: "admin"} | {
    role: role.value for role in Role if role is not Role.ADMINISTRATOR
}


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    permission: Permission

    def __str__(self) -> str:
        """As audit entries name it."""
        return f"{self.method} {self.path.removeprefix('/api/v1')}"


def guarded(app: FastAPI) -> Iterator[Route]:
    """Every method and path of an app that requires a permission."""
    for context in iter_route_contexts(app.routes):
        permission = permission_of(context)
        if permission is not None:
            for method in sorted(context.methods or ()):
                yield Route(method, str(context.path), permission)


def permission_of(context: RouteContext) -> Permission | None:
    """What the route requires; None where it is public."""
    route = context.original_route
    assert isinstance(route, GuardedRoute), f"{context.path} is not behind the guard"
    return route.access.permission


@dataclass(frozen=True)
class Victim:
    """What belongs to alpha, and a valid request for every route that takes a body."""

    tenant: str
    document: str
    etag: str
    upload: str
    user: str
    target: str
    webhook: str
    set: str
    verification: str
    restore: str
    grant: str
    review: str
    item: str

    def named(self, route: Route) -> str:
        """What of alpha's the route's path names; empty where it names nothing."""
        kind = self.kind(route)
        return str(getattr(self, kind)) if kind else ""

    def kind(self, route: Route) -> str:
        """The name of what the route's path names: ``document``, ``user``, ..."""
        return next(iter(self.kinds(route)), "")

    def kinds(self, route: Route) -> list[str]:
        """The names of all that the route's path names, in its order."""
        return re.findall(r"\{(\w+)\}", route.path)

    def address(self, route: Route) -> str:
        path = re.sub(r"\{path(:path)?\}", TILE, route.path)
        path = re.sub(r"\{(\w+)\}", lambda named: str(getattr(self, named[1])), path)
        queries = {
            "/dead-letters": "?subscription=audit",
            "/inclusion": "?position=0",
            "/consistency": "?size=0",
        }
        return BASE_URL + path + queries.get(path[path.rindex("/") :], "")

    def request(self, route: Route) -> dict[str, Any]:
        """What makes the request succeed for those who may make it."""
        if route.path.endswith("/content") or (
            route.path.endswith("/documents") and route.method == "POST"
        ):
            headers = {"Content-Disposition": 'attachment; filename="other.txt"'}
            if route.method in {"PUT", "POST"}:
                headers["If-Match"] = self.etag
                return {"content": b"overwritten", "headers": headers}
            return {}
        bodies: dict[str, Any] = {
            "/auth/password": {"password": "x" * 12, "new_password": "y" * 12},
            "/tenants": {"slug": "gamma", "administrator": "admin"},
            "/users": {"username": "intruder", "roles": ["reader"]},
            "/users/{user}": {"disabled": True},
            "/uploads": {"name": "other.txt", "size": 1},
            "/policy": POLICY,
            "/targets": TARGET,
            "/backups/verifications": {"set": self.set},
            "/restores": {"set": self.set},
            "/targets/{target}": {"paused": True},
            "/webhooks": WEBHOOK,
            "/webhooks/{webhook}": {"paused": True},
            "/webhooks/{webhook}/replay": {"position": 0},
            "/dead-letters/replay": {"subscription": "audit", "message_ids": ["evt"]},
            "/staff-grants": grant_request(self.tenant, self.document),
            "/staff-grants/{grant}": {"seconds": 600},
            "/staff-grants/closed-cases": {"system": "tickets", "id": "none"},
            "/reviews/{review}/items/{item}": {"decision": "confirm", "reason": WHY},
        }
        body = bodies.get(route.path.removeprefix("/api/v1"))
        return {"json": body} if body and route.method in {"POST", "PUT", "PATCH"} else {}


async def furnish(app: App, alpha: str, auth: dict[str, str]) -> Victim:
    """Make one of each kind for a tenant's administrator."""
    document = (await app.upload(auth, CONTENT)).json()
    upload = await app.http.post("uploads", json={"name": "a", "size": 1}, headers=auth)
    member = await app.services.accounts.find(alpha, "member")
    assert member is not None
    target = await app.http.post("targets", json=TARGET, headers=auth)
    webhook = await app.http.post("webhooks", json=WEBHOOK, headers=auth)
    await app.settle()
    app.clock.advance(240)
    await app.services.outbox.relay()
    await app.services.backups.timer.run()
    await app.services.audit.checkpoints.run()
    await keep_attestations(app, alpha)
    made = await app.services.backups.reader.newest(alpha)
    verification = await app.http.post("backups/verifications", json={"set": made}, headers=auth)
    restore = await app.http.post("restores", json={"set": made}, headers=auth)
    # Of an employee who asks for nothing else.
    await app.services.accounts.create(EMPLOYEE, "helper", (Role.SUPPORT,), None)
    grant = await app.grant(
        alpha, document["id"], requester="helper", operations=["read", "write", "delete"]
    )
    return Victim(
        alpha,
        document["id"],
        document["etag"],
        upload.json()["id"],
        member.value.id,
        target.json()["target"]["id"],
        webhook.json()["webhook"]["id"],
        made,
        verification.json()["id"],
        restore.json()["id"],
        grant,
        await finished_review(app, alpha),
        f"{member.value.id}.member",
    )


async def send(app: App, victim: Victim, route: Route, headers: dict[str, str]) -> httpx.Response:
    request = victim.request(route)
    request["headers"] = request.get("headers", {}) | headers
    return await app.http.request(route.method, victim.address(route), **request)
