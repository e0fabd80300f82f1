"""What the routes have in common by which an audit log is read piece by piece."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Path
from fastapi.responses import Response

from shared.access.principal import Principal
from shared.base.errors import NotFound
from shared.base.partitions import OPERATOR
from shared.wiring.services import Services

ALWAYS_ASK: Final = "private, no-cache"

Log = Annotated[
    str,
    Path(
        pattern=rf"^({OPERATOR}|ten_[0-9a-z]{{26}})$",
        description="The tenant whose log it is: your own.",
    ),
]


async def begin_reading(services: Services, principal: Principal, tenant: str, form: str) -> None:
    """Before a log is read piece by piece: refuse that of another tenant, and put it into the log.

    Raises:
        NotFound: It is not the caller's: there is none for them.
    """
    if tenant != principal.tenant:
        raise NotFound("There is no such log.")
    await services.audit.reader.note_read(principal, form)


def text_response(content: bytes, caching: str) -> Response:
    """A response with a signed note or a proof."""
    return Response(
        content, media_type="text/plain; charset=utf-8", headers={"Cache-Control": caching}
    )
