"""The report about grants: every act under each, proved by the log's own checkpoint."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.access.permissions import Role
from shared.audit.periods import Period
from tests.support.evidence import verified
from tests.support.granted import WHY, Granted

pytestmark = pytest.mark.anyio


async def test_a_report_proves_what_was_done_under_each_grant_of_a_period() -> None:
    data = Granted()
    asks, approves = await data.employee(Role.SUPPORT), await data.employee(Role.OPERATOR)
    customer, other = await data.tenant(), await data.tenant()
    document = await data.document(customer)
    theirs = await data.document(other)
    await data.ask(asks, customer.tenant, document, break_glass=True)
    data.clock.advance(timedelta(days=40).total_seconds())
    since = data.clock.now()
    grant = await data.ask(asks, customer.tenant, document)
    await data.decisions.approve(data.signed_in(approves), grant)
    await data.read(asks, grant, document)
    await data.ask(asks, other.tenant, theirs)
    await data.append()
    await data.services.audit.checkpoints.publish(customer.tenant)
    await data.describe(asks, grant, document)
    await data.append()  # after the checkpoint

    period = Period(since, data.clock.now() + timedelta(seconds=1))
    report = await data.services.grants.reports.report(customer, period)
    told, *entries = verified([line async for line in report])
    assert (told["grant"]["id"], told["grant"]["texts"]["text"]) == (grant, WHY)
    assert sorted((line["entry"]["action"], "proof" in line) for line in entries) == [
        ("document.open", True),
        ("document.read", False),
        ("grant.approve", True),
        ("grant.request", True),
    ]
    assert {line["entry"]["grant"] for line in entries} == {grant}
    ids = [line["entry"]["id"] for line in entries]
    assert ids == sorted(ids), "the oldest first"
    everything = await data.services.grants.reports.report(customer, Period())
    assert len([line async for line in everything if line.startswith(b'{"grant"')]) == 2
    await data.close()
