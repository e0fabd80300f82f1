"""The app starts only where its setting and every resource in sight name the same environment."""

from __future__ import annotations

import pytest

from shared.base.environment import WrongEnvironment, check_environment


def test_agreement_passes() -> None:
    check_environment(
        "production", {"container primary": "production", "container replica": "production"}
    )


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        ({"container primary": "development"}, "container primary says 'development'"),
        ({"container primary": None}, "container primary says nothing"),
        ({"container primary": ""}, "container primary says ''"),
        ({"container primary": "Production"}, "container primary says 'Production'"),
    ],
)
def test_disagreement_names_the_resource_and_both_values(
    seen: dict[str, str | None], says: str
) -> None:
    with pytest.raises(WrongEnvironment) as refused:
        check_environment("production", seen | {"container replica": "production"})
    assert "STRONGROOM_ENVIRONMENT is 'production'" in str(refused.value)
    assert says in str(refused.value)
    assert "replica" not in str(refused.value)


def test_every_disagreement_is_named() -> None:
    with pytest.raises(WrongEnvironment, match=r"backup says 'staging'; primary says nothing"):
        check_environment("production", {"primary": None, "backup": "staging"})


def test_nothing_seen_is_refused() -> None:
    with pytest.raises(WrongEnvironment, match="No resource was asked"):
        check_environment("production", {})
