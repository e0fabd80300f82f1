"""Each SDK is imported when its service is first used, not with the adapters."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
from shared.adapters.azure import blobs, bus, clients, keys, records, source, write_once
from shared.ports.clock import SystemClock
from shared.base.topology import load_topology

opened = clients.AzureClients()
clock = SystemClock()
blobs.AzureBlobs(opened, "https://a.example.com", "primary", clock)
bus.AzureBus(opened, "a.example.com", load_topology())
keys.AzureKeys(opened, "https://a.example.com")
records.AzureRecords(opened, "https://a.example.com", "strongroom", clock)
write_once.AzureWriteOnce(opened, "https://a.example.com", "backup", clock)
source.AzureSource(opened, "a.example.com", load_topology(), clock)
print(*sorted(name for name in sys.modules if name.split(".")[0] in ("azure", "aiohttp", "msal")))
"""


def test_making_the_adapters_imports_no_sdk():
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""
