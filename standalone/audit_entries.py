"""Publish the catalogue of audit entries: ``python -m standalone.audit_entries``.

It writes ``docs/audit-entries.md`` and ``docs/audit-entry.schema.json``, which a test holds to the code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import functions.api.app  # noqa: F401  (it imports every error)
from shared.base.errors import StrongroomError
from shared.base.ids import PREFIXES
from shared.journal.catalogue.description import ANY_ID, Description
from shared.journal.catalogue.schema import LEFT_OUT_IF_EMPTY, MEMBERS, entry_schema
from shared.journal.catalogue.table import CATALOGUE
from shared.journal.entries import MAX_DETAILS_BYTES, MAX_ENTRY_BYTES

DOCS: Final = Path(__file__).parents[1] / "docs"

_TYPES: Final = {str: "text", int: "integer", list: "list of text"}

_INTRODUCTION: Final = f"""\
# Audit entries

<!-- Written by `python -m standalone.audit_entries` from shared/journal/catalogue. -->

Every read, change, sign-in and refusal is an entry in a tenant's audit log, and so is what events and
timers do. An entry is a JSON object; [audit-entry.schema.json](audit-entry.schema.json) is its schema. It
is kept and hashed in its canonical form (RFC 8785), in which there are no fractions, with at most
{MAX_ENTRY_BYTES:,} bytes.

Entries of a user go into the log of their tenant, those of an employee into the operator's, unless they
are about something of a tenant's: its keys, its backups. A client that was not recognised is in the
operator's log, unless what it sent named a tenant, as a sign-in or the URL of a staged upload does.

[Decision 34](decisions/0034-what-is-an-audit-entry.md) says what is not an entry, and why: public pages,
invalid requests of clients that have not signed in, how much of what was opened has arrived.

## Members

{{members}}

These are left out where they are empty, as entries of earlier releases do not have them:
{", ".join(f"`{name}`" for name in LEFT_OUT_IF_EMPTY)}. The others are always there. `details` have at most
{MAX_DETAILS_BYTES:,} bytes.

## Actions

With its first outcome an entry has all the details that are listed, but for those with a question mark.
*Any* reason is one of those [below](#reasons).

{{actions}}

## Reasons

A refusal or a failure has as its reason the last part of the `type` of the problem that the client got.

{{reasons}}
"""


def page() -> str:
    """The page that describes every entry, Markdown."""
    members = {f"`{name}`": meaning for name, (meaning, _) in MEMBERS.items()}
    actions = "\n\n".join(_action(action, described) for action, described in CATALOGUE.items())
    reasons = {f"`{error.slug}`": error.title for error in _subclasses(StrongroomError)}
    return _INTRODUCTION.format(
        members=_table("member", "what", members),
        actions=actions,
        reasons=_table("reason", "what", dict(sorted(reasons.items()))),
    )


def write(folder: Path = DOCS) -> None:
    """Write the page and the schema."""
    (folder / "audit-entries.md").write_text(page())
    (folder / "audit-entry.schema.json").write_text(schema_text())


def schema_text() -> str:
    """The JSON Schema, with each action's rule on a line."""
    schema = entry_schema()
    rules = ",\n    ".join(json.dumps(rule) for rule in schema["allOf"])
    text = json.dumps(schema | {"allOf": []}, indent=2)
    return text.replace('"allOf": []', f'"allOf": [\n    {rules}\n  ]') + "\n"


def _subclasses(base: type[StrongroomError]) -> Iterator[type[StrongroomError]]:
    """Every error of the service and what it imports, with a slug of its own or its base's."""
    for error in base.__subclasses__():
        if error.__module__.startswith(("functions.", "shared.")):
            yield from (error, *_subclasses(error))


def _action(action: str, described: Description) -> str:
    if described.former:
        return f"### `{action}`\n\n{described.when}; in logs of releases before 0.2 alone."
    details = ", ".join(
        f"`{name}`{'?' if name in described.optional else ''} {_TYPES[kind]}"
        for name, kind in described.details.items()
    )
    facts = [f"By {_or(described.by)}", _resource(described.resource)]
    facts += [f"Details: {details}"] if details else []
    if described.outcomes != ("allowed",):
        reasons = _or([f"`{reason}`" for reason in described.reasons]) or "any"
        facts.append(f"Outcome {_or(described.outcomes)}; reason {reasons}")
    return f"### `{action}`\n\n{described.when}. {'. '.join(facts)}."


def _resource(prefixes: tuple[str, ...]) -> str:
    if ANY_ID in prefixes:
        return f"Resource: an id (`{'`, `'.join(PREFIXES)}`), or none"
    named = [f"`{prefix}`" for prefix in prefixes if prefix]
    if not named:
        return "No resource"
    return f"Resource: {_or(named)}{', or none' if '' in prefixes else ''}"


def _or(words: tuple[str, ...] | list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _table(key: str, value: str, rows: Mapping[str, str]) -> str:
    return "\n".join(
        [
            f"| {key} | {value} |",
            "|---|---|",
            *(f"| {name} | {text} |" for name, text in rows.items()),
        ]
    )


if __name__ == "__main__":
    write()
