"""The JSON Schema (2020-12) of an audit entry, from the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from shared.base.ids import PREFIXES
from shared.base.models import JsonObject
from shared.base.partitions import OPERATOR
from shared.crypto.canonical import MAX_INTEGER
from shared.journal.catalogue.description import ANY_ID, Description
from shared.journal.catalogue.table import CATALOGUE
from shared.journal.entries import MAX_USER_AGENT

SCHEMA_ID: Final = "urn:strongroom:schema:audit-entry"

_ULID: Final = "[0-7][0-9a-hjkmnp-tv-z]{25}"
_SLUG: Final = "[a-z]+(-[a-z]+)*"
_TYPES: Final[Mapping[type, JsonObject]] = {
    str: {"type": "string"},
    int: {"$ref": "#/$defs/integer"},
    list: {"$ref": "#/$defs/texts"},
}

MEMBERS: Final[Mapping[str, tuple[str, JsonObject]]] = {
    "id": ("Names the entry; sorts by time.", {"pattern": f"^aud_{_ULID}$"}),
    "time": ("When, RFC 3339 in UTC.", {"format": "date-time", "pattern": "Z$"}),
    "tenant": (
        f"Whose log it is in: a tenant, or `{OPERATOR}`.",
        {"pattern": f"^(ten_{_ULID}|{OPERATOR})$"},
    ),
    "actor": (
        "Who: `kind` and `id`; the id is empty where it is the system, or somebody who was not recognised.",
        {},
    ),
    "action": ("What was done, or tried.", {"enum": [str(action) for action in CATALOGUE]}),
    "resource": ("The id of what it was done to; empty where there is no single thing.", {}),
    "outcome": (
        "Whether it was done: `failed` is for reasons that lie with the service or the connection.",
        {"enum": ["allowed", "refused", "failed"]},
    ),
    "reason": (
        "For a refusal or a failure, the last part of the problem's `type`; else empty.",
        {"pattern": f"^({_SLUG})?$"},
    ),
    "address": ("The network address that it came from; empty: no client asked for it.", {}),
    "user_agent": (
        f"What the client said it was: its own text, cut after {MAX_USER_AGENT} characters.",
        {"minLength": 1, "maxLength": MAX_USER_AGENT},
    ),
    "request": (
        "The id of the request, which its response had as `Request-Id`.",
        {"pattern": f"^req_{_ULID}$"},
    ),
    "grant": ("The staff grant under which it was done.", {"minLength": 1}),
    "source": (
        "Of a copy: whose log has the same entry, a tenant's id or `operator`.",
        {"minLength": 1},
    ),
    "trace": (
        "The trace id of the request, which may be the client's; else empty.",
        {"pattern": "^([0-9a-f]{32})?$"},
    ),
    "details": ("Facts that are not secret; which they are depends on the action.", {}),
    "sealed": (
        "In the log, in place of address and user agent: the epoch whose key seals them, and the bytes.",
        {},
    ),
}
"""Of an entry: what each is for, and what its text is like."""

LEFT_OUT_IF_EMPTY: Final = ("user_agent", "request", "grant", "source", "sealed")


def entry_schema() -> JsonObject:
    """The JSON Schema of every entry that this release makes."""
    members: JsonObject = {
        name: {"description": meaning, "type": "string", **form}
        for name, (meaning, form) in MEMBERS.items()
    }
    members["actor"] |= _closed(
        {
            "kind": {"enum": ["user", "employee", "system", "anonymous"]},
            "id": {"type": "string", "pattern": f"^(usr_{_ULID})?$"},
        },
        ["kind", "id"],
    )
    members["details"]["type"] = "object"
    members["sealed"] |= _closed(
        {
            "epoch": {"type": "string", "pattern": f"^epo_{_ULID}$"},
            "data": {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"},
        },
        ["epoch", "data"],
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "Audit entry",
        "description": "One fact in a tenant's audit log. docs/audit-entries.md has the actions.",
        **_closed(members, [name for name in MEMBERS if name not in LEFT_OUT_IF_EMPTY]),
        "$defs": {
            "integer": {"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER},
            "texts": {"type": "array", "items": {"type": "string"}},
        },
        "allOf": [
            {"if": _has("action", [str(action)]), "then": _entry_of(described)}
            for action, described in CATALOGUE.items()
        ],
    }


def _entry_of(described: Description) -> JsonObject:
    ordinary, *others = described.outcomes
    needed = [name for name in described.details if name not in described.optional]
    members: JsonObject = {
        "actor": _has("kind", described.by),
        "resource": {"pattern": _pattern(described.resource)},
        "outcome": {"enum": [*described.outcomes]},
        "details": _closed({name: _TYPES[kind] for name, kind in described.details.items()}, []),
    }
    if described.reasons or (not others and ordinary == "allowed"):
        none = [""] if "allowed" in described.outcomes else []
        members["reason"] = {"enum": [*none, *described.reasons]}
    found: JsonObject = {"properties": members}
    if needed and others:
        found |= {
            "if": _has("outcome", [ordinary]),
            "then": {"properties": {"details": {"required": needed}}},
        }
    elif needed:
        members["details"]["required"] = needed
    return found


def _closed(members: JsonObject, required: Sequence[str]) -> JsonObject:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": members,
    }


def _has(member: str, values: Sequence[str]) -> JsonObject:
    return {"properties": {member: {"enum": list(values)}}}


def _pattern(prefixes: Sequence[str]) -> str:
    """What a resource is like, which has one of these prefixes."""
    if ANY_ID in prefixes:
        prefixes = ("", *PREFIXES)
    ids = "|".join(prefix for prefix in prefixes if prefix)
    if not ids:
        return "^$"
    return f"^(({ids})_{_ULID}){'?' if '' in prefixes else ''}$"
