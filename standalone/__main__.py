"""Run Strongroom on this machine.

``python -m standalone [--host ADDRESS] [--port PORT] [--data DIR]``
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import ChainMap
from pathlib import Path

import uvloop
from pydantic import ValidationError

from shared.environment import WrongEnvironment
from shared.errors import StrongroomError
from standalone import first_steps
from standalone.data_lock import exclusive_data_folder
from standalone.errors import StartError
from standalone.host import Host
from standalone.logs import configure_logging

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Read the command line and run the host; the value is the exit code."""
    parser = argparse.ArgumentParser(prog="python -m standalone", description="Run Strongroom.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s)")
    parser.add_argument("--port", type=int, default=7071, help="port to listen at (%(default)s)")
    parser.add_argument("--data", type=Path, default=Path("data"), help="data folder (%(default)s)")
    arguments = parser.parse_args()

    configure_logging()
    base_url = f"http://{arguments.host}:{arguments.port}"
    os.environ["STRONGROOM_DATA_DIR"] = str(arguments.data.resolve())
    os.environ.setdefault("STRONGROOM_PUBLIC_BASE_URL", base_url)
    try:
        # Held before the secret is made: another host's may lie there.
        with exclusive_data_folder(arguments.data):
            if "STRONGROOM_BOOTSTRAP_SECRET_SHA256" not in os.environ:
                secret = first_steps.bootstrap_secret(arguments.data)
                os.environ["STRONGROOM_BOOTSTRAP_SECRET_SHA256"] = first_steps.sha256_hex(secret)
            uvloop.run(_host(arguments).run())
    except (StartError, StrongroomError, WrongEnvironment, OSError) as error:
        sys.stderr.write(f"strongroom: {error}\n")
        return 1
    except ValidationError as error:
        for problem in error.errors(include_input=False):
            setting = "STRONGROOM_" + "_".join(str(part) for part in problem["loc"]).upper()
            sys.stderr.write(f"strongroom: the setting {setting} is not valid: {problem['msg']}\n")
        return 1
    return 0


def _host(arguments: argparse.Namespace) -> Host:
    # The app and the services read their settings from the environment, which is complete only now.
    from function_app import app
    from functions.http import get_api
    from shared.settings import get_settings
    from shared.wiring import get_services
    from standalone.staged import PREFIX, create_staged

    services = get_services()
    api = get_api()
    first_lines: list[str] = []

    async def startup() -> None:
        await services.start()
        if await services.tenants.has_operator():
            first_steps.forget_secret(arguments.data)
        else:
            first_lines.append(
                first_steps.instructions(get_settings().public_base_url, arguments.data)
            )

    def greet(base_url: str) -> None:
        sys.stdout.write(f"Strongroom serves {base_url}\n")
        sys.stdout.write(f"The API's documentation: {get_settings().public_base_url}/api/v1/docs\n")
        sys.stdout.write("".join(first_lines))
        sys.stdout.flush()

    defaults = {
        "STRONGROOM_" + name.upper(): str(value)
        for name, value in get_settings().model_dump().items()
    }
    host_json = json.loads((ROOT / "host.json").read_text())
    return Host(
        app=app,
        api=api,
        source=services.adapters.source,
        startup=startup,
        shutdown=services.close,
        address=arguments.host,
        port=arguments.port,
        settings=ChainMap(dict(os.environ), defaults),
        route_prefix=host_json["extensions"]["http"]["routePrefix"],
        on_ready=greet,
        mounts={PREFIX: create_staged(services, api.state.limits)},
    )


sys.exit(main())
