"""The ``strongroom`` command. What a command needs is imported when it runs, so that help comes at once."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback

import typer

from client import account, backups, restores
from client.audit import cli as audit
from client.errors import CommandError, ExitCode
from client.output import print_error
from client.recover import cli as recovery

app = typer.Typer(
    no_args_is_help=True,
    # A traceback with local variables would show keys and tokens.
    pretty_exceptions_enable=False,
    help="Recover documents with keys of your own; verify and restore backups; verify the audit log.",
    epilog="Exit codes: 0 done, 1 something could not be done, 2 usage, 3 the identities do not fit, "
    "130 interrupted.",
)
app.command()(recovery.recover)
app.command("sign-in")(account.sign_in)
app.command("sign-out")(account.sign_out)
app.add_typer(backups.app, name="backups")
app.command()(restores.restore)
app.add_typer(audit.app, name="audit")


def main() -> None:
    """Run the command in a process of its own, which ends with it."""
    try:
        code = run()
    except Exception:
        traceback.print_exc()
        code = ExitCode.INCOMPLETE
    with contextlib.suppress(OSError):  # nobody reads on
        sys.stdout.flush()
        sys.stderr.flush()
    # Threads of obstore that still hold objects of Python would abort the process while Python
    # takes itself down.
    os._exit(code)


def run() -> int:
    """Run the command that the arguments name; its exit code, as ``docs/cli.md`` says."""
    try:
        app(prog_name="strongroom")
    except CommandError as error:
        print_error(error.message)
        return error.code
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else ExitCode.DONE
    return ExitCode.DONE
