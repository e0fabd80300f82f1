"""The OpenAPI document: valid, complete, and what the API really does, tried by schemathesis."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
import requests
import schemathesis
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi.routing import APIRoute, iter_route_contexts
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks

from functions.api import pages
from functions.api.app import CAPABILITIES, PREFIX, STANDARD_HEADERS, module_of
from functions.api.guard import PERMISSION_FIELD
from functions.api.targets import TargetBody
from shared.access.permissions import PERMISSIONS, Permission, Role
from shared.access.principal import Principal
from shared.base.activity import Activity
from shared.base.partitions import OPERATOR
from shared.targets.requests import NewTarget
from shared.webhooks.requests import NewWebhook
from standalone.connections import Connections
from standalone.frontend import LimitedHttpProtocol
from tests.support.app import BASE_URL, POLICY, TARGET, App, SeededApp
from tests.support.attestation import keep_attestations
from tests.support.serving import serving
from tests.support.webhooks import WEBHOOK

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]


class Served:
    """An app behind the server's own HTTP, on an event loop of its own, for plain tests."""

    def __init__(
        self, portal: BlockingPortal, app: App, http: httpx.AsyncClient, tenant: str
    ) -> None:
        self._portal = portal
        self._app = app
        self._http = http
        self._tenant = tenant
        self._set: str | None = None
        self._made = 0
        self._granted = ""
        self.document: dict[str, Any] = app.apps[0].openapi()

    def get(self, address: str) -> Any:
        """The response to a client that has not signed in."""
        return self.ask(requests.Request("GET", BASE_URL + address).prepare(), None)

    def ask(self, request: requests.PreparedRequest, username: str | None) -> Any:
        """The response to a user, or to a client that has not signed in."""
        return self._portal.call(self._ask, request, username)

    def gather(self) -> None:
        """Let the timer list the items of the reviews that were opened."""
        self._portal.call(self._app.services.reviews.timer.run)

    def existing(self, path: str) -> dict[str, str]:
        """Ids of what is there, for the parameters of a path."""
        names = re.findall(r"\{(\w+)\}", path)
        return {name: self._portal.call(self._existing, name) for name in names if name in IDS}

    async def _existing(self, name: str) -> str:
        app, auth = self._app, await self._app.auth(self._tenant)
        if name in {"set", "restore"} and self._set is None:
            await app.upload(auth, b"content")
            await app.settle()
            app.clock.advance(240)
            await app.services.outbox.relay()
            await app.services.backups.timer.run()
            self._set = (await app.http.get("backups", headers=auth)).json()["items"][0]["id"]
        administrator = Principal(self._tenant, "usr_furnisher", (Role.ADMINISTRATOR,))
        match name:
            case "document":
                binary = {"Content-Type": "application/octet-stream"}
                made = await app.upload(auth, b"content", **binary)
            case "upload":
                body = {"name": "a", "size": 1}
                made = await app.http.post("uploads", json=body, headers=auth)
            case "restore":
                made = await app.http.post("restores", json={"set": self._set}, headers=auth)
            case "user":
                self._made += 1
                created = await app.services.accounts.create(
                    administrator, f"user-{self._made}", (Role.READER,), None
                )
                return created.user.id
            case "target":
                # Not by a request: how often one may be probed is limited.
                found = await app.services.targets.all(administrator)
                if found.items:
                    return found.items[0].target.id
                self._made += 1
                place = TARGET["address"] | {"prefix": f"copies-{self._made}/"}
                wanted = TargetBody.model_validate(TARGET | {"address": place})
                new = NewTarget(wanted.name, wanted.address, wanted.credentials, None, 0)
                return (await app.services.targets.create(administrator, new, None)).target.id
            case "webhook":
                listed = await app.services.webhooks.webhooks.all(administrator)
                if listed.items:
                    return listed.items[0].webhook.id
                made_now = await app.services.webhooks.webhooks.create(
                    administrator, NewWebhook(**WEBHOOK), None
                )
                return made_now.webhook.id
            case "set":
                return str(self._set)
            case "grant":
                return await self._grant()
            case _:
                return self._tenant
        return str(made.json()["id"])

    async def _grant(self) -> str:
        """A live grant of the operator's, for all documents that are made here."""
        auth = await self._app.auth(OPERATOR, "operator")
        if self._granted:
            found = await self._app.http.get(f"staff-grants/{self._granted}", headers=auth)
            if found.json()["state"] == "live":
                return self._granted
        else:
            second = Principal(OPERATOR, "usr_furnisher", ())
            await self._app.services.accounts.create(second, "second", (Role.OPERATOR,), None)
        scope = {"depth": "content", "search": "a"}
        self._granted = await self._app.grant(
            self._tenant,
            requester="operator",
            approver="second",
            scope=scope,
            operations=["read", "write", "delete"],
        )
        return self._granted

    async def _ask(self, request: requests.PreparedRequest, username: str | None) -> Any:
        headers = {name: value for name, value in request.headers.items() if value is not None}
        if username is not None:
            # A token for each request: some requests end all tokens.
            tenant = OPERATOR if username == "operator" else self._tenant
            headers |= await self._app.auth(tenant, username)
        encoded = [
            (name.encode(), value if isinstance(value, bytes) else value.encode("latin-1"))
            for name, value in headers.items()
        ]
        assert request.method is not None
        assert request.url is not None
        return await self._http.request(
            request.method,
            # The server listens elsewhere; what it is asked for is the same, byte for byte.
            request.url.removeprefix(BASE_URL),
            content=request.body,  # type: ignore[arg-type]
            headers=encoded,
        )


@pytest.fixture(scope="module")
def served(seeded: SeededApp, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    data = tmp_path_factory.mktemp("openapi") / "data"
    plenty = {"requests_per_minute": 1_000_000, "sign_ins_per_minute": 20}
    with start_blocking_portal() as portal:
        stack = AsyncExitStack()
        app = portal.call(stack.enter_async_context, seeded.opened(data, **plenty))
        for tenant in (seeded.alpha, OPERATOR):
            portal.call(app.services.audit.checkpoints.publish, tenant)
            portal.call(keep_attestations, app, tenant)
        protocol = partial(LimitedHttpProtocol, connections=Connections(), activity=Activity())
        server = serving(app.apps[0], http=protocol, server_header=False, date_header=False)
        port = portal.call(stack.enter_async_context, server)
        client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30)
        http = portal.call(stack.enter_async_context, client)
        yield Served(portal, app, http, seeded.alpha)
        portal.call(stack.aclose)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def test_the_document_is_openapi_3_1(served: Served) -> None:
    document = served.document
    assert document["openapi"].startswith("3.1.")
    for component in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(component)
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    for _, _, operation in operations(document):
        assert operation["summary"]
        # FastAPI would make it from the function's name.
        assert operation["summary"] != operation["operationId"].replace("_", " ").title()
        assert operation["description"]
        assert "default" in operation["responses"]
        assert "422" not in operation["responses"]


def test_every_route_is_in_the_document(served: Served, seeded: SeededApp) -> None:
    documented = {(method, path) for path, method, _ in operations(served.document)}
    routes = {
        # The document has a parameter's name alone, whatever the route converts it from.
        (method, str(context.path).replace(":path}", "}"))
        for context in iter_route_contexts(served._app.apps[0].routes)
        for method in context.methods or ()
    }
    hidden = {("GET", f"/api/v1/{path}") for path in ("openapi.json", "docs", "docs/{asset}")}
    assert documented == routes - hidden


def test_header_parameters_are_named_as_they_are_written(served: Served) -> None:
    names = {
        parameter["name"]
        for _, _, operation in operations(served.document)
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "header"
    }
    assert names == {name.title() for name in names}
    # Parameters of these names are ignored, says OpenAPI 3.1 of the Parameter Object.
    assert names.isdisjoint({"Accept", "Authorization", "Content-Type"})


def test_parameters_that_are_needed_are_required_and_none_is_null(served: Served) -> None:
    needed: dict[tuple[str, str], set[str]] = {}
    for path, method, operation in operations(served.document):
        for parameter in operation.get("parameters", ()):
            schema = parameter["schema"] | {"components": served.document["components"]}
            assert not Draft202012Validator(schema).is_valid(None), parameter
            if parameter["required"] and parameter["in"] == "header":
                needed.setdefault((method, path), set()).add(parameter["name"])
    assert needed == {
        ("POST", f"{PREFIX}/documents"): {"Content-Disposition"},
        **{
            ("PUT", f"{PREFIX}{of}/documents/{{document}}/content"): {
                "Content-Disposition",
                "If-Match",
            }
            for of in ("", "/staff-grants/{grant}")
        },
    }


DIGEST = f"sha-256=:{'A' * 43}=:"


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (
            "NewUser",
            {"username": "anna", "roles": ["reader"]},
            [{"roles": []}, {"roles": ["reader", "reader"]}],
        ),
        (
            "UserChange",
            {"roles": ["reader"]},
            [{"roles": []}, {"roles": ["reader", "reader"]}],
        ),
        ("UserChange", {"disabled": True}, [{"disabled": None}]),
        (
            "NewUpload",
            {"name": "a", "size": 1, "repr_digest": DIGEST},
            [{"repr_digest": each} for each in ("", "A" * 44, DIGEST[:-2], f"x{DIGEST}")],
        ),
        (
            "PolicyView",
            POLICY,
            [
                {"trash_days": 91},
                {"verification_days": 0},
                {"legal_hold": None},
                {"retention": POLICY["retention"] | {"daily": -1}},
                {"retention": {"daily": 30}},
                {"weekly": 1},
            ],
        ),
        (
            "TargetBody",
            TARGET,
            [
                {"name": ""},
                {"bytes_per_second": -1},
                {"address": TARGET["address"] | {"kind": "ftp"}},
                {"recovery": {"recipients": []}},
                {"recovery": {"recipients": ["age1"], "quorum": 0}},
            ],
        ),
        ("TargetChangeBody", {"paused": True}, [{"paused": None}, {"state": "active"}]),
        (
            "WebhookBody",
            WEBHOOK,
            [{"name": ""}, {"kinds": []}, {"kinds": ["all"]}, {"kinds": ["audit", "audit"]}],
        ),
        ("WebhookChangeBody", {"paused": True}, [{"paused": None}, {"secret": "whsec_"}]),
        ("ReplayBody", {"position": 0}, [{"position": -1}, {"since": "2026-01-01T00:00:00Z"}]),
        (
            "Replay",
            {"subscription": "audit", "message_ids": ["evt_1"]},
            [{"subscription": "another"}],
        ),
    ],
)
def test_what_the_api_refuses_does_not_fit_the_schema(
    served: Served, schema: str, good: dict[str, Any], bad: list[dict[str, Any]]
) -> None:
    components = {"components": served.document["components"]}
    validator = Draft202012Validator({"$ref": f"#/components/schemas/{schema}"} | components)
    assert validator.is_valid(good)
    for change in bad:
        assert not validator.is_valid(good | change), change
    assert not validator.is_valid({}), "something has to be said"


def test_headers_and_queries_have_the_form_that_the_api_asks_for(served: Served) -> None:
    forms = {
        (method, parameter["name"]): Draft202012Validator(parameter["schema"])
        for _, method, operation in operations(served.document)
        for parameter in operation.get("parameters", ())
    }
    for method, name, good, bad in (
        ("POST", "Repr-Digest", DIGEST, "sha-256=:AAAA:"),
        ("PUT", "Repr-Digest", f"sha-512=:AA==:, {DIGEST}", f"x{DIGEST}"),
        ("POST", "Idempotency-Key", "k" * 16, "k" * 15),
        ("PUT", "If-Match", '"doc_0.1"', "doc_0.1"),
        ("PATCH", "If-Match", '"a"', '"a", "b"'),
        ("DELETE", "If-Match", '""', 'W/"doc_0.1"'),
        ("GET", "subscription", "audit", "another"),
    ):
        assert forms[method, name].is_valid(good), name
        assert not forms[method, name].is_valid(bad), name


def test_the_page_loads_what_it_needs_from_where_it_came_from(served: Served) -> None:
    page = served.get("/api/v1/docs")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    addresses = re.findall(r"""(?:src="|href="|url: ')([^"']+)["']""", page.text)
    assert len(addresses) == 4
    for address in addresses:
        if not address.startswith("data:"):
            found = urljoin("http://another.test/api/v1/docs", address)
            assert found.startswith("http://another.test/")
            assert served.get(found.removeprefix("http://another.test")).status_code == 200


def test_the_document_says_what_each_route_needs(served: Served) -> None:
    for _, _, operation in operations(served.document):
        permission = operation[PERMISSION_FIELD]
        if permission == "public":
            assert "security" not in operation
        else:
            assert Permission(permission)
            assert operation["security"] == [{"token": []}]


OF_EVERY_ANSWER = {name.lower() for name in STANDARD_HEADERS} | {
    *("traceparent", "request-id", "content-type", "content-length"),
    "transfer-encoding",  # of HTTP/1.1: it frames what has no length
}


def declared_headers(operation: dict[str, Any], status: int) -> set[str]:
    answers = operation["responses"]
    return {
        name.lower() for name in answers.get(str(status), answers["default"]).get("headers", ())
    }


def test_an_answer_has_the_headers_that_the_document_says(served: Served) -> None:
    seen: set[tuple[str, str, str]] = set()

    def ask(method: str, path: str, status: int, **more: Any) -> Any:
        request = requests.Request(method, f"{BASE_URL}{PREFIX}/{path}", **more).prepare()
        who = "operator" if path.startswith("staff-grants") else "admin"
        answer = served.ask(request, who)
        assert answer.status_code == status, answer.text
        template = re.sub(
            "(doc|grt|rev|tgt|usr|whk)_[^/]+",
            lambda of: {
                "grt": "{grant}",
                "doc": "{document}",
                "rev": "{review}",
                "tgt": "{target}",
                "usr": "{user}",
                "whk": "{webhook}",
            }[of[1]],
            path,
        ).replace("/items/{user}", "/items/{item}")
        operation = served.document["paths"][f"{PREFIX}/{template}"][method.lower()]
        assert set(answer.headers) - OF_EVERY_ANSWER == declared_headers(operation, status)
        seen.add((method, template, str(status)))
        return answer

    named = {"Content-Disposition": 'attachment; filename="a"'}
    created = ask("POST", "documents", 201, data=b"content", headers=named)
    content = f"documents/{created.json()['id']}/content"
    assert created.headers["location"].startswith(f"{BASE_URL}{PREFIX}/documents/doc_")
    follows = named | {"If-Match": created.headers["etag"]}
    tag = ask("PUT", content, 200, data=b"another", headers=follows).headers["etag"]
    for method in ("GET", "HEAD"):
        ask(method, content, 200)
        ask(method, content, 304, headers={"If-None-Match": tag})
    ask("GET", content, 206, headers={"Range": "bytes=1-2"})
    under = f"staff-grants/{served.existing('{grant}')['grant']}/{content}"
    for method in ("GET", "HEAD"):
        ask(method, under, 200)
        ask(method, under, 304, headers={"If-None-Match": tag})
    ask("GET", under, 206, headers={"Range": "bytes=1-2"})
    ask("PUT", under, 200, data=b"a third", headers=named | {"If-Match": tag})
    added = ask("POST", "users", 201, json={"username": "bert", "roles": ["reader"]}).json()
    user = f"users/{added['user']['id']}"
    ask("GET", user, 200)
    ask("PATCH", user, 200, json={"disabled": True})
    ask("DELETE", content.removesuffix("/content"), 200)
    ask("POST", content.replace("/content", "/recover"), 200)
    ask("PUT", "policy", 200, json=ask("GET", "policy", 200).json())
    target = f"targets/{ask('POST', 'targets', 201, json=TARGET).json()['target']['id']}"
    ask("GET", target, 200)
    ask("PATCH", target, 200, json={"paused": True})
    webhook = f"webhooks/{ask('POST', 'webhooks', 201, json=WEBHOOK).json()['webhook']['id']}"
    ask("GET", webhook, 200)
    ask("PATCH", webhook, 200, json={"paused": True})
    review = f"reviews/{ask('POST', 'reviews', 201).json()['id']}"
    served.gather()
    items = ask("GET", f"{review}/items", 200).json()["items"]
    item = next(each["id"] for each in items if each["role"] == "reader")
    decision = {"decision": "confirm", "reason": "still needed"}
    ask("POST", f"{review}/items/{item}", 200, json=decision)
    assert seen >= {
        (method, path.removeprefix(f"{PREFIX}/"), status)
        for path, method, operation in operations(served.document)
        for status, answer in operation["responses"].items()
        if status != "default" and "headers" in answer
    }


def test_a_problem_has_the_headers_that_the_document_says(served: Served) -> None:
    for _, _, operation in operations(served.document):
        headers = operation["responses"]["default"]["headers"]
        assert set(headers) == {
            *("Accept-Encoding", "Content-Range", "Retry-After", "WWW-Authenticate"),
            "Want-Repr-Digest",
        }
        assert not any(header["required"] for header in headers.values())


OPERATIONS = [
    f"{method} {route.path}".replace(":path}", "}")
    for capability in (*map(module_of, CAPABILITIES), pages)
    for route in capability.router.routes
    if isinstance(route, APIRoute) and route.include_in_schema
    for method in route.methods  # type: ignore[union-attr]
]


ROLES_OF = {"admin": Role.ADMINISTRATOR, "member": Role.MEMBER, "operator": Role.OPERATOR}

TRIES = [
    (operation, mode, username)
    for operation in OPERATIONS
    for mode, username in (
        *((GenerationMode.POSITIVE, each) for each in ROLES_OF),
        (GenerationMode.NEGATIVE, ""),  # whoever may call it
    )
    # It takes nothing that could be wrong.
    if (operation, mode) != (f"GET {PREFIX}/health", GenerationMode.NEGATIVE)
]

IDS = {"document", "grant", "restore", "set", "target", "tenant", "upload", "user", "webhook"}
"""Names of ids in paths that are made; of verifications one at a time can be asked for."""

REFUSED = {
    *("bootstrap", "password", "sign-in", "verifications"),
    *("consistency", "inclusion", "{path}"),
}
"""What is generated for these addresses has wrong credentials, or names a set, a position or a tile that
there is not."""


@pytest.mark.parametrize(("operation", "mode", "username"), TRIES)
def test_the_api_does_what_the_document_says(
    served: Served, operation: str, mode: GenerationMode, username: str
) -> None:
    """With and without ids of what is there; who may call it gets more than a refusal."""
    schema = schemathesis.openapi.from_dict(served.document)
    found = next(
        result.ok()
        for result in schema.get_all_operations()
        if isinstance(result, Ok) and result.ok().label == operation
    )
    permission = found.definition.raw[PERMISSION_FIELD]
    address = found.path.rpartition("/")[2]
    if not username:
        username = "admin" if permission in PERMISSIONS[Role.ADMINISTRATOR] else "operator"
    may = permission == "public" or permission in PERMISSIONS[ROLES_OF[username]]
    few = not may or found.path.endswith(
        ("/tenants", "/users", "/sign-in", "/bootstrap", "password")
    )
    existing = served.existing(found.path)
    if username == "operator":  # nothing else is there in the operator's tenant
        existing = {
            name: value
            for name, value in existing.items()
            if name in {"tenant", "grant"} or "{grant}" in found.path
        }
    exists = len(existing) == found.path.count("{")
    numbers = itertools.count()
    statuses: set[int] = set()

    @settings(
        max_examples=3 if few else 12,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=found.as_strategy(generation_mode=mode))
    def conforms(case: schemathesis.Case) -> None:  # type: ignore[type-arg]
        if next(numbers) % 2 == 0:
            case.query.pop("version", None)
            case.path_parameters |= {
                name: value for name, value in existing.items() if name in case.path_parameters
            }
        kwargs = case.as_transport_kwargs(base_url=BASE_URL)
        request = requests.Request(
            **{
                name: kwargs[name]
                for name in ("method", "url", "headers", "params", "data", "json", "files")
                if name in kwargs
            }
        ).prepare()
        answer = served.ask(request, None if permission == "public" else username)
        statuses.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)
        declared = declared_headers(found.definition.raw, answer.status_code)
        if answer.status_code == 405:  # an empty id leads to another address
            declared |= {"allow"}
        assert set(answer.headers) <= OF_EVERY_ANSWER | declared

    conforms()
    if mode is GenerationMode.POSITIVE and may and exists and address not in REFUSED:
        assert statuses - {401, 403, 404}, statuses
