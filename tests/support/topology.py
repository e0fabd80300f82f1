"""The deployed subscriptions, and a topology for the tests of a bus, in which two of them take one type."""

from __future__ import annotations

from typing import Final

from shared.base.topology import Subscription, Topology, load_topology

SUBSCRIPTIONS: Final = tuple(each.name for each in load_topology().subscriptions)

FIRST: Final = "replication"
SECOND: Final = "targets"


def _fanned_out(topology: Topology) -> Topology:
    """The same, but for what the second of the two subscriptions takes: all that the first does."""
    [types] = (each.types for each in topology.subscriptions if each.name == FIRST)

    def wider(each: Subscription) -> Subscription:
        return each.model_copy(update={"types": types}) if each.name == SECOND else each

    topics = tuple(
        topic.model_copy(update={"subscriptions": tuple(map(wider, topic.subscriptions))})
        for topic in topology.topics
    )
    return topology.model_copy(update={"topics": topics})


FAN_OUT: Final = _fanned_out(load_topology())
