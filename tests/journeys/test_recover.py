"""``strongroom recover`` in a process of its own: from folders and object stores, and interrupted."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import obstore.store
import pytest
from obstore.store import AzureStore, S3Store
from pyrage import x25519

from shared.crypto.streaming import SEGMENT_SIZE
from tests.support.bucket import NAME, Bucket
from tests.support.cli import COMMAND, command_environment, on_terminal, strongroom
from tests.support.contract.azure import machine
from tests.support.contract.targets import new_bucket, new_container, s3_server
from tests.support.emulators.front import ACCOUNT, ACCOUNT_KEY
from tests.support.emulators.objectstores import GoogleFront
from tests.support.target_writer import TargetWriter, folder_writer, write_identity

BYTES = random.Random("papers").randbytes(9 * SEGMENT_SIZE)
PREFIX = "of-acme/strongroom"
TOKEN = "ya29.token"


@dataclass
class Place:
    """Where a target lies: how to write to it, and how the command finds it."""

    source: str
    put: Callable[[str, bytes], object]
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=command_environment)


def putting(store: obstore.store.ObjectStore) -> Callable[[str, bytes], object]:
    return lambda name, data: obstore.put(store, name, data)


def in_s3(_stack: ExitStack) -> Place:
    bucket = new_bucket()
    store = S3Store(
        bucket,
        prefix=PREFIX,
        endpoint=s3_server().url,
        access_key_id="any",
        secret_access_key="any",
        client_options={"root_certificate": machine().certificate.certificate.read_bytes()},
    )
    return Place(
        f"s3://{bucket}/{PREFIX}",
        putting(store),
        ("--endpoint", s3_server().url),
        command_environment(
            AWS_ACCESS_KEY_ID="any", AWS_SECRET_ACCESS_KEY="any", AWS_REGION="us-east-1"
        ),
    )


def in_azure(_stack: ExitStack) -> Place:
    address = new_container()
    store = AzureStore(
        address.bucket,
        prefix=PREFIX,
        endpoint=address.endpoint,
        account_name=ACCOUNT,
        account_key=ACCOUNT_KEY,
        client_options={"root_certificate": machine().certificate.certificate.read_bytes()},
    )
    return Place(
        f"az://{ACCOUNT}/{address.bucket}/{PREFIX}",
        putting(store),
        ("--endpoint", address.endpoint),
        command_environment(AZURE_STORAGE_ACCOUNT_KEY=ACCOUNT_KEY),
    )


class TokenFront(GoogleFront):
    """Takes one token alone, as ``gcloud auth print-access-token`` would give it."""

    def _is_valid(self, token: str) -> bool:
        return token == TOKEN


def in_google(stack: ExitStack) -> Place:
    front = TokenFront(s3_server().port, machine().certificate).start()
    stack.callback(front.stop)
    behind = in_s3(stack)
    return Place(
        behind.source.replace("s3://", "gs://"),
        behind.put,
        ("--endpoint", front.url),
        command_environment(GOOGLE_BEARER_TOKEN=TOKEN),
    )


@pytest.mark.parametrize("place", [in_s3, in_azure, in_google], ids=lambda place: place.__name__)
def test_a_target_in_an_object_store_is_recovered(place, tmp_path: Path) -> None:
    identity = x25519.Identity.generate()
    key = write_identity(tmp_path / "key.txt", identity)
    with ExitStack() as stack:
        found = place(stack)
        writer = TargetWriter(found.put, [identity])
        writer.add("large.bin", BYTES)
        writer.add("small.txt", b"small")
        missing = writer.add("damaged.txt", b"damaged", sealed_sha256="0" * 64)
        arguments = ("recover", "--identity", key, found.source, *found.arguments)
        listed = strongroom(*arguments, "--list", environment=found.environment)
        assert (listed.code, len(listed.lines)) == (0, 3), listed.err
        planned = strongroom(*arguments, "--plan", environment=found.environment)
        assert planned.code == 0, planned.err
        ran = strongroom(*arguments, tmp_path / "dest", environment=found.environment)
        nothing = strongroom(
            *("recover", "--identity", key, found.source + "/nothing", *found.arguments, "--list"),
            environment=found.environment,
        )
    assert ran.code == 1, ran.err
    assert missing.document in ran.lines[-1]
    assert (tmp_path / "dest/large.bin").read_bytes() == BYTES
    assert (tmp_path / "dest/small.txt").read_bytes() == b"small"
    assert not (tmp_path / "dest/damaged.txt").exists()
    assert nothing.code == 1
    assert "is it a target, and the prefix right?" in nothing.err


class TestInTheWay:
    """Against a bucket that tests direct."""

    @pytest.fixture(autouse=True)
    def _bucket(self, tmp_path: Path) -> Iterator[None]:
        identity = x25519.Identity.generate()
        self.bucket = Bucket().start()
        writer = TargetWriter(self.bucket.put, [identity])
        self.large = writer.add("large.bin", BYTES)
        self.small = writer.add("small.txt", b"small")
        self.dest = tmp_path / "dest"
        self.environment = command_environment(AWS_SKIP_SIGNATURE="true", AWS_REGION="us-east-1")
        self.arguments = (
            *("recover", "--identity", write_identity(tmp_path / "key.txt", identity)),
            *(f"s3://{NAME}", self.dest, "--endpoint", self.bucket.url),
        )
        yield
        self.bucket.release()
        self.bucket.stop()

    def start(self) -> subprocess.Popen[str]:
        """Start, and wait until the large content has come in part."""
        self.bucket.hold(self.large.object, 8 * SEGMENT_SIZE)
        process = subprocess.Popen(
            [*COMMAND, *map(str, self.arguments)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.bucket.held.wait(30)
        return process

    def files(self) -> set[str]:
        return {path.name for path in self.dest.iterdir()} - {".strongroom"}

    def finish(self) -> None:
        """The same command goes on."""
        self.bucket.release()
        ran = strongroom(*self.arguments, environment=self.environment)
        assert ran.code == 0, ran.err
        assert (self.dest / "large.bin").read_bytes() == BYTES
        assert (self.dest / "small.txt").read_bytes() == b"small"
        assert list((self.dest / ".strongroom/partial").iterdir()) == []

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_an_interrupted_run_is_gone_on_with(self, number: int) -> None:
        with self.start() as process:
            process.send_signal(number)
            _, errors = process.communicate(timeout=20)
        assert process.returncode == 130
        assert errors.startswith("strongroom: interrupted;")
        assert errors.count("\n") == 1
        assert self.files() <= {"small.txt"}
        [partial] = (self.dest / ".strongroom/partial").glob(f"{self.large.document}-*")
        assert partial.stat().st_size >= SEGMENT_SIZE
        self.bucket.reads.clear()
        self.finish()
        # Its header alone, and then what was not there.
        starts = sorted(start for name, start in self.bucket.reads if name == self.large.object)
        assert starts[0] == 0
        assert starts[1] >= SEGMENT_SIZE

    def test_a_source_that_goes_away_ends_the_run_which_is_gone_on_with(self) -> None:
        with self.start() as process:
            self.bucket.status = 500
            self.bucket.release()
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "SOURCE cannot be read any more: the service responds with 500" in errors
        assert self.files() <= {"small.txt"}
        self.bucket.status = None
        self.finish()

    def test_one_content_that_cannot_be_read_is_passed_over(self) -> None:
        self.bucket.failing.add(self.large.object)
        ran = strongroom(*self.arguments, "--json", environment=self.environment)
        assert ran.code == 1
        [problem] = ran.events_of("problem")
        assert problem["kind"] == "unreachable"
        assert self.files() == {"small.txt"}

    def test_what_the_service_said_is_not_shown(self) -> None:
        self.bucket.status = 500
        ran = strongroom(*self.arguments, environment=self.environment)
        assert ran.code == 1
        assert ran.err == (
            "strongroom: SOURCE cannot be read: the service responds with 500 InternalError.\n"
        )

    def test_a_bucket_that_is_missing_is_said(self) -> None:
        arguments = [str(each).replace(f"s3://{NAME}", "s3://other") for each in self.arguments]
        ran = strongroom(*arguments, environment=self.environment)
        assert (ran.code, ran.out) == (1, "")
        assert "there is no such bucket" in ran.err


def test_a_service_that_is_not_there_is_said(tmp_path: Path) -> None:
    key = write_identity(tmp_path / "key.txt", x25519.Identity.generate())
    arguments = ("recover", "--identity", key, "s3://papers", "--list")
    with_credentials = command_environment(AWS_ACCESS_KEY_ID="any", AWS_SECRET_ACCESS_KEY="any")
    ran = strongroom(*arguments, "--endpoint", "http://127.0.0.1:9", environment=with_credentials)
    assert ran.code == 1
    assert ran.err == "strongroom: SOURCE cannot be read: the service refuses the connection.\n"


def test_a_terminal_shows_progress_and_no_tricks_of_names(tmp_path: Path) -> None:
    identity = x25519.Identity.generate()
    writer = TargetWriter(folder_writer(tmp_path / "target"), [identity])
    writer.add("large\x1b]0;owned\x07[red].bin", BYTES)
    key = write_identity(tmp_path / "key.txt", identity)
    ran = on_terminal(
        *("recover", "--identity", key, tmp_path / "target", tmp_path / "dest"),
        environment=command_environment(),
    )
    assert ran.code == 0
    assert "Recovering" in ran.out
    assert "9.4/9.4 MB" in ran.out
    assert "large_]0;owned_[red].bin (9.4 MB)" in ran.out
    assert "\x1b]0;" not in ran.out


def test_nobody_who_reads_the_output_is_no_error_in_the_files(tmp_path: Path) -> None:
    identity = x25519.Identity.generate()
    writer = TargetWriter(folder_writer(tmp_path / "target"), [identity])
    for number in range(20):
        writer.add(f"{number}.txt", b"x", document=f"doc_{number}")
    key = write_identity(tmp_path / "key.txt", identity)
    reading, writing = os.pipe()
    os.close(reading)
    arguments = ("recover", "--identity", key, tmp_path / "target", tmp_path / "dest")
    with os.fdopen(writing, "w") as output:
        ended = subprocess.run(
            [*COMMAND, *map(str, arguments)],
            env=command_environment(),
            stdout=output,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 1
    assert b"Traceback" not in ended.stderr
    assert strongroom(*arguments).code == 0
    assert len(list((tmp_path / "dest").glob("*.txt"))) == 20
