"""The rule for names and metadata from clients; docs/requests.md publishes it.

It is the FreeformClass of PRECIS (RFC 8264 section 4.3) without what that class needs for identifiers,
which are compared: nobody signs in with a file name. So unassigned code points pass, which are letters and
emoji of a later Unicode than Python's, and so do the contextual rules' punctuation and digits. What a text
shows must be what it is: characters that are not shown are refused, but for joiners and selectors without
which words and emoji fall apart.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

MAX_NAME: Final = 255
MAX_LABEL: Final = 64
MAX_LABEL_VALUE: Final = 512
MAX_LABELS: Final = 32

# Default_Ignorable_Code_Point of Unicode; the property is meant to grow no more.
_IGNORABLE: Final = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_SELECTOR: Final = re.compile(r"[\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_EMOJI_SELECTOR: Final = "\ufe0f"
_KEYCAP: Final = "\u20e3"
_INFORMATION: Final = "\u2139"
"""The one emoji that is a letter of an alphabet to Unicode."""
_WITH_FORMS: Final = {"Cn", "Lo", "Nd", "Pd", "Po", "Sk", "Sm", "So"}
"""Categories of emoji and of the letters, such as Chinese ones, that have more than one form."""
_JOINER: Final = "\u200d"
_NON_JOINER: Final = "\u200c"
_SUBDIVISION_FLAG: Final = re.compile(
    r"\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,6}\U000e007f"
)
"""The flag of England, for one: a black flag and letters that are not shown (UTS 51)."""
_BIDIRECTIONAL: Final = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_IN_LABELS: Final = {"Ll", "Lm", "Lo", "Lt", "Lu", "Mc", "Me", "Mn", "Nd", "Nl", "Pc"}
_VIRAMA: Final = 9
_BLANK_BRAILLE: Final = "\u2800"


def file_name(text: str) -> str:
    """Return a file name from a client in the form in which it is kept: NFC.

    Raises:
        ValueError: The rule refuses it.
    """
    name = unicodedata.normalize("NFC", text)
    if not 1 <= len(name) <= MAX_NAME:
        raise _refusal(f"A name has 1 to {MAX_NAME} characters; send another one.")
    if "/" in name or "\\" in name or name in {".", ".."}:
        raise _refusal("A name is no path; send the last part of it alone.")
    _check_shown(name, "The name")
    return name


def labels(sent: Mapping[str, str]) -> dict[str, str]:
    """Return metadata from a client in the form in which it is kept: NFC.

    Raises:
        ValueError: The rule refuses it.
    """
    if len(sent) > MAX_LABELS:
        raise _refusal(f"Metadata has at most {MAX_LABELS} entries; send fewer.")
    kept: dict[str, str] = {}
    for label, text in sent.items():
        key, value = (unicodedata.normalize("NFC", each) for each in (label, text))
        if not 1 <= len(key) <= MAX_LABEL or not all(map(_may_be_in_label, key)):
            raise _refusal(
                f"A key of the metadata has 1 to {MAX_LABEL} letters, digits, dots, hyphens and"
                " underscores; send another one."
            )
        if key in kept:
            raise _refusal("Two keys of the metadata are the same; send each once.")
        if len(value) > MAX_LABEL_VALUE:
            raise _refusal(
                f"A value of the metadata has at most {MAX_LABEL_VALUE} characters; send less."
            )
        _check_shown(key, "A key of the metadata")
        _check_shown(value, "A value of the metadata")
        kept[key] = value
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


def _check_shown(text: str, what: str) -> None:
    """Refuse a text that shows as another one, or as none.

    Raises:
        ValueError: It holds a character that is not shown, or begins or ends with a blank.
    """
    checked = _SUBDIVISION_FLAG.sub("\u2691", text)
    for at, char in enumerate(checked):
        if not _is_shown(char) and not _shapes_its_neighbours(checked, at):
            # Which one it is would repeat a part of the text.
            raise _refusal(f"{what} has a {_kind(char)} at position {at + 1}; remove it.")
    for end in (checked[:1], checked[-1:]):
        if end.isspace() or end == _BLANK_BRAILLE:
            raise _refusal(f"{what} begins or ends with a blank; remove it.")


def _kind(char: str) -> str:
    if _BIDIRECTIONAL.match(char):
        return "bidirectional control"
    kinds = {"Cc": "control character", "Co": "private-use character"}
    return kinds.get(unicodedata.category(char), "character that is not shown")


def _may_be_in_label(char: str) -> bool:
    return unicodedata.category(char) in _IN_LABELS or char in {".", "-", _JOINER, _NON_JOINER}


def _is_shown(char: str) -> bool:
    noncharacter = ord(char) & 0xFFFE == 0xFFFE or "\ufdd0" <= char <= "\ufdef"
    return (
        unicodedata.category(char) not in {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
        and not noncharacter
        and _IGNORABLE.match(char) is None
    )


def _shapes_its_neighbours(text: str, at: int) -> bool:
    """Whether a character that is not shown changes how the ones beside it are.

    A selector picks the form of the character before it. Joiners are as RFC 5892 appendix A.1 and A.2
    has them, beside the virama on either side, after cursive letters, and within emoji (UTS 51).
    """
    char, before, after = text[at], text[at - 1 : at], text[at + 1 : at + 2]
    if _SELECTOR.match(char):
        if before.isascii():  # of these only digits, # and * have another form, as a key
            return after == _KEYCAP
        return before == _INFORMATION or unicodedata.category(before) in _WITH_FORMS
    if char not in {_JOINER, _NON_JOINER} or not before or not after:
        return False
    if _VIRAMA in {unicodedata.combining(before), unicodedata.combining(after)}:
        return True
    letter = next((each for each in reversed(text[:at]) if not unicodedata.combining(each)), "")
    if letter and unicodedata.bidirectional(letter) == "AL":
        return True
    return char == _JOINER and _in_emoji(before) and _in_emoji(after)


def _in_emoji(char: str) -> bool:
    return char == _EMOJI_SELECTOR or unicodedata.category(char) in {"So", "Sk", "Cn"}


def _refusal(detail: str) -> PydanticCustomError:
    return PydanticCustomError("text", detail)
