"""``bench.hostile`` fails where the other user no longer works, and opens more connections than files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bench import hostile

pytestmark = pytest.mark.anyio


class FakeServer:
    port = 1

    def resident_bytes(self) -> int:
        return 0

    peak_resident_bytes = resident_bytes

    def forget_peak(self) -> None:
        pass


async def test_a_crash_of_the_other_users_work_is_no_success(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def crash(*_: Any) -> None:
        raise KeyError("id")

    monkeypatch.setattr(hostile.Others, "work", crash)
    monkeypatch.setattr(hostile, "ProcessPoolExecutor", ThreadPoolExecutor)
    monkeypatch.setattr(hostile, "SETTLE_SECONDS", 0.0)
    plan = hostile.Plan("silent", 1, "token", "/document", hostile.Sizes(0, 0.0, 0))
    server: Any = FakeServer()
    with pytest.raises(KeyError, match="id"):
        await hostile.suffer("nothing", server, "token", plan)


@pytest.mark.parametrize("sizes", [hostile.FULL, hostile.QUICK])
def test_there_are_more_silent_connections_than_files_at_the_start(sizes: hostile.Sizes) -> None:
    silent = hostile.plans(1, "token", "/document", sizes)["silent connections"]
    assert hostile.FILES_AT_START < silent.sizes.connections < hostile.OWN_FILES
    assert silent.kind == "silent"
