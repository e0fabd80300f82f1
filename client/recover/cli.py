"""The arguments of ``strongroom recover``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.options import Json, check_id
from client.output import open_output


def recover(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="The target: a folder, s3://bucket/prefix, az://account/container/prefix or "
            "gs://bucket/prefix; credentials come from the environment.",
            show_default=False,
        ),
    ],
    dest: Annotated[
        Path | None,
        typer.Argument(metavar="[DEST]", help="The folder to recover into.", show_default=False),
    ] = None,
    *,
    identity: Annotated[
        list[Path],
        typer.Option(
            "--identity",
            "-i",
            help="A file with an age identity (AGE-SECRET-KEY-1...); once for each holder of a quorum.",
            show_default=False,
        ),
    ],
    list_only: Annotated[
        bool, typer.Option("--list", help="List what the target holds; recover nothing.")
    ] = False,
    plan_only: Annotated[
        bool,
        typer.Option(
            "--plan", help="Say how much there is and how long it takes; recover nothing."
        ),
    ] = False,
    document: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="Only this document.", callback=check_id, show_default=False
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="GLOB", help="Only documents whose name matches.", show_default=False),
    ] = None,
    all_versions: Annotated[
        bool, typer.Option("--all-versions", help="Earlier versions as well.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files in DEST that differ.")
    ] = False,
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The URL of the storage service, if it is not the provider's own.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Recover documents from a target with age identities alone, without any server.

    Every file is verified before it gets its name. What is missing or damaged is passed over and listed
    at the end. The same command goes on where an earlier one was interrupted.
    """
    if list_only and plan_only:
        raise typer.BadParameter("choose one of --list and --plan")
    if dest is None and not (list_only or plan_only):
        raise typer.BadParameter("say where to recover to", param_hint="DEST")
    from client.recover import command

    wanted = command.Wanted(document, name, all_versions=all_versions, overwrite=overwrite)
    output = open_output(as_json=as_json)
    recovery = command.Recovery(identity, source, endpoint, wanted, output)
    if list_only:
        work = recovery.list()
    elif plan_only or dest is None:
        work = recovery.plan(dest)
    else:
        work = recovery.restore(dest)
    command.run(work)
