"""Key pages: what a backup must be able to forget, in a store that forgets.

A page belongs to one pack and holds the wrapped data keys and the sealed names of the versions there. It
is never changed in place: forgetting writes the next revision without what is to be forgotten, then
removes the former one. So a reader always finds one that is whole, and of two that forget at the same
time one fails and tries again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from shared.backup.models import Erasable, KeyPage
from shared.base.errors import Conflict, Damaged, NotFound
from shared.base.streams import single
from shared.journal.contention import retry_conflicts
from shared.ports.blobs import BlobStore
from shared.ports.clock import Runtime

_FIRST: Final = "000001"


@dataclass(slots=True)
class KeyPages:
    """Writes, reads and changes key pages.

    Attributes:
        store: A store that keeps nothing of what is removed.
        runtime: Waits between attempts.
    """

    store: BlobStore
    runtime: Runtime

    async def write(self, tenant: str, page: str, versions: Mapping[str, Erasable]) -> None:
        """Make a new page.

        Args:
            tenant: Whose.
            page: Its name: ``{attempt}/{id}``.
            versions: By ``version_id``.

        Raises:
            Conflict: The page exists.
        """
        await self._put(tenant, page, _FIRST, KeyPage(versions=dict(versions)))

    async def read(self, tenant: str, page: str) -> Mapping[str, Erasable]:
        """What a page holds; nothing where there is no such page.

        Raises:
            Damaged: It is not what was written.
            Unavailable: The store does not respond, or the page was changed all the time.
        """

        async def attempt() -> Mapping[str, Erasable]:
            found = await self._newest(tenant, page)
            return {} if found is None else (await self._get(found)).versions

        return await retry_conflicts(attempt, self.runtime)

    async def forget(self, tenant: str, page: str, versions: Collection[str]) -> None:
        """Remove versions from a page for good; those that it does not hold are forgotten already.

        Raises:
            Unavailable: The store does not respond, or the page was changed all the time.
        """
        await retry_conflicts(lambda: self._forget(tenant, page, versions), self.runtime)

    async def replace(self, tenant: str, page: str, versions: Mapping[str, Erasable]) -> None:
        """Let a page hold these versions and nothing else, whatever there is of it now.

        Raises:
            Unavailable: The store does not respond, or the page was changed all the time.
        """
        await retry_conflicts(lambda: self._replace(tenant, page, versions), self.runtime)

    async def pages_of(self, tenant: str, attempt: str = "") -> list[str]:
        """The names of the pages that an attempt wrote, or of all of a tenant."""
        prefix = f"{tenant}/{attempt}/" if attempt else f"{tenant}/"
        names = [blob.name async for blob in self.store.list(prefix)]
        return list(dict.fromkeys(_page_of(name) for name in names))

    async def _forget(self, tenant: str, page: str, versions: Collection[str]) -> None:
        found = await self._newest(tenant, page)
        if found is None:
            return
        kept = (await self._get(found)).versions
        left = {name: each for name, each in kept.items() if name not in versions}
        if len(left) < len(kept) and left:
            revision = int(found.rpartition(".")[2]) + 1
            await self._put(tenant, page, f"{revision:06d}", KeyPage(versions=left))
        # Also what an attempt before left behind when it ended in between.
        keep = len(left) == len(kept)
        for name in await self._revisions(tenant, page):
            if name < found or (name == found and not keep):
                await self.store.delete(name)

    async def _replace(self, tenant: str, page: str, versions: Mapping[str, Erasable]) -> None:
        former = await self._revisions(tenant, page)
        if versions:
            revision = int(former[-1].rpartition(".")[2]) + 1 if former else 1
            await self._put(tenant, page, f"{revision:06d}", KeyPage(versions=dict(versions)))
        for name in former:
            await self.store.delete(name)

    async def _newest(self, tenant: str, page: str) -> str | None:
        names = await self._revisions(tenant, page)
        return names[-1] if names else None

    async def _revisions(self, tenant: str, page: str) -> list[str]:
        return [blob.name async for blob in self.store.list(f"{tenant}/{page}.")]

    async def _get(self, name: str) -> KeyPage:
        try:
            content = b"".join([piece async for piece in self.store.get(name)])
            return KeyPage.model_validate_json(content)
        except NotFound:
            raise Conflict("The key page was changed at the same time.") from None
        except ValidationError:
            raise Damaged("A key page of a backup is not what was written.") from None

    async def _put(self, tenant: str, page: str, revision: str, value: KeyPage) -> None:
        name = f"{tenant}/{page}.{revision}"
        await self.store.put(name, single(value.model_dump_json().encode()))


def _page_of(name: str) -> str:
    return name.partition("/")[2].rpartition(".")[0]
