"""Points in time: each set restores to exactly what a model says there was."""

from __future__ import annotations

import random
import shutil
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.app import open_app
from tests.support.backups import BackedUp, lose, open_backed_up

pytestmark = pytest.mark.anyio

MOMENTS = 5
STEPS = 6
"""Changes between two moments."""


class Model:
    """What a tenant should have: contents of every version, by document; apart, what is in the trash."""

    def __init__(self) -> None:
        self.live: dict[str, list[bytes]] = {}
        self.trash: dict[str, list[bytes]] = {}
        self.erased: set[str] = set()

    def now(self) -> dict[str, list[bytes]]:
        """A copy of what is live."""
        return {document: list(versions) for document, versions in self.live.items()}


async def step(backed_up: BackedUp, model: Model, chance: random.Random) -> None:
    """One random change, to the service and to the model."""
    backed_up.auth = await backed_up.app.auth(backed_up.tenant)  # tokens end after two hours
    http, auth = backed_up.app.http, backed_up.auth
    document = chance.choice(sorted(model.live)) if model.live else ""
    match chance.choice(("add", "add", "update", "delete", "recover", "erase")):
        case "update" if document:
            content = chance.randbytes(chance.randrange(1, 5_000))
            await backed_up.update(document, content)
            model.live[document].append(content)
        case "delete" if document:
            assert (await http.delete(f"documents/{document}", headers=auth)).status_code == 200
            model.trash[document] = model.live.pop(document)
        case "recover" if model.trash:
            document = chance.choice(sorted(model.trash))
            answer = await http.post(f"documents/{document}/recover", headers=auth)
            assert answer.is_success
            model.live[document] = model.trash.pop(document)
        case "erase" if document:
            await backed_up.erase(document)
            del model.live[document]
            model.erased.add(document)
        case _:
            content = chance.randbytes(chance.randrange(0, 5_000))
            model.live[await backed_up.upload(content)] = [content]
    backed_up.app.clock.advance(chance.randrange(1, 3_600))


async def test_five_earlier_moments_are_what_they_were(tmp_path: Path) -> None:
    chance, model = random.Random("moments"), Model()
    moments: list[tuple[datetime, dict[str, list[bytes]]]] = []
    data = tmp_path / "data"
    async with open_backed_up(data) as backed_up:
        for _ in range(MOMENTS):
            for _ in range(STEPS):
                await step(backed_up, model, chance)
            await backed_up.back_up()
            moments.append((backed_up.app.clock.now(), model.now()))
        tenant, clock = backed_up.tenant, backed_up.app.clock
    lose(data)
    assert model.erased
    for number, (moment, expected) in enumerate(moments):
        copy = tmp_path / f"restored-{number}"
        shutil.copytree(data, copy)
        async with open_app(copy, clock) as app:
            outcomes = await app.services.backups.whole.restore(moment, lambda _: None)
            restored = BackedUp(app, tenant, await app.auth(tenant))
            found = {name: versions for name, (_, versions) in (await restored.documents()).items()}
            # What was erased later stays erased: its keys are gone from every set.
            kept = {name: each for name, each in expected.items() if name not in model.erased}
            assert found == kept
            problems = {problem.problem for each in outcomes for problem in each.outcome.problems}
            assert problems <= {"erased"}
