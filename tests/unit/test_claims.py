"""What the documentation and the roles claim, some code does."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from functions.api.telemetry import API
from shared.wiring.settings import Settings

ROOT = Path(__file__).parents[2]
CLAIMS = "\n".join(
    page.read_text()
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if "decisions" not in page.parts
)
CODE = "\n".join(
    page.read_text()
    for folder in ("bench", "client", "functions", "infra", "shared", "standalone", "tests")
    for page in sorted((ROOT / folder).rglob("*"))
    if page.is_file()
    and page.suffix in {"", ".bicep", ".json", ".py", ".yml"}
    and "node_modules" not in page.parts
    and page != Path(__file__)
)
FILES = r"[a-z-]+\.(?:db|html|js|json|md|py|sh|toml|txt|yml|zip)\b|bench\.|edge\.|lag\.|runtime\."
"""Of files, modules, and fields of JSON: no names of what is logged or audited."""
KEY_VAULT_CALLS = {
    "read": "get_key(",
    "create/action": "create_rsa_key(",
    "rotate/action": "rotate_key(",
    "delete": "delete_key(",
    "wrap/action": "wrap_key(",
    "unwrap/action": "unwrap_key",
    "sign/action": ".sign(",
}


def claimed(pattern: str) -> list[str]:
    found = sorted(set(re.findall(pattern, CLAIMS)))
    assert len(found) > 3, pattern
    return found


@pytest.mark.parametrize("name", claimed(r"STRONGROOM_[A-Z][A-Z0-9_]*[A-Z0-9]"))
def test_every_setting_is_read(name: str) -> None:
    assert name.removeprefix("STRONGROOM_").lower() in Settings.model_fields or name in CODE


@pytest.mark.parametrize("name", claimed(rf"`((?!{FILES})[a-z]+(?:-[a-z]+)*\.[a-z]+(?:-[a-z]+)*)`"))
def test_every_line_of_the_log_and_every_action_is_written(name: str) -> None:
    assert re.search(rf'["\'`]{re.escape(name)}\b', CODE), name


@pytest.mark.parametrize("module", claimed(r"python -m (bench\.\w+)"))
def test_every_benchmark_times_the_product(module: str) -> None:
    """It, or a part of it, imports the product's code or starts the product's server."""
    seen, waiting = set[str](), [module]
    while waiting:
        name = waiting.pop()
        seen.add(name)
        text = (ROOT / f"{name.replace('.', '/')}.py").read_text()
        if re.search(r"^\s*from (shared|functions)\b|-m\", \"standalone", text, re.MULTILINE):
            return
        waiting += set(re.findall(r"from (bench(?:\.\w+)+) import", text)) - seen
    pytest.fail(f"{module} times nothing of ours")


def routes() -> set[str]:
    found: set[str] = set()
    for page in sorted((ROOT / "functions" / "api").glob("*.py")):
        module = importlib.import_module(f"functions.api.{page.stem}")
        router = getattr(module, "router", None)
        if isinstance(router, APIRouter):
            for route in router.routes:
                if isinstance(route, APIRoute):
                    path = re.sub(r"\{\w+\}", "{}", route.path.removeprefix(API)).rstrip("/")
                    found |= {f"{method} {path}" for method in route.methods or ()}
    return found


def test_every_route_exists() -> None:
    known = routes()
    assert len(known) > 40
    for claim in claimed(r"\b(?:GET|POST|PUT|DELETE) (?:/api/v1)?/[a-z][a-z\-/{}]*"):
        method, _, path = claim.replace("/api/v1", "").partition(" ")
        wanted = re.sub(r"\{\w+\}", "{}", path).rstrip("/")
        if wanted != "/api/v":
            assert f"{method} {wanted}" in known, f"{method} {path}"


def test_every_right_at_the_key_vault_is_used() -> None:
    roles = (ROOT / "infra/modules/custom-roles.bicep").read_text()
    granted = re.findall(r"'Microsoft.KeyVault/vaults/keys/([a-z/]+)'", roles)
    assert len(granted) > 5
    adapter = (ROOT / "shared/adapters/azure/keys.py").read_text()
    for right in granted:
        assert KEY_VAULT_CALLS[right] in adapter, right
