"""Media types as clients send them (RFC 9110 section 8.3.1), in the form in which they are kept."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, WithJsonSchema

TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
QUOTED: Final = r'"(?:[\t !#-\[\]-~]|\\[\t -~])*"'
"""A quoted string, of ASCII alone: the media type goes out again in headers."""

MAX_ESSENCE: Final = 127
MAX_LENGTH: Final = 512

_ESSENCE: Final = re.compile(rf"{TOKEN}/{TOKEN}")
_PARAMETER: Final = re.compile(rf"[ \t]*;[ \t]*({TOKEN}=(?:{TOKEN}|{QUOTED}))?")


def parse_media_type(value: str) -> str:
    """Return a media type with its parameters as they were sent, without what means nothing.

    Blanks around semicolons and semicolons without a parameter go.

    Raises:
        ValueError: It is malformed or too long.
    """
    value = value.strip(" \t")
    essence = _ESSENCE.match(value)
    if essence is None or len(essence[0]) > MAX_ESSENCE:
        raise _malformed()
    kept, position = [essence[0]], essence.end()
    while position < len(value):
        parameter = _PARAMETER.match(value, position)
        if parameter is None:
            raise _malformed()
        kept += [text for text in parameter.groups() if text]
        position = parameter.end()
    parsed = "; ".join(kept)
    if len(parsed) > MAX_LENGTH:
        raise _malformed()
    return parsed


def _malformed() -> ValueError:
    return ValueError(
        "The media type is malformed or too long; send one such as text/plain; charset=utf-8"
        " (RFC 9110 section 8.3.1).",
    )


NewMediaType = Annotated[
    str,
    AfterValidator(parse_media_type),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": MAX_LENGTH,
            "pattern": rf"^{TOKEN}/{TOKEN}([ \t]*;[ \t]*({TOKEN}=({TOKEN}|{QUOTED}))?)*$",
        }
    ),
]
"""A media type from a client."""
