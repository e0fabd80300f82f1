"""The app refuses to start where its environment setting and what it can see disagree.

The deployment writes the environment twice: into the setting ``STRONGROOM_ENVIRONMENT``, and onto
the resources, where it can be read without any right to manage them: every blob container carries it
as the metadata item ``environment``. An app that was pointed at the stores of another environment
sees the other name there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ENVIRONMENT_TAG: Final = "environment"
"""The name of the metadata item."""


class WrongEnvironment(RuntimeError):
    """The app is not where its settings say. It must not serve anything."""


def check_environment(expected: str, seen: Mapping[str, str | None]) -> None:
    """Make sure that every resource in sight belongs to the expected environment.

    Args:
        expected: The environment setting.
        seen: For each resource, by a name that an operator recognises, the value of its
            ``ENVIRONMENT_TAG``; None where it has none.

    Raises:
        WrongEnvironment: A resource belongs elsewhere, or does not say, or none was looked at.
    """
    if not seen:
        raise WrongEnvironment(
            "No resource was asked which environment it belongs to, and the setting says "
            f"{expected!r}. Give the app at least one store."
        )
    wrong = [
        f"{resource} says {'nothing' if found is None else repr(found)}"
        for resource, found in sorted(seen.items())
        if found != expected
    ]
    if wrong:
        raise WrongEnvironment(
            f"STRONGROOM_ENVIRONMENT is {expected!r}, but {'; '.join(wrong)}. "
            "Correct the setting or the URLs of the stores; do not change the resources."
        )
