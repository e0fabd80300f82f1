"""The one error of the host itself."""

from __future__ import annotations


class StartError(Exception):
    """The host cannot start. The text is one line: what is wrong and what to do about it."""
