"""``.tlog-proof`` files: that one entry is in a log."""

from __future__ import annotations

from client.audit.evidence import Proved
from client.audit.problems import NotProved
from client.audit.strict_json import parse_object
from client.audit.trust import CHECKPOINT, Growth, Trust
from shared.crypto.canonical import canonical_json
from shared.crypto.checkpoints import Checkpoint
from shared.crypto.log_proofs import parse_log_proof


class InclusionProof:
    """A proof and the entry that it is about.

    Args:
        data: Of the ``.tlog-proof`` file.
        entry: The entry's JSON, in any form; None: the proof's extra data is the entry.

    Attributes:
        note: The checkpoint.

    Raises:
        NotProved: The file is malformed.
    """

    def __init__(self, data: bytes, entry: bytes | None) -> None:
        try:
            self._proof = parse_log_proof(data)
        except ValueError as error:
            raise NotProved(str(error)) from None
        if entry is None and self._proof.extra is None:
            raise NotProved("the entry is not in the proof: give its file with --entry")
        self._is_given = entry is not None
        self._entry = self._proof.extra or b"" if entry is None else entry
        self.note = self._proof.checkpoint

    def verify(self, trust: Trust, kept: Checkpoint | None = None) -> Proved:
        """Verify the checkpoint's signatures and the proof.

        Args:
            trust: Who must have signed.
            kept: An earlier checkpoint of the log. One proof alone can be compared with it only where both
                are of one size.

        Raises:
            NotProved: Something is wrong or missing.
        """
        signed = trust.verify(self.note)
        index = self._proof.index
        try:
            leaf = canonical_json(parse_object(self._entry))
        except ValueError as error:
            raise NotProved(f"the entry is malformed: {error}", position=index) from None
        try:
            self._proof.verify_inclusion(leaf)
        except ValueError as error:
            raise NotProved(str(error), position=index) from None
        growth = Growth(kept, signed.checkpoint)
        if growth.wanted is not None:
            raise NotProved(
                f"a proof of one entry does not show that the log grew from the {growth.wanted} entries "
                "that you kept: verify the log's URL",
                CHECKPOINT,
            )
        # Who gave no entry has to be told which one was proved.
        remark = "" if self._is_given else f"the entry is {leaf.decode()}"
        return Proved(signed, index, index + 1, growth, remark)
