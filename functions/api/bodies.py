"""What JSON bodies and pages have in common."""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict

View = TypeVar("View", bound=BaseModel)

Limit = Annotated[int, Query(ge=1, le=200, description="Items at most.")]
Cursor = Annotated[str | None, Query(max_length=2048, description="From the page before.")]


class Body(BaseModel):
    """A JSON body; fields that we do not know are refused."""

    model_config = ConfigDict(extra="forbid")


class PageView(BaseModel, Generic[View]):
    """A page. ``cursor`` continues after it; null on the last."""

    items: list[View]
    cursor: str | None


def id_path(prefix: str) -> object:
    """The declaration of a path parameter that is an id."""
    return Path(pattern=rf"^{prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$", description=f"`{prefix}_...`")
