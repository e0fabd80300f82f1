"""Names and metadata of documents from clients, by the rule for texts."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, Field, WithJsonSchema

from shared.base.texts import JOINER, NON_JOINER, normalized_text

MAX_NAME: Final = 255
MAX_LABEL: Final = 64
MAX_LABEL_VALUE: Final = 512
MAX_LABELS: Final = 32

_IN_LABELS: Final = {"Ll", "Lm", "Lo", "Lt", "Lu", "Mc", "Me", "Mn", "Nd", "Nl", "Pc"}


def file_name(text: str) -> str:
    """Return a file name from a client in the form in which it is kept: NFC.

    Raises:
        ValueError: The rule refuses it.
    """
    name = normalized_text(text, "The name", MAX_NAME)
    if not name:
        raise ValueError("The name is empty; send one.")
    if "/" in name or "\\" in name or name in {".", ".."}:
        raise ValueError("A name is no path; send the last part of it alone.")
    return name


def labels(sent: Mapping[str, str]) -> dict[str, str]:
    """Return metadata from a client in the form in which it is kept: NFC.

    Raises:
        ValueError: The rule refuses it.
    """
    if len(sent) > MAX_LABELS:
        raise ValueError(f"Metadata has at most {MAX_LABELS} entries; send fewer.")
    kept: dict[str, str] = {}
    for label, text in sent.items():
        key = normalized_text(label, "A key of the metadata", MAX_LABEL)
        if not key or not all(map(_may_be_in_label, key)):
            raise ValueError(
                "A key of the metadata has letters, digits, dots, hyphens and underscores; send"
                " another one."
            )
        if key in kept:
            raise ValueError("Two keys of the metadata are the same; send each once.")
        kept[key] = normalized_text(text, "A value of the metadata", MAX_LABEL_VALUE)
    return kept


NewName = Annotated[
    str,
    AfterValidator(file_name),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_NAME,
            "pattern": r"^[^\x00-\x1f\x7f-\x9f/\\]+$",
            "description": "A file name; the characters that are not shown are refused.",
        }
    ),
]
"""A file name from a client."""

NewLabels = Annotated[
    dict[str, str],
    Field(
        json_schema_extra={
            "maxProperties": MAX_LABELS,
            "propertyNames": {"maxLength": MAX_LABEL, "pattern": r"^[\w.-]+$"},
            "additionalProperties": {"type": "string", "maxLength": MAX_LABEL_VALUE},
        }
    ),
    AfterValidator(labels),
]
"""Metadata from a client: short texts by name."""


def _may_be_in_label(char: str) -> bool:
    return unicodedata.category(char) in _IN_LABELS or char in {".", "-", JOINER, NON_JOINER}
