"""The topology of the tests of a bus: the deployed one, but for a second subscription to some types."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from shared.base.topology import Topology

FAN_OUT_FILE: Final = Path(__file__).with_name("topology.json")
FAN_OUT: Final = Topology.model_validate_json(FAN_OUT_FILE.read_bytes())
