"""What operations ask of the ports does not grow with a tenant's documents: ``bench.scale`` in small."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from bench import filling, scale

pytestmark = pytest.mark.anyio

SIZES = (110, 330)
ROUNDS = 4


@pytest.fixture
def silent() -> None:
    logging.getLogger("strongroom.outbox").setLevel(logging.ERROR)


@pytest.mark.usefixtures("silent")
@pytest.mark.timeout(300)
async def test_counts_do_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "A_STEP", SIZES[0])
    found = await scale.run(tmp_path, SIZES, ROUNDS)
    assert len(found) == 13
    for name, measured in found.items():
        assert measured[0].calls, name
        growth = scale.Growth.of(measured)
        assert growth.most <= scale.MOST_GROWTH, (name, growth.counts)


def measured(seconds: float, reads: int) -> scale.Measured:
    one = scale.Measured([seconds] * 10)
    one.calls["records.get"] = reads
    return one


def test_growth_of_time_and_of_counts_is_told() -> None:
    found = {
        "flat": [measured(1.0, 20), measured(1.1, 20)],
        "slower": [measured(1.0, 20), measured(1.3, 20)],
        "more": [measured(1.0, 20), measured(1.0, 30)],
        "new": [measured(1.0, 0), measured(1.0, 10)],
    }
    assert scale.missed(found) == [
        "slower: 1.30 times as long",
        "more: 1.50 times as many reads",
        "new: 99.00 times as many reads",
    ]
