"""The storage SDK speaks a version of the service in which our grants are enough for a client."""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs

from azure.storage.blob import generate_blob_sas

ROOT = Path(__file__).parents[2]

BLOCKS_WITH_CREATE = "2026-04-06"
"""From here on *Put Block* and *Put Block List* take a signature that may only create:
https://github.com/Azure/azure-sdk-for-python/pull/44920"""


def test_a_grant_says_a_version_in_which_blocks_can_be_put_with_it() -> None:
    query = generate_blob_sas(
        "account",
        "staging",
        "name",
        account_key="AAAA",
        permission="c",
        expiry=datetime(2030, 1, 1, tzinfo=UTC),
    )
    assert parse_qs(query)["sv"][0] >= BLOCKS_WITH_CREATE


def test_no_older_sdk_can_be_resolved() -> None:
    """12.31 is the oldest that was seen to speak a later version; its default is 2026-10-06."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (bound,) = (item for item in wanted if item.startswith("azure-storage-blob"))
    lower = re.fullmatch(r"azure-storage-blob>=(\d+)\.(\d+)", bound)
    assert lower is not None
    assert tuple(map(int, lower.groups())) >= (12, 31)
    pinned = re.search(
        r"^azure-storage-blob==(\d+)\.(\d+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE
    )
    assert pinned is not None
    assert tuple(map(int, pinned.groups())) >= tuple(map(int, lower.groups()))
