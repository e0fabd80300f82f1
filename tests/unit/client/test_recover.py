"""``strongroom recover`` on a target that stock age and stock Tink wrote."""

from __future__ import annotations

import fcntl
import json
import random
import stat
from pathlib import Path

import pytest
from pyrage import x25519

from shared.crypto.streaming import (
    FIRST_SEGMENT_PLAINTEXT,
    SEGMENT_PLAINTEXT,
    SEGMENT_SIZE,
)
from tests.support.cli import invoke
from tests.support.target_writer import TargetWriter, folder_writer, write_identity

from .conftest import Customer

BYTES = random.Random("documents").randbytes(6 * SEGMENT_SIZE)


@pytest.mark.parametrize(
    "size",
    [
        0,
        1,
        FIRST_SEGMENT_PLAINTEXT,
        FIRST_SEGMENT_PLAINTEXT + 1,
        FIRST_SEGMENT_PLAINTEXT + SEGMENT_PLAINTEXT,
        5 * SEGMENT_SIZE + 12_345,
    ],
)
def test_content_of_any_size_is_recovered(customer: Customer, size: int) -> None:
    customer.writer.add("contract.pdf", BYTES[:size])
    ran = customer.recover()
    assert (ran.code, ran.err) == (0, "")
    assert customer.files() == {"contract.pdf": BYTES[:size]}
    assert customer.partials() == []


def test_what_was_recovered_is_for_its_owner_alone(customer: Customer) -> None:
    customer.writer.add("contract.pdf", b"secret")
    assert customer.recover().code == 0
    modes = {
        path.relative_to(customer.dest.parent).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in [customer.dest, *customer.dest.rglob("*")]
    }
    assert modes == {
        "recovered": 0o700,
        "recovered/contract.pdf": 0o600,
        "recovered/.strongroom": 0o700,
        "recovered/.strongroom/lock": 0o600,
        "recovered/.strongroom/partial": 0o700,
        "recovered/.strongroom/recovered.jsonl": 0o600,
    }


def test_the_record_says_what_the_service_knew(customer: Customer) -> None:
    customer.writer.add("Überschuß.pdf", b"x", document="doc_1", tag="aaaa")
    assert customer.recover().code == 0
    [line] = (customer.dest / ".strongroom/recovered.jsonl").read_text().splitlines()
    said = json.loads(line)
    assert said["name"] == said["path"] == "Überschuß.pdf"
    assert (said["document"], said["version"], said["tag"]) == ("doc_1", 1, "aaaa")
    assert said["media_type"] == "application/octet-stream"
    assert said["metadata"] == {"case": "12/2026"}


class TestSelection:
    @pytest.fixture(autouse=True)
    def documents(self, customer: Customer) -> None:
        customer.writer.add("a.txt", b"a1", document="doc_a", version=1)
        customer.writer.add("a.txt", b"a2", document="doc_a", version=2)
        customer.writer.add("a.txt", b"a10", document="doc_a", version=10)
        customer.writer.add("b.pdf", b"b1", document="doc_b")

    def test_by_default_the_newest_version_of_each_document(self, customer: Customer) -> None:
        assert customer.recover().code == 0
        assert customer.files() == {"a.txt": b"a10", "b.pdf": b"b1"}

    def test_all_versions(self, customer: Customer) -> None:
        assert customer.recover("--all-versions").code == 0
        assert customer.files() == {
            "a (version 1).txt": b"a1",
            "a (version 2).txt": b"a2",
            "a.txt": b"a10",
            "b.pdf": b"b1",
        }

    def test_one_document(self, customer: Customer) -> None:
        assert customer.recover("--document", "doc_b").code == 0
        assert customer.files() == {"b.pdf": b"b1"}

    def test_a_pattern(self, customer: Customer) -> None:
        assert customer.recover("--name", "*.pdf").code == 0
        assert customer.files() == {"b.pdf": b"b1"}

    def test_a_part_now_and_the_rest_later(self, customer: Customer) -> None:
        customer.writer.add("b.pdf", b"another", document="doc_0")
        assert customer.recover("--document", "doc_b").code == 0
        assert customer.recover("--all-versions").code == 0
        assert customer.files()["b.pdf"] == b"b1"
        assert customer.files()["b (2).pdf"] == b"another"
        assert len(customer.files()) == 5

    @pytest.mark.parametrize("option", [("--name", "*.doc"), ("--document", "doc_c")])
    def test_nothing_that_matches_is_an_error(
        self, customer: Customer, option: tuple[str, str]
    ) -> None:
        ran = customer.recover(*option)
        assert ran.code == 1
        assert option[1] in ran.err

    def test_of_versions_with_one_number_the_later_one_is_the_newest(
        self, customer: Customer
    ) -> None:
        """As after a restore to an earlier moment, in which the number was given again."""
        later = "2026-11-27T10:00:00Z"
        customer.writer.add(
            "b.pdf", b"new", document="doc_b", version=2, tag="0000", created_at=later
        )
        customer.writer.add("b.pdf", b"old", document="doc_b", version=2, tag="ffff")
        assert customer.recover("--document", "doc_b").code == 0
        assert customer.files() == {"b.pdf": b"new"}
        assert customer.recover("--document", "doc_b", "--all-versions").code == 0
        assert customer.files() == {
            "b.pdf": b"new",
            "b (version 1).pdf": b"b1",
            "b (version 2).pdf": b"old",
        }


class TestDamage:
    """One document is damaged; the others are recovered, and the damage is listed."""

    @pytest.fixture(autouse=True)
    def documents(self, customer: Customer) -> None:
        self.bad = customer.writer.add("bad.bin", BYTES[: 3 * SEGMENT_SIZE])
        self.good = customer.writer.add("good.bin", BYTES[: 2 * SEGMENT_SIZE])

    def check(self, customer: Customer, kind: str, detail: str) -> None:
        ran = customer.recover("--json")
        assert ran.code == 1
        assert ran.err == "strongroom: 1 problem; see the list above.\n"
        assert customer.files() == {"good.bin": self.good.content}
        assert customer.partials() == []
        [problem] = ran.events_of("problem")
        assert (problem["kind"], problem["document"]) == (kind, self.bad.document)
        assert detail in problem["detail"]
        [summary] = ran.events_of("summary")
        assert (summary["files"], summary["problems"]) == (1, 1)
        plain = customer.recover()
        assert plain.code == 1
        assert plain.lines[-1].startswith("not recovered: ")
        assert detail in plain.lines[-1]

    def change(self, path: Path, offset: int) -> None:
        data = bytearray(path.read_bytes())
        data[offset] ^= 1
        path.write_bytes(data)

    def test_missing_content(self, customer: Customer) -> None:
        customer.path(self.bad).unlink()
        self.check(customer, "missing", "the content is missing")

    @pytest.mark.parametrize("offset", [0, 20, 39, 40, SEGMENT_SIZE, -1])
    def test_a_changed_byte(self, customer: Customer, offset: int) -> None:
        self.change(customer.path(self.bad), offset)
        self.check(customer, "damaged", "")

    @pytest.mark.parametrize("size", [0, 1, 40, SEGMENT_SIZE, 3 * SEGMENT_SIZE])
    def test_content_that_was_cut_off(self, customer: Customer, size: int) -> None:
        data = customer.path(self.bad).read_bytes()
        customer.path(self.bad).write_bytes(data[:size])
        self.check(customer, "damaged", "does not have its size")

    def test_content_that_goes_on(self, customer: Customer) -> None:
        customer.path(self.bad).write_bytes(customer.path(self.bad).read_bytes() + b"x")
        self.check(customer, "damaged", "does not have its size")

    def test_content_of_another_document(self, customer: Customer) -> None:
        other = customer.writer.add("other.bin", BYTES[1 : 3 * SEGMENT_SIZE + 1])
        data = customer.path(other).read_bytes()
        customer.path(other).unlink()
        customer.key_path(other).unlink()
        customer.path(self.bad).write_bytes(data)
        self.check(customer, "damaged", "")

    def test_a_changed_key_file(self, customer: Customer) -> None:
        self.change(customer.key_path(self.bad), -1)
        self.check(customer, "damaged", "it was changed")

    def test_a_key_file_for_somebody_else(self, customer: Customer) -> None:
        other = TargetWriter(lambda *_: None, [x25519.Identity.generate()])
        sealed = other.encrypt(json.dumps(self.bad.key_file).encode())
        customer.key_path(self.bad).write_bytes(sealed)
        self.check(customer, "unreadable", "no identity opens it")

    @pytest.mark.parametrize(
        "change",
        [
            {"version": 2},
            {"document": "doc_other"},
            {"tag": "bbbb"},
            {"data_key": "AAAA"},
            {"size": 1},
            {"object": "content/../../etc/passwd"},
            {"object": "keys/doc/1.aaaa"},
            {"sha256": "A" * 64},
            {"associated_data": "ü"},
            {"name": 7},
        ],
        ids=str,
    )
    def test_a_key_file_that_says_something_else(
        self, customer: Customer, change: dict[str, object]
    ) -> None:
        sealed = customer.writer.encrypt(json.dumps(self.bad.key_file | change).encode())
        customer.key_path(self.bad).write_bytes(sealed)
        self.check(customer, "damaged", "it is ")

    @pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
    def test_a_key_file_that_is_something_else(self, customer: Customer, text: bytes) -> None:
        customer.key_path(self.bad).write_bytes(customer.writer.encrypt(text))
        self.check(customer, "damaged", "it is not as the format has it")

    @pytest.mark.parametrize("member", ["sha256", "sealed_sha256"])
    def test_a_key_file_with_another_digest(self, customer: Customer, member: str) -> None:
        changed = self.bad.key_file | {member: "0" * 64}
        customer.key_path(self.bad).write_bytes(
            customer.writer.encrypt(json.dumps(changed).encode())
        )
        self.check(customer, "damaged", "does not have its SHA-256")

    def test_a_key_file_bound_to_something_else(self, customer: Customer) -> None:
        changed = self.bad.key_file | {"associated_data": "strongroom/content/1/test/ten_1/doc/1"}
        customer.key_path(self.bad).write_bytes(
            customer.writer.encrypt(json.dumps(changed).encode())
        )
        self.check(customer, "damaged", "")

    def test_errors_show_no_key(self, customer: Customer) -> None:
        changed = self.bad.key_file | {"size": "many"}
        customer.key_path(self.bad).write_bytes(
            customer.writer.encrypt(json.dumps(changed).encode())
        )
        ran = customer.recover("--json")
        assert self.bad.key_file["data_key"] not in ran.out + ran.err
        assert self.good.key_file["data_key"] not in ran.out + ran.err


def test_a_file_that_is_no_key_file_is_a_problem(customer: Customer) -> None:
    customer.writer.add("a.txt", b"a")
    (customer.source / "keys/doc_1").mkdir()
    (customer.source / "keys/doc_1/1.aaaa.age.tmp").write_bytes(b"")
    ran = customer.recover("--json")
    assert ran.code == 1
    assert [problem["detail"] for problem in ran.events_of("problem")] == ["it is not a key file"]
    assert customer.files() == {"a.txt": b"a"}


class TestTargetFile:
    @pytest.fixture(autouse=True)
    def documents(self, customer: Customer) -> None:
        customer.writer.add("a.txt", b"a")

    @pytest.mark.parametrize("text", [None, b"", b"{}", b"[1]"])
    def test_a_target_without_a_good_one_is_recovered_all_the_same(
        self, customer: Customer, text: bytes | None
    ) -> None:
        path = customer.source / "strongroom.json"
        path.unlink() if text is None else path.write_bytes(text)
        ran = customer.recover("--json")
        assert ran.code == 1
        assert [problem["object"] for problem in ran.events_of("problem")] == ["strongroom.json"]
        assert customer.files() == {"a.txt": b"a"}

    def test_a_later_format_is_said(self, customer: Customer) -> None:
        path = customer.source / "strongroom.json"
        info = json.loads(path.read_text()) | {"format": "strongroom-target/2"}
        path.write_text(json.dumps(info))
        ran = customer.recover()
        assert ran.code == 1
        assert "later release" in ran.out

    def test_a_target_without_recovery_keys_cannot_be_opened(self, customer: Customer) -> None:
        path = customer.source / "strongroom.json"
        info = json.loads(path.read_text()) | {"recipients": [], "quorum": 0, "holders": 0}
        path.write_text(json.dumps(info))
        ran = customer.recover()
        assert ran.code == 3
        assert "without recovery keys" in ran.err


def test_a_folder_that_is_no_target_is_said(customer: Customer) -> None:
    customer.source.rename(customer.folder / "elsewhere")
    customer.source.mkdir()
    ran = customer.recover()
    assert ran.code == 1
    assert "is it a target" in ran.err


def test_content_without_a_key_file_is_noted(customer: Customer) -> None:
    written = customer.writer.add("a.txt", b"a")
    customer.writer.add("b.txt", b"b")
    customer.key_path(written).unlink()
    ran = customer.recover("--json")
    assert ran.code == 0
    [note] = ran.events_of("note")
    assert note["contents_without_key"] == 1
    assert customer.files() == {"b.txt": b"b"}


class TestIdentities:
    def test_an_identity_that_does_not_fit(self, customer: Customer) -> None:
        customer.writer.add("a.txt", b"a")
        other = x25519.Identity.generate()
        write_identity(customer.key, other)
        ran = customer.recover()
        assert ran.code == 3
        assert str(other.to_public()) in ran.err
        assert str(other) not in ran.err
        assert not customer.dest.exists()

    def test_one_of_several_identities_is_enough(self, customer: Customer) -> None:
        customer.writer.add("a.txt", b"a")
        write_identity(customer.key, x25519.Identity.generate(), customer.identity)
        assert customer.recover().code == 0
        assert customer.files() == {"a.txt": b"a"}

    def test_key_files_of_former_recipients_need_their_identities(self, customer: Customer) -> None:
        customer.writer.add("old.txt", b"old")
        new = x25519.Identity.generate()
        TargetWriter(folder_writer(customer.source), [new]).add("new.txt", b"new")
        new_key = write_identity(customer.folder / "new.txt", new)
        assert customer.recover("--identity", new_key).code == 0
        assert customer.files() == {"new.txt": b"new", "old.txt": b"old"}

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "holds no identity"),
            ("# only a comment\n", "holds no identity"),
            ("age1" + "q" * 58, "something else"),
            ("AGE-SECRET-KEY-1SOMETHING", "something else"),
            ("\x00\xff", "something else"),
            ("age-encryption.org/v1\n-> scrypt", "age -d"),
        ],
    )
    def test_what_is_no_identity_is_said_without_being_shown(
        self, customer: Customer, text: str, said: str
    ) -> None:
        customer.writer.add("a.txt", b"a")
        customer.key.write_text(text)
        ran = customer.recover()
        assert ran.code == 2
        assert said in ran.err
        assert "SOMETHING" not in ran.err

    def test_an_identity_file_that_is_missing(self, customer: Customer) -> None:
        customer.key.unlink()
        ran = customer.recover()
        assert ran.code == 2
        assert "cannot be read" in ran.err


class TestQuorum:
    @pytest.fixture(autouse=True)
    def target(self, customer: Customer) -> None:
        self.holders = [x25519.Identity.generate() for _ in range(4)]
        self.writer = TargetWriter(folder_writer(customer.source), self.holders, quorum=2)
        self.writer.add("a.txt", b"a")

    def give(self, customer: Customer, *numbers: int) -> None:
        write_identity(customer.key, *(self.holders[number] for number in numbers))

    @pytest.mark.parametrize("numbers", [(0, 1), (3, 1), (0, 1, 2, 3)], ids=str)
    def test_enough_holders_open_it(self, customer: Customer, numbers: tuple[int, ...]) -> None:
        self.give(customer, *numbers)
        ran = customer.recover()
        assert (ran.code, ran.err) == (0, "")
        assert customer.files() == {"a.txt": b"a"}

    def test_holders_bring_a_file_each(self, customer: Customer) -> None:
        self.give(customer, 2)
        second = write_identity(customer.folder / "second.txt", self.holders[0])
        assert customer.recover("--identity", second).code == 0

    def test_too_few_do_not(self, customer: Customer) -> None:
        self.give(customer, 2)
        ran = customer.recover()
        assert ran.code == 3
        assert "2 holders" in ran.err
        assert not customer.dest.exists()

    def test_others_do_not(self, customer: Customer) -> None:
        ran = customer.recover()
        assert ran.code == 3
        assert "2 of 4 holders" in ran.err

    def test_a_false_share_does_no_harm_if_there_are_enough_others(
        self, customer: Customer
    ) -> None:
        false = self.false_share(1)
        (customer.source / "holders/1.age").write_bytes(false)
        (customer.source / "holders/2.age").write_bytes(b"not an age file")
        self.give(customer, 0, 1, 2, 3)
        assert customer.recover().code == 0

    def test_a_false_share_among_too_few_is_said(self, customer: Customer) -> None:
        (customer.source / "holders/1.age").write_bytes(self.false_share(1))
        self.give(customer, 0, 1)
        ran = customer.recover()
        assert ran.code == 3
        assert "do not belong together" in ran.err

    def test_a_target_without_its_file_is_opened_by_the_holders(self, customer: Customer) -> None:
        (customer.source / "strongroom.json").unlink()
        self.give(customer, 1, 3)
        assert customer.recover().code == 1
        assert customer.files() == {"a.txt": b"a"}

    def false_share(self, index: int) -> bytes:
        """A share of another identity."""
        puts: dict[str, bytes] = {}
        TargetWriter(puts.__setitem__, self.holders, quorum=2)
        return puts[f"holders/{index}.age"]


class TestWhatIsThere:
    @pytest.fixture(autouse=True)
    def documents(self, customer: Customer) -> None:
        self.written = customer.writer.add("a.txt", b"content")
        customer.dest.mkdir()
        self.file = customer.dest / "a.txt"

    def test_a_file_that_differs_is_left_alone(self, customer: Customer) -> None:
        self.file.write_bytes(b"my own!")
        ran = customer.recover("--json")
        assert ran.code == 1
        assert [problem["kind"] for problem in ran.events_of("problem")] == ["in-the-way"]
        assert self.file.read_bytes() == b"my own!"

    def test_unless_told_otherwise(self, customer: Customer) -> None:
        self.file.write_bytes(b"my own!")
        assert customer.recover("--overwrite").code == 0
        assert self.file.read_bytes() == b"content"

    def test_a_file_that_is_the_same_is_not_fetched(self, customer: Customer) -> None:
        self.file.write_bytes(b"content")
        customer.path(self.written).unlink()
        assert customer.recover().code == 0

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_a_link_is_not_followed(self, customer: Customer, overwrite: bool) -> None:
        outside = customer.folder / "outside"
        outside.write_bytes(b"my own!")
        self.file.symlink_to(outside)
        assert customer.recover(*(["--overwrite"] if overwrite else [])).code == (not overwrite)
        assert outside.read_bytes() == b"my own!"
        assert self.file.is_symlink() != overwrite

    def test_a_folder_stays(self, customer: Customer) -> None:
        self.file.mkdir()
        ran = customer.recover("--overwrite")
        assert ran.code == 1
        assert "something else has the name a.txt" in ran.out

    def test_a_finished_file_is_not_fetched_again(self, customer: Customer) -> None:
        assert customer.recover().code == 0
        customer.path(self.written).unlink()
        ran = customer.recover("--json")
        assert ran.code == 0
        [summary] = ran.events_of("summary")
        assert (summary["files"], summary["finished"]) == (0, 1)

    def test_a_finished_file_that_was_changed_since_is_left_alone(self, customer: Customer) -> None:
        assert customer.recover().code == 0
        self.file.write_bytes(b"CONTENT")
        assert customer.recover().code == 1
        assert self.file.read_bytes() == b"CONTENT"

    def test_a_finished_file_that_was_removed_is_fetched_again(self, customer: Customer) -> None:
        assert customer.recover().code == 0
        self.file.unlink()
        assert customer.recover().code == 0
        assert self.file.read_bytes() == b"content"

    def test_a_new_version_is_in_the_way_of_the_old_file_unless_told_otherwise(
        self, customer: Customer
    ) -> None:
        assert customer.recover().code == 0
        customer.writer.add("a.txt", b"new", document=self.written.document, version=2)
        assert customer.recover().code == 1
        assert self.file.read_bytes() == b"content"
        assert customer.recover("--overwrite").code == 0
        assert self.file.read_bytes() == b"new"
        assert customer.recover("--all-versions").code == 0
        assert customer.files() == {"a.txt": b"new", "a (version 1).txt": b"content"}

    def test_records_that_are_torn_or_strange_are_no_obstacle(self, customer: Customer) -> None:
        assert customer.recover().code == 0
        records = customer.dest / ".strongroom/recovered.jsonl"
        whole = records.read_bytes()
        records.write_bytes(b'[]\n{"path": 1}\n' + whole + whole[:50])
        customer.path(self.written).unlink()
        customer.writer.add("b.txt", b"b")
        assert customer.recover().code == 0
        assert customer.recover().code == 0
        assert len(customer.files()) == 2
        assert json.loads(records.read_bytes().splitlines()[-1])["path"] == "b.txt"

    def test_only_one_command_at_a_time(self, customer: Customer) -> None:
        assert customer.recover().code == 0
        with (customer.dest / ".strongroom/lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            ran = customer.recover()
        assert ran.code == 2
        assert "Another command" in ran.err


class TestPartialFiles:
    """What an interrupted run had written is used if it is right."""

    @pytest.fixture(autouse=True)
    def documents(self, customer: Customer) -> None:
        self.content = BYTES[: 5 * SEGMENT_SIZE]
        self.written = customer.writer.add("a.bin", self.content)
        name = f"{self.written.document}-1-{self.written.tag}"
        self.partial = customer.dest / ".strongroom/partial" / name
        self.partial.parent.mkdir(parents=True)

    def forget_segments(self, customer: Customer, number: int) -> None:
        """Make the first segments unreadable in the target; the header stays."""
        data = bytearray(customer.path(self.written).read_bytes())
        data[40 : number * SEGMENT_SIZE] = bytes(number * SEGMENT_SIZE - 40)
        customer.path(self.written).write_bytes(data)

    @pytest.mark.parametrize("size", [2 * SEGMENT_SIZE, 5 * SEGMENT_SIZE - 1, 5 * SEGMENT_SIZE])
    def test_what_is_there_is_not_fetched_again(self, customer: Customer, size: int) -> None:
        self.partial.write_bytes(self.content[:size])
        self.forget_segments(customer, min(size // SEGMENT_SIZE, 4))
        ran = customer.recover("--json")
        assert ran.code == 0, ran.out
        assert customer.files() == {"a.bin": self.content}
        assert customer.partials() == []

    @pytest.mark.parametrize(
        "found",
        [b"", b"short", bytes(3 * SEGMENT_SIZE), bytes(9 * SEGMENT_SIZE)],
        ids=["empty", "short", "zeros", "too long"],
    )
    def test_what_is_wrong_is_fetched_again(self, customer: Customer, found: bytes) -> None:
        self.partial.write_bytes(found)
        assert customer.recover().code == 0
        assert customer.files() == {"a.bin": self.content}

    def test_damage_is_found_behind_what_is_there(self, customer: Customer) -> None:
        self.partial.write_bytes(self.content[: 2 * SEGMENT_SIZE])
        data = bytearray(customer.path(self.written).read_bytes())
        data[-1] ^= 1
        customer.path(self.written).write_bytes(data)
        assert customer.recover().code == 1
        assert customer.files() == {}
        assert customer.partials() == []


class TestListAndPlan:
    @pytest.fixture(autouse=True)
    def documents(self, customer: Customer) -> None:
        self.first = customer.writer.add("a.txt", BYTES[:1_000], document="doc_1")
        customer.writer.add("a.txt", b"2", document="doc_1", version=2)
        self.other = customer.writer.add("b\x1b[31m.txt", BYTES, document="doc_2")

    def test_a_list_says_what_there_is(self, customer: Customer) -> None:
        ran = customer.look("--list")
        assert ran.code == 0
        assert ran.lines == [
            "doc_1\t2\t2026-11-26T10:00:00+00:00\t1 bytes\tok\ta.txt",
            "doc_2\t1\t2026-11-26T10:00:00+00:00\t6.3 MB\tok\tb\ufffd[31m.txt",
        ]
        assert not customer.dest.exists()

    def test_a_list_for_programs_has_everything_but_the_key(self, customer: Customer) -> None:
        ran = customer.look("--list", "--json", "--all-versions")
        assert [(each["document"], each["version"]) for each in ran.events] == [
            ("doc_1", 1),
            ("doc_1", 2),
            ("doc_2", 1),
        ]
        hidden = {"data_key", "associated_data", "of a later release"}
        expected = {
            name: value for name, value in self.first.key_file.items() if name not in hidden
        }
        assert ran.events[0] == {"event": "version", "state": "ok"} | expected

    def test_a_list_says_what_is_missing(self, customer: Customer) -> None:
        customer.path(self.other).unlink()
        customer.path(self.first).write_bytes(b"short")
        ran = customer.look("--list", "--json", "--all-versions")
        assert ran.code == 1
        assert [each["state"] for each in ran.events_of("version")] == ["damaged", "ok", "missing"]
        assert len(ran.events_of("problem")) == 2

    def test_a_plan_says_how_much_and_how_long(self, customer: Customer) -> None:
        ran = customer.look("--plan", "--json", "--all-versions")
        assert ran.code == 0
        [plan] = ran.events
        assert (plan["documents"], plan["versions"]) == (2, 3)
        assert plan["bytes"] == plan["bytes_to_recover"] == len(BYTES) + 1_001
        assert plan["files_to_recover"] == 3
        assert plan["bytes_per_second"] > 1_000
        assert plan["expected_seconds"] < 60
        [line] = customer.look("--plan").lines
        assert line.startswith("2 documents in 2 files, 6.3 MB. To recover: 2 files, 6.3 MB, less")

    def test_a_plan_knows_what_was_recovered(self, customer: Customer) -> None:
        assert customer.recover("--document", "doc_2").code == 0
        [plan] = customer.recover("--plan", "--json").events
        assert (plan["finished"], plan["files_to_recover"], plan["bytes_to_recover"]) == (1, 1, 1)

    def test_a_plan_says_what_is_missing(self, customer: Customer) -> None:
        customer.path(self.other).unlink()
        ran = customer.look("--plan", "--json")
        assert ran.code == 1
        assert ran.events_of("plan")[0]["files_to_recover"] == 1
        assert len(ran.events_of("problem")) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("target",),
        ("target", "--list", "--plan"),
        ("target", "dest", "--document", "../doc"),
        ("nowhere", "dest"),
        ("ftp://host/path", "dest"),
        ("s3:///path", "dest"),
        ("s3://user:secret@bucket", "dest"),
        ("az://account", "dest"),
        ("target", "key.txt"),
        ("target", "dest", "--no-such-option"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_said(
    customer: Customer, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    customer.writer.add("a.txt", b"a")
    monkeypatch.chdir(customer.folder)
    ran = invoke("recover", "--identity", "key.txt", *arguments)
    assert ran.code == 2
    assert ran.err
    assert "secret" not in ran.err
    assert ran.out == ""


def test_hostile_names_stay_in_the_folder(customer: Customer) -> None:
    names = [
        "../outside.txt",
        "/etc/passwd",
        ".strongroom",
        "..",
        "a\x00b",
        "a/../../b",
        "A.TXT",
        "a.txt",
    ]
    for number, name in enumerate(names):
        customer.writer.add(name, name.encode(), document=f"doc_{number}")
    ran = customer.recover()
    assert ran.code == 0
    assert sorted(customer.files().values()) == sorted(name.encode() for name in names)
    everything = {path.name for path in customer.folder.iterdir()}
    assert everything == {"key.txt", "target", "recovered"}
    assert "\x00" not in ran.out
