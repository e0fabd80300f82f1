"""Options and arguments that several commands have."""

from __future__ import annotations

import re
from typing import Annotated, Final

import typer

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_id(text: str | None) -> str | None:
    """An id, which becomes a part of a path.

    Raises:
        BadParameter: It cannot be one.
    """
    if text is not None and not _ID.fullmatch(text):
        raise typer.BadParameter("this is not an id")
    return text


Tenant = Annotated[
    str | None,
    typer.Option(
        metavar="ID",
        help="For employees: the tenant whose backups they are.",
        callback=check_id,
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
