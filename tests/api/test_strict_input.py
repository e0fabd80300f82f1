"""Input is taken as its type says, and usernames by their profile: nothing is guessed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from shared.access.permissions import Permission
from shared.base.partitions import OPERATOR
from tests.support.app import PASSWORD, POLICY, TARGET, App, grant_request, problem
from tests.support.webhooks import WEBHOOK

pytestmark = pytest.mark.anyio

NOBODY = "usr_" + "0" * 26
SIGN_IN = {"tenant": "alpha", "username": "anna", "password": PASSWORD}

# A valid body of each operation that takes one.
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "auth/bootstrap"): {"secret": "s", "username": "anna"},
    ("POST", "auth/sign-in"): SIGN_IN | {"new_password": PASSWORD},
    ("PUT", "auth/password"): {"password": "a", "new_password": "b"},
    ("POST", "users"): {"username": "anna", "roles": ["reader"], "account_of": NOBODY},
    ("PATCH", "users/{user}"): {"roles": ["reader"], "disabled": False},
    ("POST", "reviews/{review}/items/{item}"): {"decision": "confirm", "reason": "still needed"},
    ("POST", "tenants"): {"slug": "gamma", "administrator": "anna"},
    ("PUT", "policy"): POLICY,
    ("POST", "uploads"): {
        "name": "a",
        "media_type": "text/plain",
        "metadata": {"shelf": "12"},
        "size": 1,
        "repr_digest": f"sha-256=:{'A' * 43}=:",
    },
    ("POST", "targets"): TARGET
    | {
        "address": TARGET["address"]
        | {"prefix": "a/", "endpoint": "", "account": "", "bucket_in_host": False},
        "recovery": {"recipients": ["age1"], "quorum": 1},
        "bytes_per_second": 0,
    },
    ("PATCH", "targets/{target}"): {
        "name": "a",
        "paused": True,
        "bytes_per_second": 0,
        "credentials": TARGET["credentials"],
    },
    ("POST", "backups/verifications"): {"set": "set_" + "0" * 26},
    ("POST", "restores"): {
        "set": "set_" + "0" * 26,
        "at": "2026-01-01T00:00:00Z",
        "document": "doc_" + "0" * 26,
        "version": 1,
        "overwrite": False,
        "tenant": "ten_" + "0" * 26,
        "into": "ten_" + "0" * 26,
    },
    ("POST", "webhooks"): WEBHOOK,
    ("PATCH", "webhooks/{webhook}"): {**WEBHOOK, "paused": True},
    ("POST", "webhooks/{webhook}/replay"): {"position": 1, "since": "2026-01-01T00:00:00Z"},
    ("POST", "dead-letters/replay"): {"subscription": "audit", "message_ids": ["evt_1"]},
    ("POST", "staff-grants"): {
        **grant_request("ten_" + "0" * 26, "doc_" + "0" * 26),
        "operations": ["read"],
        "break_glass": False,
    },
    ("PATCH", "staff-grants/{grant}"): {
        "depth": "metadata",
        "documents": ["doc_" + "0" * 26],
        "operations": ["read"],
        "seconds": 600,
    },
    ("POST", "staff-grants/closed-cases"): {"system": "tickets", "id": "4711"},
}

# What used to pass for a value of the type, or looks like one.
WRONG: dict[type, list[Any]] = {
    bool: ["off", "true", 0, 1, 1.0],
    int: [False, True, "5", " 5 ", 5.0, 5.5, "5.0"],
    str: [5, True, ["a"], {"a": "b"}],
    list: ["reader", {"reader": 1}, 5],
    dict: ["a", [["a", "b"]], 5],
}


def wrong(body: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str, Any]]:
    """The path of each value of a body, with the values that it must not be taken for."""
    for value in WRONG[type(body)] if path else ():
        yield ".".join(map(str, path)), value
    if isinstance(body, dict | list):
        for key, member in body.items() if isinstance(body, dict) else enumerate(body):
            yield from wrong(member, (*path, key))


def replaced(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    changed = deepcopy(body)
    at: Any = changed
    *above, last = [int(key) if key.isdecimal() else key for key in path.split(".")]
    for key in above:
        at = at[key]
    at[last] = value
    return changed


async def test_every_operation_with_a_body_is_tried(app: App) -> None:
    taking = {
        (method.upper(), path.removeprefix("/api/v1/"))
        for path, methods in app.apps[0].openapi()["paths"].items()
        for method, operation in methods.items()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    }
    assert set(BODIES) == taking


@pytest.mark.parametrize(("method", "path"), list(BODIES))
async def test_a_value_of_another_type_is_refused(
    app: App, auth: dict[str, str], method: str, path: str
) -> None:
    operation = app.apps[0].openapi()["paths"][f"/api/v1/{path}"][method.lower()]
    staff = {
        Permission.TENANTS_MANAGE,
        Permission.EVENTS_MANAGE,
        Permission.GRANTS_REQUEST,
        Permission.GRANTS_READ,
    }
    caller = await app.auth(OPERATOR, "operator") if operation["x-permission"] in staff else auth
    ids = {"target": "tgt_", "webhook": "whk_", "grant": "grt_", "review": "rev_", "item": "grt_"}
    url = path.format(user=NOBODY, **{name: prefix + "0" * 26 for name, prefix in ids.items()})
    body = BODIES[method, path]
    for field, value in wrong(body):
        answer = await app.http.request(
            method, url, json=replaced(body, field, value), headers=caller
        )
        assert (answer.status_code, problem(answer)) == (400, "invalid-input"), (field, value)
        named = [each["field"] for each in answer.json()["errors"]]
        assert any(name.startswith(f"body.{field.split('.')[0]}") for name in named), (field, named)


@pytest.mark.parametrize(
    ("path", "name", "values"),
    [
        ("documents", "limit", ["", " 5", "5 ", "+5", "1_0", "5.0", "0x5", "\u0665", "true"]),
        ("documents/doc_" + "0" * 26, "version", [" 1", "1_0", "1.0", "+1", "\u0661"]),
        ("audit", "limit", [" 5", "1_0"]),
        ("users", "limit", [" 5", "1_0"]),
    ],
)
async def test_a_number_in_a_query_has_digits_alone(
    app: App, auth: dict[str, str], path: str, name: str, values: list[str]
) -> None:
    for value in values:
        answer = await app.http.get(path, params={name: value}, headers=auth)
        assert (answer.status_code, problem(answer)) == (400, "invalid-input"), value
        assert [each["field"] for each in answer.json()["errors"]] == [f"query.{name}"]
    answer = await app.http.get(path, params={name: "5"}, headers=auth)
    assert answer.status_code in {200, 404}


async def test_a_truth_value_in_a_query_is_true_or_false(app: App, auth: dict[str, str]) -> None:
    document = (await app.upload(auth, b"content")).json()["id"]
    for value in ("on", "1", "yes", "t", "TRUE", "True", "off", "0", ""):
        answer = await app.http.delete(
            f"documents/{document}", params={"erase": value}, headers=auth
        )
        assert (answer.status_code, problem(answer)) == (400, "invalid-input"), value
    assert (await app.http.get(f"documents/{document}", headers=auth)).status_code == 200
    for value, outcome in (("false", "trashed"), ("true", "erased")):
        answer = await app.http.delete(
            f"documents/{document}", params={"erase": value}, headers=auth
        )
        assert answer.json()["outcome"] == outcome


@pytest.mark.parametrize(
    "content",
    [
        b'{"username": "anna", "roles": ["reader"], "roles": ["administrator"]}',
        b'{"username": "anna", "username": "bert", "roles": ["reader"]}',
        b'{"name": "a", "size": NaN}',
        b'{"name": "a", "size": -Infinity}',
        b'{"name": "a", "size": 1, "metadata": {"a": "1", "a": "2"}}',
    ],
)
async def test_json_that_readers_take_differently_is_refused(
    app: App, auth: dict[str, str], content: bytes
) -> None:
    path = "users" if b"username" in content else "uploads"
    answer = await app.http.post(
        path, content=content, headers=auth | {"Content-Type": "application/json"}
    )
    assert (answer.status_code, problem(answer)) == (400, "invalid-input")
    assert await app.services.accounts.find(next(iter(app.slugs)), "anna") is None


@pytest.mark.parametrize(
    "username",
    [
        "\u0130" * 254,
        "\u0130" * 100,
        "zebra\u200b",
        "zebra\u202egnp",
        "z\u0435bra",
        "zebra\u00a0",
        "zebra\u265a",
        "a" * 255,
    ],
)
@pytest.mark.parametrize("path", ["users", "tenants", "auth/bootstrap"])
async def test_a_username_that_is_none_is_refused(
    app: App, auth: dict[str, str], path: str, username: str
) -> None:
    bodies = {
        "users": {"username": username, "roles": ["reader"]},
        "tenants": {"slug": "gamma", "administrator": username},
        "auth/bootstrap": {"secret": "s", "username": username},
    }
    caller = await app.auth(OPERATOR, "operator") if path == "tenants" else auth
    answer = await app.http.post(path, json=bodies[path], headers=caller)
    assert (answer.status_code, problem(answer)) == (400, "invalid-input")
    (fault,) = answer.json()["errors"]
    assert fault["field"] in {"body.username", "body.administrator"}
    assert fault["detail"].startswith("A ")
    assert "zebra" not in json.dumps(answer.json())


async def test_a_user_signs_in_with_any_form_of_their_username(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    composed, decomposed = "jos\u00e9@x.de", "jose\u0301@x.de"
    body = {"username": decomposed, "roles": ["reader"]}
    created = await app.http.post("users", json=body, headers=auth)
    assert created.json()["user"]["username"] == composed
    again = await app.http.post("users", json=body | {"username": composed}, headers=auth)
    assert (again.status_code, problem(again)) == (409, "conflict")
    first = SIGN_IN | {"password": created.json()["temporary_password"]}
    for username in (decomposed, composed, "JOSE\u0301@X.DE", f" {composed} "):
        body = first | {"username": username}
        if first["password"] != PASSWORD:
            body["new_password"] = PASSWORD
        answer = await app.http.post("auth/sign-in", json=body)
        assert answer.status_code == 200, username
        assert answer.json()["user"]["username"] == composed
        first["password"] = PASSWORD
