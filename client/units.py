"""Sizes and durations, as people read them."""

from __future__ import annotations

from typing import Final

_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB", "PB")
_STEP: Final = 1000


def size_text(size: float) -> str:
    """A number of bytes, such as ``3.4 GB``."""
    value, unit = float(size), _UNITS[0]
    for unit in _UNITS:
        if value < _STEP or unit == _UNITS[-1]:
            break
        value /= _STEP
    return f"{value:.0f} {unit}" if unit == _UNITS[0] else f"{value:.1f} {unit}"


def duration_text(seconds: float) -> str:
    """A duration to plan with, such as ``12 minutes``."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    if minutes < 60:
        return counted(minutes, "minute")
    hours, rest = divmod(minutes, 60)
    return counted(hours, "hour") + (f" {counted(rest, 'minute')}" if rest else "")


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun, such as ``1 document`` and ``2 documents``.

    Args:
        number: How many.
        noun: In the singular.
        plural: The plural, where it is not the noun and an s.
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
