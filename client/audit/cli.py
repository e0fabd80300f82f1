"""The arguments of ``strongroom audit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.options import Json
from client.output import open_output

app = typer.Typer(no_args_is_help=True, help="Verify the audit log with keys of the log alone.")

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="An export, a .tlog-proof file, or the URL of a log.",
        show_default=False,
    ),
]
Key = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        metavar="VKEY",
        help="A key of the log that you trust, or a file with one a line; one of them must have signed.",
        show_default=False,
    ),
]
Witness = Annotated[
    list[str] | None,
    typer.Option(
        "--witness",
        metavar="VKEY",
        help="A witness that must have cosigned, or a file with one a line.",
        show_default=False,
    ),
]
Quorum = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="So many of the witnesses suffice; by default: all.", show_default=False
    ),
]
Policy = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A policy (c2sp.org/tlog-policy): logs, witnesses and their quorum.",
        show_default=False,
    ),
]
Entry = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The entry that a .tlog-proof file is about, if it is not in it.",
        show_default=False,
    ),
]


@app.command("verify")
def verify(
    source: Source,
    *,
    key: Key = None,
    witness: Witness = None,
    quorum: Quorum = None,
    policy: Policy = None,
    entry: Entry = None,
    since: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A checkpoint that you kept: prove that the log only grew since. By default: the one "
            "that you pinned, if any.",
            show_default=False,
        ),
    ] = None,
    timestamp_root: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Certificates, PEM, of a time stamp authority: prove since when entries of a log exist, "
            "whose URL is SOURCE.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Verify an export, a proof or a whole log: every entry, tile and signature.

    Nothing is believed but the keys that you give or gave when you pinned a checkpoint.
    """
    from client.audit import command

    wanted = command.Verification(
        source,
        entry,
        command.read_trust(key or (), witness or (), quorum, policy),
        command.read_roots(timestamp_root),
    )
    command.verify(wanted, since, open_output(as_json=as_json))


@app.command("pin")
def pin(
    source: Source,
    *,
    key: Key = None,
    witness: Witness = None,
    quorum: Quorum = None,
    policy: Policy = None,
    entry: Entry = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where to keep it; by default in your configuration folder, where verify finds it.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Verify, and keep the checkpoint and your keys, so that the log cannot change unnoticed later."""
    from client.audit import command

    wanted = command.Verification(
        source, entry, command.read_trust(key or (), witness or (), quorum, policy)
    )
    command.pin(wanted, out, open_output(as_json=as_json))
