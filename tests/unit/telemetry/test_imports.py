"""What telemetry costs a cold start: nothing where it is off, the SDK where it is on, exporters later."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import ROOT, environment

LOADED = (
    "; import sys; print(*sorted({'.'.join(name.split('.')[:3]) for name in sys.modules"
    " if name.startswith(('opentelemetry', 'azure.monitor'))}))"
)
SERVICES = "from shared.wiring.services import get_services; get_services()"


def loaded(code: str, **settings: str) -> set[str]:
    """The modules of OpenTelemetry that a new process has imported when it has run the code."""
    ran = subprocess.run(
        [sys.executable, "-c", code + LOADED],
        cwd=ROOT,
        env=environment(**settings),
        capture_output=True,
        text=True,
        check=True,
    )
    return set(ran.stdout.split())


@pytest.mark.parametrize("telemetry", ["off", "azure-monitor"])
def test_indexing_imports_nothing(telemetry: str) -> None:
    code = "import function_app; function_app.app.get_functions()"
    # FastAPI imports the API by itself.
    assert {name.split(".")[1] for name in loaded(code, telemetry=telemetry) if "." in name} <= API


API = {"_events", "_logs", "attributes", "baggage", "context", "environment_variables"} | {
    *("metrics", "propagate", "propagators", "trace", "util", "version"),
}


def test_one_package_knows_the_sdk() -> None:
    """The import contracts see no difference between OpenTelemetry's API and its SDK."""
    allowed = ROOT / "shared" / "adapters" / "telemetry"
    knows = re.compile(
        r"^\s*(from|import) (opentelemetry\.(sdk|exporter)|azure\.monitor)", re.MULTILINE
    )
    found = [
        path
        for package in ("client", "functions", "shared", "standalone")
        for path in (ROOT / package).rglob("*.py")
        if knows.search(path.read_text())
    ]
    assert {path.parent for path in found} == {allowed}


def test_off_imports_no_sdk(tmp_path: Path) -> None:
    found = loaded(SERVICES, data_dir=str(tmp_path))
    assert {name.split(".")[1] for name in found if "." in name} <= API


@pytest.mark.parametrize("telemetry", ["console", "otlp", "azure-monitor"])
def test_exporters_wait_for_the_first_batch(telemetry: str, tmp_path: Path) -> None:
    found = loaded(SERVICES, data_dir=str(tmp_path), telemetry=telemetry)
    assert "opentelemetry.sdk.trace" in found
    assert not [name for name in found if name.startswith("azure.monitor")]
    assert not [name for name in found if name.startswith("opentelemetry.exporter")]


def test_the_process_ends_in_time_where_nobody_listens(tmp_path: Path) -> None:
    """Its exporter refuses, or its setting is missing: the end waits for seconds at most."""
    for settings in ({"telemetry": "azure-monitor"}, {"telemetry": "otlp"}):
        ran = subprocess.run(
            [sys.executable, "-c", SERVICES],
            cwd=ROOT,
            env={
                name: value
                for name, value in environment(
                    data_dir=str(tmp_path), telemetry_endpoint="http://127.0.0.1:9", **settings
                ).items()
                if not name.startswith("APPLICATIONINSIGHTS")
            },
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
    assert os.listdir(tmp_path)
