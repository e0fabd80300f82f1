"""What is read or written of files in one call."""

from __future__ import annotations

import errno
import os
from typing import Final

from shared.base.errors import Damaged

PIECE: Final = 1_048_576
"""Bytes that are written in one call of the operating system: a segment of sealed content."""

READ_PIECE: Final = 2 * PIECE
"""Bytes of a large file that are read in one call: to change threads for each segment takes longer than to
read it."""

SMALL: Final = 65_536
"""Bytes that are read on the event loop: that takes less than two changes of thread."""


def read_at(descriptor: int, start: int, size: int) -> bytes:
    """As many bytes as a file has from an offset on, and no more than ``size``.

    Raises:
        Damaged: The disk cannot read its own sectors any more. Trying again would not help, but
            another copy does.
    """
    try:
        return os.pread(descriptor, size, start)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise Damaged("The disk cannot read a part of the object; read another copy.") from error
