"""The rule for texts that clients make up, such as file names; docs/requests.md publishes it.

It is the FreeformClass of PRECIS (RFC 8264 section 4.3) without what that class needs for identifiers,
which are compared: nobody signs in with a file name. So unassigned code points pass, which are letters and
emoji of a later Unicode than Python's, and so do the contextual rules' punctuation and digits. What a text
shows must be what it is: characters that are not shown are refused, but for joiners and selectors without
which words and emoji fall apart.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# Default_Ignorable_Code_Point of Unicode; the property is meant to grow no more.
_IGNORABLE: Final = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_SELECTOR: Final = re.compile(r"[\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_EMOJI_SELECTOR: Final = "\ufe0f"
_KEYCAP: Final = "\u20e3"
_ON_KEYS: Final = "0123456789#*"
_INFORMATION: Final = "\u2139"
"""The one emoji that is a letter of an alphabet to Unicode."""
_WITH_FORMS: Final = {"Cn", "Lo", "Nd", "Pd", "Po", "Sk", "Sm", "So"}
"""Categories of emoji and of the letters, such as Chinese ones, that have more than one form."""
JOINER: Final = "\u200d"
NON_JOINER: Final = "\u200c"
_SUBDIVISION_FLAG: Final = re.compile(
    r"\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,6}\U000e007f"
)
"""The flag of England, for one: a black flag and letters that are not shown (UTS 51)."""
_BIDIRECTIONAL: Final = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_VIRAMA: Final = 9
_MOST_COMPOSED: Final = 4
"""The most characters that NFC makes one of, as in Greek."""
_BLANK_BRAILLE: Final = "\u2800"


def normalized_text(text: str, what: str, longest: int) -> str:
    """Return a text from a client in the form in which it is kept: NFC.

    Args:
        text: The text.
        what: What it is, as the error calls it.
        longest: The most characters that it may have in that form.

    Raises:
        ValueError: It has more, holds one that is not shown, or begins or ends with a blank.
    """
    # Normalizing takes time that grows with the square of the marks in a row.
    if len(text) <= longest * _MOST_COMPOSED:
        text = unicodedata.normalize("NFC", text)
    if len(text) > longest:
        raise ValueError(f"{what} has more than {longest} characters; send a shorter one.")
    _check_shown(text, what)
    return text


def _check_shown(text: str, what: str) -> None:
    """Refuse a text that shows as another one, or as none.

    Raises:
        ValueError: It holds a character that is not shown, or begins or ends with a blank.
    """
    if not (text.isascii() and text.isprintable()):  # as most are
        checked = _SUBDIVISION_FLAG.sub("\u2691", text)
        for at, char in enumerate(checked):
            if not _is_shown(char) and not _shapes_its_neighbours(checked, at):
                # Which one it is would repeat a part of the text.
                raise ValueError(f"{what} has a {_kind(char)} at position {at + 1}; remove it.")
    for end in (text[:1], text[-1:]):
        if end.isspace() or end == _BLANK_BRAILLE:
            raise ValueError(f"{what} begins or ends with a blank; remove it.")


def _kind(char: str) -> str:
    if _BIDIRECTIONAL.match(char):
        return "bidirectional control"
    kinds = {"Cc": "control character", "Co": "private-use character"}
    return kinds.get(unicodedata.category(char), "character that is not shown")


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
    if not before:
        return False
    if _SELECTOR.match(char):
        if before.isascii():
            return before in _ON_KEYS and after == _KEYCAP
        return before == _INFORMATION or unicodedata.category(before) in _WITH_FORMS
    if char not in {JOINER, NON_JOINER} or not after:
        return False
    if _VIRAMA in {unicodedata.combining(before), unicodedata.combining(after)}:
        return True
    letter = next((each for each in reversed(text[:at]) if not unicodedata.combining(each)), "")
    if letter and unicodedata.bidirectional(letter) == "AL":
        return True
    return char == JOINER and _in_emoji(before) and _in_emoji(after)


def _in_emoji(char: str) -> bool:
    return char == _EMOJI_SELECTOR or unicodedata.category(char) in {"So", "Sk", "Cn"}
