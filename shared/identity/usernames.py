"""Usernames: the profile UsernameCaseMapped of PRECIS (RFC 8265 section 3.3), and the form before it.

Two names that look the same are one: full-width letters, upper case and decomposed accents are mapped away,
and what cannot be seen, or turns the direction of text, is refused. The rules for joiners, for characters
that need a context and for right-to-left names are those of RFC 5892 and RFC 5893, as ``idna`` has them.

Where this differs from the profile:

- Spaces at both ends are dropped, as people paste them; the profile refuses them.
- At most ``MAX_LENGTH`` characters, counted after mapping; the profile has no limit.
- A name does not begin with a combining mark (as RFC 5891 section 4.2.3.2 has it for labels).
- No second dot lies above i or j (what U+0130 is mapped to), as it cannot be seen.
- No word mixes letters of Latin, Greek and Cyrillic, which look alike (as UTS 39 section 5.2, "moderately
  restrictive", has it for identifiers). Words of one script that look like words of another are accepted.
- Characters are those of Python's version of Unicode; later ones are refused as unassigned.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Annotated, Final

import idna
from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

MAX_LENGTH: Final = 254

# RFC 8264 section 9.1, which is section 2.6 of RFC 5892.
_VALID: Final = frozenset("\u00df\u03c2\u06fd\u06fe\u0f0b\u3007")
_NEED_CONTEXT: Final = frozenset(
    [
        *"\u00b7\u0375\u05f3\u05f4\u30fb",
        *map(chr, range(0x660, 0x66A)),
        *map(chr, range(0x6F0, 0x6FA)),
    ]
)
_REFUSED: Final = frozenset("\u0640\u07fa\u302e\u302f\u3031\u3032\u3033\u3034\u3035\u303b")
_JOINERS: Final = frozenset("\u200c\u200d")
# Section 9.9: conjoining Hangul (Hangul_Syllable_Type L, V and T). Section 9.13: of what is to be ignored
# (Default_Ignorable_Code_Point), those that are letters or marks; the others are refused by their category.
_JAMO: Final = re.compile("[\u1100-\u11ff\ua960-\ua97c\ud7b0-\ud7c6\ud7cb-\ud7fb]+")
_IGNORABLE: Final = re.compile(
    "[\u034f\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_LETTERS_AND_DIGITS: Final = frozenset({"Ll", "Lu", "Lo", "Nd", "Lm", "Mn", "Mc"})
_WIDTHS: Final = ("<wide>", "<narrow>")
_SECOND_DOT: Final = re.compile("[ij]\u0307")
_LOOK_ALIKE: Final = frozenset({"LATIN", "GREEK", "CYRILLIC"})

_CHARACTERS: Final = (
    "A username has letters, digits and ASCII punctuation, and no spaces, symbols or invisible characters "
    "(RFC 8265)."
)
_DIRECTION: Final = (
    "A username that is written from right to left has no part from left to right (RFC 5893)."
)
_SCRIPTS: Final = (
    "A word of a username has letters of one of Latin, Greek and Cyrillic, not of several."
)
_DOTS: Final = "A second dot above i or j cannot be seen: write i or j, also for \u0130."
_LENGTH: Final = f"A username has 1 to {MAX_LENGTH} characters."


def canonical(text: str) -> str:
    """Return the form under which a username is kept and compared.

    Raises:
        ValueError: It is no username; the message says why and does not repeat it.
    """
    name = text.strip(" ")
    name = "".join(map(_narrow, name))
    # Hangul that came decomposed is the same name; what then is left of its parts is refused.
    name = _JAMO.sub(lambda parts: unicodedata.normalize("NFC", parts[0]), name)
    if not name:
        raise ValueError(_LENGTH)
    if len(name) > 4 * MAX_LENGTH:  # no name of so many characters is composed to so few
        raise ValueError(_LENGTH)
    if not all(_is_allowed(name, at) for at in range(len(name))) or _is_mark(name[0]):
        raise ValueError(_CHARACTERS)
    name = unicodedata.normalize("NFC", name.lower())
    if len(name) > MAX_LENGTH:
        raise ValueError(_LENGTH)
    try:
        idna.check_bidi(name)
    except idna.IDNAError:
        raise ValueError(_DIRECTION) from None
    if _SECOND_DOT.search(name):
        raise ValueError(_DOTS)
    if any(len(_look_alikes(word)) > 1 for word in re.findall(r"[^\W\d_]+", name)):
        raise ValueError(_SCRIPTS)
    return name


def former(text: str) -> str:
    """Return the form that a username had in release 0.1: without spaces at the ends, in lower case."""
    return text.strip().lower()


def forms(text: str) -> tuple[str, ...]:
    """Return the forms under which an account may be kept whose name is typed like this.

    Release 0.1 kept what was typed, in lower case: an account may have a name that is no username today,
    and two accounts may have two forms of one name. So what was typed comes first, then today's form, then
    its decomposed one. Of an ASCII name all forms are the same.
    """
    kept = former(text)
    try:
        name = canonical(kept)
    except ValueError:
        return (kept,)
    return tuple(dict.fromkeys((kept, name, unicodedata.normalize("NFD", name))))


def attempted(text: str) -> str:
    """Return the form under which attempts to sign in are counted: one for all that mean an account."""
    kept = former(text)
    try:
        return canonical(kept)
    except ValueError:
        return kept


def _username(text: str) -> str:
    try:
        return canonical(text)
    except ValueError as error:
        raise PydanticCustomError("username", "{reason}", {"reason": str(error)}) from None


def _typed(text: str) -> str:
    if len(unicodedata.normalize("NFC", text)) > MAX_LENGTH:
        raise PydanticCustomError("username", "{reason}", {"reason": _LENGTH})
    return text


Username = Annotated[
    str,
    Field(
        min_length=1,
        max_length=4 * MAX_LENGTH,
        description=f"UsernameCaseMapped of RFC 8265, at most {MAX_LENGTH} characters.",
    ),
    AfterValidator(_username),
]
"""The name of a user, often an e-mail address, in its canonical form."""

TypedUsername = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=4 * MAX_LENGTH,
        pattern=r"^[^\s\x00-\x1f\x7f]+$",
    ),
    AfterValidator(_typed),
]
"""The name of a user as typed at sign-in: also one that release 0.1 accepted."""


def _narrow(character: str) -> str:
    """Apply the width mapping rule: full-width and half-width forms become what they are forms of."""
    kind, _, mapped = unicodedata.decomposition(character).partition(" ")
    return chr(int(mapped, 16)) if kind in _WIDTHS else character


def _is_allowed(name: str, at: int) -> bool:
    """Return whether a character is in the IdentifierClass at its place (RFC 8264 sections 4.2 and 8)."""
    character = name[at]
    if character in _NEED_CONTEXT:
        return idna.valid_contexto(name, at)
    if character in _JOINERS:
        return _is_joined(name, at)
    if character in _VALID:
        return True
    return character not in _REFUSED and _is_identifier(character)


@lru_cache(maxsize=4_096)
def _is_identifier(character: str) -> bool:
    if "\x21" <= character <= "\x7e":
        return True
    if _JAMO.match(character) or _IGNORABLE.match(character):
        return False
    # One that has a compatible form (section 9.17) is written in that form.
    return (
        unicodedata.normalize("NFKC", character) == character
        and unicodedata.category(character) in _LETTERS_AND_DIGITS
    )


def _is_joined(name: str, at: int) -> bool:
    try:
        return idna.valid_contextj(name, at)
    except ValueError:  # beside a character that is not assigned
        return False


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def _look_alikes(word: str) -> set[str]:
    """Return which of the scripts that look alike a word has letters of; their names begin with it."""
    return {unicodedata.name(letter, "").partition(" ")[0] for letter in word} & _LOOK_ALIKE
