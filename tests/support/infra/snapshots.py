"""The committed snapshots, read as lists of resources with their simple expressions worked out."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

INFRA = Path(__file__).parents[3] / "infra"
ENVIRONMENTS = ("development", "staging", "production")
FULL = ("staging", "production")

Resource = dict[str, Any]


class _Reference:
    """What is known only once a resource exists, such as the principal of an identity."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __getattr__(self, name: str) -> _Reference:
        return _Reference(f"{name} of {self.text}")


# What the public cloud answers; a template never holds these names itself.
_FUNCTIONS = {
    "__builtins__": {},
    "format": lambda text, *values: text.format(*(str(_plain(value)) for value in values)),
    "replace": lambda text, old, new: text.replace(old, new),
    "resourceId": lambda subscription, group, kind, *names: "/".join(
        (
            f"/subscriptions/{subscription}/resourceGroups/{group}/providers",
            kind.split("/")[0],
            *(part for pair in zip(kind.split("/")[1:], names, strict=True) for part in pair),
        )
    ),
    "reference": lambda resource_id, *_: _Reference(resource_id),
    "environment": lambda: SimpleNamespace(
        suffixes=SimpleNamespace(storage="core.windows.net", keyvaultDns=".vault.azure.net"),
        authentication=SimpleNamespace(loginEndpoint="https://login.microsoftonline.com/"),
    ),
}


def _plain(value: Any) -> Any:
    return value.text if isinstance(value, _Reference) else value


def _render(value: Any) -> Any:
    """Work out template expressions; those that need a deployment stay as they are."""
    if isinstance(value, dict):
        return {_render(key): _render(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_render(item) for item in value]
    if not (isinstance(value, str) and value.startswith("[") and value.endswith("]")):
        return value
    try:
        # The expressions that remain in a snapshot are also Python expressions.
        return _plain(eval(value[1:-1], dict(_FUNCTIONS)))
    except (SyntaxError, NameError, ValueError, TypeError, AttributeError):
        return value


@dataclass
class Snapshot:
    """One environment, as it would be deployed."""

    environment: str
    resources: list[Resource]

    def of(self, kind: str) -> list[Resource]:
        """Every resource of a type."""
        return [item for item in self.resources if item["type"].lower() == kind.lower()]

    def one(self, kind: str, name: str = "") -> Resource:
        """The only resource of a type whose name contains a text."""
        (found,) = (item for item in self.of(kind) if name in item["name"])
        return found

    def under(self, parent: Resource, kind: str) -> list[Resource]:
        """Every resource of a type that belongs to another one or extends it."""
        return [item for item in self.of(kind) if item["id"].startswith(parent["id"] + "/")]

    def copy(self) -> Snapshot:
        return Snapshot(self.environment, copy.deepcopy(self.resources))


def load(environment: str) -> Snapshot:
    path = INFRA / "snapshots" / f"{environment}.snapshot.json"
    return Snapshot(environment, _render(json.loads(path.read_text())["predictedResources"]))


def texts(value: Any) -> Iterator[str]:
    """Every text in a value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
