"""A process of Azure's Python worker, spoken to over its standard input and output.

The worker of Python 3.13 and later is two packages. ``azure_functions_runtime`` indexes the app, serves its
HTTP and runs its functions; it comes from Microsoft and runs here as it is. A gRPC client hands it the
host's messages; that one is not published, and this file stands in for it: a line of JSON is a message of
``FunctionRpc.proto``, with the fields and the words of that file.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime as worker

ADDRESS = "127.0.0.1"
LONGEST_MESSAGE = 1 << 20


class Message(dict[str, Any]):
    """A message whose fields can be read as the generated classes of protobuf let them be read."""

    def __getattr__(self, field: str) -> Any:
        try:
            return self[field]
        except KeyError:
            raise AttributeError(field) from None

    def WhichOneof(self, group: str) -> str | None:  # noqa: N802
        """The field of ``TypedData`` or ``ParameterBinding`` that is set."""
        return next((field for field in self if field != "name"), None)


class StatusResult(Message):
    Failure, Success, Cancelled = range(3)


class BindingInfo(Message):
    out, inout = 1, 2  # directions; a word of Python names the third
    undefined, string, binary, stream = range(4)


PROTOS = SimpleNamespace(
    BindingInfo=BindingInfo,
    StatusResult=StatusResult,
    **dict.fromkeys(
        (
            *("FunctionLoadResponse", "FunctionMetadataResponse", "InvocationResponse"),
            *("RpcException", "RpcFunctionMetadata", "WorkerInitResponse", "WorkerMetadata"),
        ),
        Message,
    ),
)


async def serve() -> None:
    """Answer each message, many at once, until the input ends."""
    loop = asyncio.get_running_loop()
    messages = asyncio.StreamReader(limit=LONGEST_MESSAGE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(messages), sys.stdin)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the app or its server prints is no answer

    async def answer(line: bytes) -> None:
        message = json.loads(line, object_hook=Message)
        [kind] = message.keys() - {"id"}
        handle = getattr(worker, kind)
        request = SimpleNamespace(request=message, properties={"protos": PROTOS, "host": ADDRESS})
        answers.write(json.dumps({"id": message.id, "answer": await handle(request)}) + "\n")
        answers.flush()

    worker.start_threadpool_executor()
    async with asyncio.TaskGroup() as group:
        async for line in messages:
            group.create_task(answer(line))


asyncio.run(serve())
