"""A bare ASGI app that keeps a body and does nothing else, on the server that Strongroom uses.

    python -m bench.peers.bare_store PORT FOLDER

``POST /file`` writes the body to a new file and fsyncs it. ``POST /row`` inserts it as one row into
SQLite (WAL, ``synchronous=FULL``), whose commit fsyncs. Both answer 201 only then. ``GET /file/NUMBER``
reads the file that was written as that number, the first being 0, and sends it.
"""

import itertools
import os
import sqlite3
import sys
from pathlib import Path

import uvicorn

READ_BYTES = 1_048_576


class BareStore:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._database = sqlite3.connect(folder / "rows.db", isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.execute("CREATE TABLE documents (id INTEGER PRIMARY KEY, body BLOB)")

    async def __call__(self, scope, receive, send) -> None:
        match scope["method"], scope["path"].split("/")[1:]:
            case "POST", ["file"]:
                await self._write_file(receive)
                status = 201
            case "POST", ["row"]:
                body = b"".join([chunk async for chunk in chunks(receive)])
                self._database.execute("INSERT INTO documents (body) VALUES (?)", (body,))
                status = 201
            case "GET", ["file", number]:
                await self._send_file(int(number), send)
                return
            case _:
                status = 204
        headers = [(b"content-length", b"0")] if status == 201 else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body"})

    async def _write_file(self, receive) -> None:
        with (self._folder / f"{next(self._numbers)}.file").open("xb", buffering=0) as file:
            async for chunk in chunks(receive):
                file.write(chunk)
            os.fsync(file.fileno())

    async def _send_file(self, number: int, send) -> None:
        with (self._folder / f"{number}.file").open("rb", buffering=0) as file:
            left = os.fstat(file.fileno()).st_size
            headers = [(b"content-length", str(left).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while left:
                chunk = file.read(READ_BYTES)
                left -= len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": left > 0})


async def chunks(receive):
    more = True
    while more:
        message = await receive()
        yield message.get("body", b"")
        more = message.get("more_body", False)


if __name__ == "__main__":
    uvicorn.run(
        BareStore(Path(sys.argv[2])),
        port=int(sys.argv[1]),
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=512,
        limit_concurrency=1_000,
        timeout_keep_alive=30,
    )
