"""The command that runs Strongroom on this machine."""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import threading
from difflib import get_close_matches
from pathlib import Path

import uvloop
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from shared.adapters.embedded.bus import SqliteBus
from shared.base.environment import WrongEnvironment
from shared.base.errors import StrongroomError
from shared.wiring.settings import Settings
from standalone import first_steps
from standalone.data_lock import exclusive_data_folder
from standalone.errors import StartError
from standalone.host import Host
from standalone.logs import configure_logging
from standalone.process import SETTING_PREFIX, app_settings, use_threads
from standalone.supervised import Supervised

ROOT = Path(__file__).parents[1]
SECRET_SETTING = "STRONGROOM_BOOTSTRAP_SECRET_SHA256"

# Read by the tests and by the deployment, so they may well be set where this is started.
NOT_SETTINGS = frozenset(
    SETTING_PREFIX + name
    for name in (
        "REQUIRE_EMULATORS",
        "FAULT_KILLS",
        "FAULT_SEED",
        "APPEND_SECONDS",
        "GRANT_HISTORIES",
        "APP_ID",
        "BOOTSTRAP_DIGEST",
        "CERTIFICATE",
        "CERTIFICATE_EXPIRES",
    )
)


def main() -> int:
    """Read the command line and run the host; the value is the exit code."""
    parser = argparse.ArgumentParser(prog="python -m standalone", description="Run Strongroom.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s)")
    parser.add_argument("--port", type=_port, default=7071, help="port to listen at (%(default)s)")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("STRONGROOM_DATA_DIR") or "data"),
        help="data folder (%(default)s)",
    )
    parser.add_argument(
        "--one-process",
        action="store_true",
        help="handle messages and timers in the process of the requests: less memory, less throughput",
    )
    arguments = parser.parse_args()

    configure_logging()
    data: Path = arguments.data.absolute()
    address = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    os.environ["STRONGROOM_DATA_DIR"] = str(data)
    if not os.environ.get("STRONGROOM_PUBLIC_BASE_URL"):
        os.environ["STRONGROOM_PUBLIC_BASE_URL"] = f"http://{address}:{arguments.port}"
    try:
        _refuse_unknown_settings()
        # Held before the secret is made: another host's may lie there.
        with exclusive_data_folder(data) as lock:
            if not os.environ.get(SECRET_SETTING):
                secret = first_steps.bootstrap_secret(data)
                os.environ[SECRET_SETTING] = first_steps.sha256_hex(secret)
            kept = None if arguments.one_process else lock
            uvloop.run(_run(_host(arguments.host, arguments.port, data, kept)))
    except (StartError, StrongroomError, WrongEnvironment, OSError) as error:
        sys.stderr.write(f"strongroom: {error}\n")
        return 1
    except ValidationError as error:
        for problem in error.errors(include_input=False):
            sys.stderr.write(f"strongroom: {_explained(problem)}\n")
        return 1
    return 0


async def _run(host: Host) -> None:
    """Run the host, and end with it even if a thread hangs in a disk that does not respond."""
    use_threads()
    try:
        await host.run()
    finally:
        end = threading.Timer(host.grace_seconds, os._exit, [1])
        end.daemon = True
        end.start()


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 65_535):
        raise argparse.ArgumentTypeError("a port is a number from 1 to 65535")
    return int(text)


def _refuse_unknown_settings() -> None:
    """Misspelt, a setting would be ignored, and what it was to forbid be allowed.

    Raises:
        StartError: A variable of the environment looks like a setting and is not one.
    """
    known = sorted(SETTING_PREFIX + name.upper() for name in Settings.model_fields)
    # As pydantic reads them: in either case.
    for variable in sorted(os.environ):
        name = variable.upper()
        if name.startswith(SETTING_PREFIX) and name not in known and name not in NOT_SETTINGS:
            [nearest] = get_close_matches(name, known, n=1, cutoff=0)
            raise StartError(f"There is no setting {variable}. Did you mean {nearest}?")


def _explained(problem: ErrorDetails) -> str:
    """What is wrong with the settings, and what the setting is for."""
    wrong = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:  # the settings do not agree with each other, and the text names them
        return wrong + "."
    setting = f"{SETTING_PREFIX}{problem['loc'][0]}".upper()
    sample = json.loads((ROOT / "local.settings.sample.json").read_text("utf-8"))
    if problem["type"] == "string_pattern_mismatch":
        wrong = f"it does not have the form of, for example, {sample['Values'][setting]!r}"
    return f"The setting {setting} is not valid: {wrong}. {sample['Explained'][setting]}"


def _host(address: str, port: int, data: Path, lock: int | None) -> Host:
    """The host; with the lock of the data folder it has messages and timers in a second process."""
    # The app and the services read their settings from the environment, which is complete only now.
    from function_app import app
    from functions.http import get_api
    from shared.wiring.services import get_services
    from shared.wiring.settings import get_settings
    from standalone.mounts import PREFIX, StagedOnDemand

    services = get_services()
    api = get_api()
    first_lines: list[str] = []

    async def startup() -> None:
        await services.start()
        if services.settings.profile == "embedded":
            # Asked once, as the records are below: a damaged file ends the start.
            first = services.topology.subscriptions[0].name
            await services.adapters.bus.dead_letters(first, limit=1)
            # No other process uses the folder: what an earlier one left can go out at once.
            await services.outbox.relay(everything=True)
        if await services.bootstrap.has_operator():
            first_steps.forget_secret(data)
        else:
            first_lines.append(first_steps.instructions(get_settings().public_base_url, data))
        # What was made until now is there for good: the collector need never look at it.
        gc.freeze()
        gc.enable()

    def greet(base_url: str) -> None:
        sys.stdout.write(f"Strongroom serves {base_url}\n")
        sys.stdout.write(f"The API's documentation: {get_settings().public_base_url}/api/v1/docs\n")
        sys.stdout.write("".join(first_lines))
        sys.stdout.flush()

    background = None
    if lock is not None and isinstance(services.adapters.source, SqliteBus):
        names = [part.name for part in services.topology.subscriptions]
        supervised = Supervised(
            services.adapters.source, names, lock=lock, before_stop=services.outbox.close
        )
        background = supervised.run
    host_json = json.loads((ROOT / "host.json").read_text())
    return Host(
        app=app,
        api=api,
        source=services.adapters.source,
        startup=startup,
        shutdown=services.close,
        address=address,
        port=port,
        settings=app_settings(get_settings()),
        route_prefix=host_json["extensions"]["http"]["routePrefix"],
        on_ready=greet,
        background=background,
        mounts={PREFIX: StagedOnDemand(services, api.state.limits)},
        behind_proxies=services.settings.trusted_proxies > 0,
        activity=services.adapters.activity,
    )
