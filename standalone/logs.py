"""Structured logs: one JSON object a line, without the text of unexpected errors.

An exception's text may quote what it choked on. So errors appear as their type and the places they
came through; only the ``detail`` of a ``StrongroomError`` is made to be read in a log.
"""

from __future__ import annotations

import json
import logging
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from functions.api.trace_context import trace_id
from shared.base.errors import StrongroomError
from shared.base.telemetry import current_traceparent

_STANDARD_ATTRIBUTES: Final = {
    *logging.makeLogRecord({}).__dict__,
    *("message", "asctime", "color_message"),
}

_JSON: Final = json.JSONEncoder(default=str, separators=(",", ":"))


def describe_error(error: BaseException) -> dict[str, Any]:
    """The fields that say what went wrong and where, and quote nothing."""
    fields: dict[str, Any] = {"error": type(error).__name__}
    if isinstance(error, StrongroomError):
        fields["detail"] = error.detail
    frames = traceback.extract_tb(error.__traceback__)
    fields["at"] = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames]
    return fields


class JsonFormatter(logging.Formatter):
    """A record as JSON: time, level, logger, event, whatever ``extra`` added, and its trace, if any."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage().strip(),
        }
        line |= {
            name: value
            for name, value in record.__dict__.items()
            if name not in _STANDARD_ATTRIBUTES
        }
        # Of a line that has no trace by itself: that of the work that is under way.
        if "trace" not in line and (traceparent := current_traceparent()):
            line["trace"] = trace_id(traceparent)
        if record.exc_info and record.exc_info[1] is not None:
            line |= describe_error(record.exc_info[1])
        return _JSON.encode(line)


def configure_logging() -> None:
    """Send every log record to standard error as JSON."""
    # No line says them, nor where it was logged, and to find that out costs as much as to write the line
    # (logging-cookbook, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # What uvicorn reports at this level is its start and stop, which the host reports itself.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
