"""``Content-Disposition`` as clients send it: the file name in it (RFC 6266, RFC 8187, RFC 2231)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

_PARAMETER: Final = re.compile(r'([^;"]*+(?:"(?:[^"\\]|\\.)*+"[^;"]*+)*+);', re.DOTALL)
"""Up to the next semicolon that is not within quotes."""
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
# A backslash before anything else is a path's: senders quote nothing but these (RFC 9110 section 5.6.4).
_QUOTED_PAIR: Final = re.compile(r'\\(["\\])')
_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")

_CHARSETS: Final = {"utf-8", "utf8", "iso-8859-1", "us-ascii"}


def file_name_in(disposition: str) -> str:
    """Return the file name in a ``Content-Disposition``, from ``filename*`` where it can be decoded.

    Names in several sections (``filename*0``, RFC 2231 section 3), which mail programs send, come next,
    then ``filename``. What is not to the letter but has one meaning is read: values without quotes, with
    blanks; no disposition type.

    Args:
        disposition: The header's value, decoded.

    Raises:
        ValueError: It is malformed, or there is no name in it.
    """
    parameters = _parameters(disposition)
    name = (
        _extended(parameters.get("filename*", ""))
        or _in_sections(parameters)
        or parameters.get("filename")
    )
    if name:
        return name
    if "filename*" in parameters:
        raise ValueError(
            "filename* in Content-Disposition cannot be decoded; send UTF-8'' and the name,"
            " percent-encoded (RFC 8187)."
        )
    raise ValueError('Name the document: Content-Disposition: attachment; filename="NAME".')


def _parameters(disposition: str) -> dict[str, str]:
    """Return the values of the parameters by name.

    Raises:
        ValueError: Quotes are unbalanced, or a parameter comes twice.
    """
    parameters: dict[str, str] = {}
    text, position = f"{disposition};", 0
    while position < len(text):
        parameter = _PARAMETER.match(text, position)
        if parameter is None:
            raise ValueError(
                "Content-Disposition is malformed: a quote is not closed; send"
                ' attachment; filename="NAME".'
            )
        position = parameter.end()
        name, equals, value = parameter[1].partition("=")
        name = name.strip(" \t").lower()
        if not equals:
            continue
        if name in parameters:
            raise ValueError(
                "A parameter of Content-Disposition comes twice (RFC 6266 section 4.1); send it once."
            )
        parameters[name] = _unquoted(value.strip(" \t"))
    return parameters


def _unquoted(value: str) -> str:
    """Return the text of a parameter's value.

    Raises:
        ValueError: Quotes are within it.
    """
    if '"' not in value:
        return value
    quoted = _QUOTED.fullmatch(value)
    if quoted is None:
        raise ValueError(
            "Content-Disposition is malformed: put a backslash before quotes within the name."
        )
    return _QUOTED_PAIR.sub(r"\1", quoted[1])


def _extended(value: str) -> str:
    """Return the text of an extended value (RFC 8187 section 3.2.1); empty where it has none."""
    charset, _, rest = value.partition("'")
    _, quote, encoded = rest.partition("'")
    return _decoded(charset, [(encoded, True)]) if quote else ""


def _in_sections(parameters: Mapping[str, str]) -> str:
    """Return the name in ``filename*0``, ``filename*1*``, ...; empty where none can be decoded."""
    sections: list[tuple[str, bool]] = []
    charset = "utf-8"
    while True:
        name = f"filename*{len(sections)}"
        encoded = parameters.get(f"{name}*")
        text = parameters.get(name) if encoded is None else encoded
        if text is None:
            return _decoded(charset, sections)
        if encoded is not None and not sections:
            charset, _, rest = encoded.partition("'")
            text = rest.partition("'")[2]
        sections.append((text, encoded is not None))


def _decoded(charset: str, sections: list[tuple[str, bool]]) -> str:
    """Return sections in a charset as a text, percent-encoded where they say so; empty where malformed."""
    if charset.lower() not in _CHARSETS:
        return ""
    data = b""
    for text, encoded in sections:
        if encoded and _BAD_PERCENT.search(text):
            return ""
        data += unquote_to_bytes(text) if encoded else text.encode()
    try:
        return data.decode(charset)
    except UnicodeError:
        return ""
