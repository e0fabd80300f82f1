"""Asking one witness to cosign one checkpoint (c2sp.org/tlog-witness)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from shared.attestation.models import WitnessStatus
from shared.audit.checkpoints import Checkpoints
from shared.audit.signing import CheckpointKeys
from shared.audit.tree import StoredTree
from shared.base.errors import StrongroomError, Unavailable
from shared.crypto.checkpoints import Checkpoint, parse_checkpoint
from shared.crypto.merkle import ProofError, verify_consistency
from shared.crypto.notes import Note, NoteSignature
from shared.crypto.policies import PolicyWitness
from shared.crypto.witnessing import (
    PATH,
    SIZE_TYPE,
    add_checkpoint_body,
    parse_cosignature,
    parse_size,
)
from shared.ports.clock import Runtime
from shared.ports.posting import Poster, PostResponse

ATTEMPTS: Final = 2
"""The second one begins at the size that the witness says it has."""

_MEDIA_TYPE: Final = "text/plain; charset=utf-8"
_UNKNOWN: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN)
"""How a witness says that it does not know the log, or not by one of its keys."""

_log = logging.getLogger("strongroom.audit")


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking a witness.

    Attributes:
        status: How it fares now.
        cosignature: Of the checkpoint, verified; None: it did not cosign.
        is_silent: Whether there was no response at all, so that others need not ask it now.
    """

    status: WitnessStatus
    cosignature: NoteSignature | None = None
    is_silent: bool = False


class _Refused(Exception):
    """The witness did not cosign; the message says why."""


class _Silent(_Refused):
    """Nothing responded; the message says why."""


class _Difference(_Refused):
    """The log is not the one that the witness has seen grow."""


@dataclass(frozen=True, slots=True)
class WitnessClient:
    """Asks witnesses.

    Attributes:
        poster: Posts to them.
        checkpoints: Know the newest checkpoint of a log.
        keys: Of the logs, which a witness has to know.
        runtime: Time.
    """

    poster: Poster
    checkpoints: Checkpoints
    keys: CheckpointKeys
    runtime: Runtime

    async def ask(
        self, tree: StoredTree, witness: PolicyWitness, status: WitnessStatus, note: Note
    ) -> Asked:
        """Ask a witness to cosign a checkpoint. What it does or does not do is no error of ours.

        Args:
            tree: Of the checkpoint.
            witness: Who.
            status: How it fares.
            note: The checkpoint, with the log's signatures.

        Raises:
            Damaged: A tile is missing.
            Unavailable: A store does not respond.
        """
        checkpoint = parse_checkpoint(note.text)
        is_silent = False
        try:
            response = await self._cosigned(tree, witness, status, note)
            cosignature = parse_cosignature(response.body, witness.key, note.text)
            known = WitnessStatus(key=status.key, size=checkpoint.size, root=checkpoint.root.hex())
            return Asked(known, cosignature)
        except _Difference as error:
            # The operators' alert looks for this line.
            _log.error("audit.difference in the log of %s: %s", tree.tenant, error)
        except _Silent as error:
            is_silent = True
            _log.warning("audit.witness-unavailable %s: %s", witness.name, error)
        except (_Refused, ValueError) as error:
            _log.warning("audit.witness-refused %s of %s: %s", witness.name, tree.tenant, error)
        except StrongroomError:
            raise
        except Exception as error:
            # Whatever becomes of one witness must not keep the others' cosignatures from being kept.
            kind = type(error).__qualname__
            _log.error("audit.witness-failed %s of %s: %s", witness.name, tree.tenant, kind)
        return Asked(status.failed(self.runtime.now()), is_silent=is_silent)

    async def _cosigned(
        self, tree: StoredTree, witness: PolicyWitness, status: WitnessStatus, note: Note
    ) -> PostResponse:
        """The response with the cosignature."""
        checkpoint = parse_checkpoint(note.text)
        old, root = status.size, status.root
        for _ in range(ATTEMPTS):
            body = add_checkpoint_body(
                old, await self._proof(tree, checkpoint, old, root), note.encode()
            )
            try:
                response = await self.poster.post(
                    f"{witness.url.rstrip('/')}{PATH}", _MEDIA_TYPE, body
                )
            except Unavailable as error:
                raise _Silent(error.detail) from None
            if response.status == HTTPStatus.OK:
                return response
            if response.status == HTTPStatus.UNPROCESSABLE_ENTITY:
                raise _Difference(
                    f"the witness {witness.name} finds that it did not grow from {old} entries"
                )
            if response.status != HTTPStatus.CONFLICT:
                break
            if response.media_type != SIZE_TYPE:
                raise _Refused("the status 409 without a size")
            size = parse_size(response.body)
            if size == old == checkpoint.size:
                # It has this size under another root: two checkpoints of the log disagree.
                raise _Difference(f"the witness {witness.name} has another one of {old} entries")
            if size == old:
                raise _Refused("the status 409 with the size that it was sent")
            if size > checkpoint.size:
                await self._refuse_ahead(tree.tenant, witness, size)
            old, root = size, ""
        detail = f"the status {response.status}"
        if response.status in _UNKNOWN:
            _, verifiers = (await self.keys.verifiers(checkpoint.origin))[0]
            detail += f"; it has to know the key {verifiers[0]}"
        raise _Refused(detail)

    async def _proof(
        self, tree: StoredTree, checkpoint: Checkpoint, old: int, root: str
    ) -> list[bytes]:
        """The proof that the log grew from the checkpoint that a witness has.

        It is checked against what the witness is known to have: who sends two checkpoints that disagree
        gives away that the log forked, and this is found out here first.
        """
        if old > checkpoint.size:
            raise _Difference(f"it has {checkpoint.size} entries, and a witness has cosigned {old}")
        hashes = await tree.consistency(old)
        if root:
            try:
                verify_consistency(
                    old, checkpoint.size, bytes.fromhex(root), checkpoint.root, hashes
                )
            except ProofError as error:
                raise _Difference(f"not what a witness has cosigned: {error}") from None
        return hashes

    async def _refuse_ahead(self, tenant: str, witness: PolicyWitness, size: int) -> None:
        """Leave a witness alone that has more entries than the checkpoint: none may go back."""
        newest = await self.checkpoints.newest(tenant)
        if newest is not None and newest.tree.size >= size:
            raise _Refused("it has a newer checkpoint by now")  # another process has asked
        raise _Difference(f"the witness {witness.name} has cosigned {size} entries, which it lacks")
