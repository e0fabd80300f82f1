"""Signed notes and cosignatures, with the vectors of Go's sumdb/note, RFC 6979 and C2SP."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shared.crypto.checkpoints import Checkpoint
from shared.crypto.cosignatures import cosignature_v1_message, ml_dsa_44_message
from shared.crypto.notes import (
    Note,
    NoteError,
    NoteSignature,
    SignatureType,
    VerifierKey,
    cosign_ml_dsa_44,
    ecdsa_digest,
    ecdsa_signature,
    parse_note,
    parse_signature,
    sign_ed25519,
)
from tests.support.audit_logs import cosign_ed25519

# golang.org/x/mod/sumdb/note/note_test.go
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
PETER_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
PETER_LINE = (
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotp"
    "RZb6KE6RyyBwJnAM=\n"
)
ENOCH_LINE = (
    "\u2014 EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox3"
    "3WWd1RvMc+QQ=\n"
)
MESSAGE = f"{TEXT}\n{PETER_LINE}{ENOCH_LINE}".encode()

# c2sp.org/tlog-cosignature, which does not give the keys.
COSIGNED = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1"
    "gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyi"
    "n1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)
CHECKPOINT = Checkpoint("example.com/log", 5, bytes(range(32))).encode()
AT = 1_679_315_147


class TestGoVectors:
    def test_a_note_of_two_signers(self) -> None:
        note = parse_note(MESSAGE)
        peter, enoch = VerifierKey.parse(PETER), VerifierKey.parse(ENOCH)
        assert note.text == TEXT
        assert note.encode() == MESSAGE
        assert [(one.name, one.key_id) for one in note.signatures] == [
            ("PeterNeumann", 0xC74F20A3),
            ("EnochRoot", 0xAF0CFE78),
        ]
        assert note.verified_by([peter, enoch, enoch]) == (peter, enoch)
        assert note.verified_by([enoch]) == (enoch,)
        assert note.verified_by([]) == ()

    def test_signing_gives_the_same_bytes(self) -> None:
        key = Ed25519PrivateKey.from_private_bytes(PETER_SEED)
        signature = sign_ed25519(key, "PeterNeumann", TEXT)
        assert Note(TEXT, (signature,)).encode() == f"{TEXT}\n{PETER_LINE}".encode()

    def test_manglings_of_a_vkey_are_refused(self) -> None:
        for start in range(len(PETER) + 1):
            for end in range(start + 1, len(PETER) + 1):
                if (start, end) != (0, len(PETER)):
                    with pytest.raises(NoteError):
                        VerifierKey.parse(PETER[start:end])
        for at, character in enumerate(PETER):
            with pytest.raises(NoteError):
                VerifierKey.parse(PETER[:at] + chr(ord(character) + 1) + PETER[at + 1 :])

    @pytest.mark.parametrize(
        "vkey",
        [
            "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
            "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            PETER.upper(),
            PETER + "\n",
            " " + PETER,
        ],
    )
    def test_other_vkeys_are_refused(self, vkey: str) -> None:
        with pytest.raises(NoteError):
            VerifierKey.parse(vkey)

    @pytest.mark.parametrize("old", ["cryptography", "\nthen"])
    def test_an_edited_text_is_refused(self, old: str) -> None:
        note = parse_note(MESSAGE.replace(old.encode(), old.upper().encode() + b"?"))
        with pytest.raises(NoteError, match="signature by PeterNeumann is invalid"):
            note.verified_by([VerifierKey.parse(PETER)])

    @pytest.mark.parametrize(
        "message",
        [
            b"",
            TEXT.encode(),
            f"{TEXT}\n".encode(),
            f"{TEXT}{PETER_LINE}".encode(),  # no empty line
            f"{TEXT}\n{PETER_LINE}"[:-1].encode(),  # the last line does not end
            f"{TEXT}\n{PETER_LINE}\n".encode(),
            f"{TEXT}\n{PETER_LINE.replace(chr(0x2014), '-')}".encode(),
            f"{TEXT}\n{PETER_LINE.replace(' PeterNeumann', '')}".encode(),
            f"{TEXT}\n{PETER_LINE.replace('PeterNeumann', 'Peter+Neumann')}".encode(),
            f"{TEXT}\n{PETER_LINE.replace('PeterNeumann', 'Peter' + chr(0x2003) + 'Neumann')}".encode(),
            f"{TEXT}\n{PETER_LINE.replace('PeterNeumann', '')}".encode(),
            f"{TEXT}\n{PETER_LINE.replace('x08go', 'x08g')}".encode(),
            f"{TEXT}\n{PETER_LINE.replace('AM=', 'AN=')}".encode(),  # bits that base64 does not use
            f"{TEXT}\n{PETER_LINE.replace('AM=', 'AM =')}".encode(),
            f"{TEXT}\n\u2014 PeterNeumann x08gow==\n".encode(),  # a key id without a signature
            f"{TEXT}\r\n\n{PETER_LINE}".encode(),
            f"{TEXT}\t\n\n{PETER_LINE}".encode(),
            MESSAGE + b"\xff",
            b"\xed\xa0\x80" + MESSAGE,
            f"{TEXT}\n{PETER_LINE * 101}".encode(),
        ],
    )
    def test_malformed_notes_are_refused(self, message: bytes) -> None:
        with pytest.raises(NoteError):
            parse_note(message)

    def test_a_text_may_have_empty_lines(self) -> None:
        assert parse_note(f"a\n\nb\n\n{PETER_LINE}".encode()).text == "a\n\nb\n"
        assert len(parse_note(f"{TEXT}\n{PETER_LINE * 100}".encode()).signatures) == 100

    def test_a_key_with_the_same_name_or_the_same_id_is_another_key(self) -> None:
        other = VerifierKey("PeterNeumann", SignatureType.ED25519, bytes(32))
        assert parse_note(MESSAGE).verified_by([other]) == ()
        line = PETER_LINE.replace("PeterNeumann", "Somebody")
        assert parse_note(f"{TEXT}\n{line}".encode()).verified_by([VerifierKey.parse(PETER)]) == ()


def test_the_cosigned_checkpoint_of_the_specification() -> None:
    note = parse_note(COSIGNED.encode())
    assert note.encode() == COSIGNED.encode()
    cosigner = VerifierKey("witness.example.com/w1", SignatureType.COSIGNATURE_V1, bytes(32))
    assert cosigner.cosigned_at(note.signatures[1].signature) == AT
    assert cosignature_v1_message(note.text, AT).decode() == (
        "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n"
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    )


def test_the_message_of_ml_dsa_byte_for_byte() -> None:
    expected = (
        b"subtree/v1\n\x00"
        b"\x09example/w"
        b"\x00\x00\x00\x00\x64\x18\x50\xcb"
        b"\x0fexample.com/log"
        b"\x00\x00\x00\x00\x00\x00\x00\x00"
        b"\x00\x00\x00\x00\x00\x00\x00\x05"
    ) + bytes(range(32))
    assert ml_dsa_44_message("example/w", CHECKPOINT, AT) == expected
    # Extension lines are not signed.
    assert ml_dsa_44_message("example/w", CHECKPOINT + "more\n", AT) == expected


class TestCosignatures:
    ed25519 = Ed25519PrivateKey.from_private_bytes(bytes(32))
    ml_dsa = MLDSA44PrivateKey.from_seed_bytes(bytes(32))

    def both(self) -> list[tuple[VerifierKey, NoteSignature]]:
        v1 = VerifierKey(
            "w", SignatureType.COSIGNATURE_V1, self.ed25519.public_key().public_bytes_raw()
        )
        v2 = VerifierKey("w", SignatureType.ML_DSA_44, self.ml_dsa.public_key().public_bytes_raw())
        return [
            (v1, cosign_ed25519(self.ed25519, "w", CHECKPOINT, AT)),
            (v2, cosign_ml_dsa_44(self.ml_dsa, "w", CHECKPOINT, AT)),
        ]

    def test_cosignatures_verify_and_tell_their_time(self) -> None:
        for key, signature in self.both():
            assert Note(CHECKPOINT, (signature,)).verified_by([key]) == (key,)
            assert key.cosigned_at(signature.signature) == AT
            assert VerifierKey.parse(str(key)) == key
            assert parse_signature(signature.encode()) == signature

    def test_key_ids_are_those_of_the_specification(self) -> None:
        for key, signature in self.both():
            data = b"w\n" + bytes([key.type]) + key.public_key
            expected = int.from_bytes(hashlib.sha256(data).digest()[:4], "big")
            assert key.key_id == signature.key_id == expected

    def test_another_time_text_name_or_signature_is_refused(self) -> None:
        for key, made in self.both():
            at_another_time = (AT + 1).to_bytes(8, "big") + made.signature[8:]
            flipped = made.signature[:-1] + bytes([made.signature[-1] ^ 1])
            for signature in (
                at_another_time,
                flipped,
                made.signature[:-1],
                made.signature + b"\0",
            ):
                with pytest.raises(NoteError, match="signature by w is invalid"):
                    key.verify(CHECKPOINT, signature)
            for text in (CHECKPOINT.replace("5", "6", 1), "no checkpoint\n", "\ud800\n"):
                with pytest.raises(NoteError, match="signature by w is invalid"):
                    key.verify(text, made.signature)
        key, made = self.both()[1]
        with pytest.raises(NoteError):
            VerifierKey("x", key.type, key.public_key).verify(CHECKPOINT, made.signature)

    def test_zero_states_no_time(self) -> None:
        key, _ = self.both()[1]
        made = cosign_ml_dsa_44(self.ml_dsa, "w", CHECKPOINT, 0)
        key.verify(CHECKPOINT, made.signature)
        assert key.cosigned_at(made.signature) == 0

    @pytest.mark.parametrize("at", [-1, 1 << 63])
    def test_times_out_of_range_are_refused(self, at: int) -> None:
        with pytest.raises(ValueError, match="time of a cosignature"):
            cosign_ed25519(self.ed25519, "w", CHECKPOINT, at)
        with pytest.raises(ValueError, match="time of a cosignature"):
            cosign_ml_dsa_44(self.ml_dsa, "w", CHECKPOINT, at)

    @pytest.mark.parametrize("text", ["", "a\n", "a\n5\nAAAA\n"])
    def test_only_checkpoints_are_cosigned(self, text: str) -> None:
        with pytest.raises(ValueError, match="the checkpoint"):
            cosign_ed25519(self.ed25519, "w", text, AT)

    def test_names_that_are_too_long_are_refused(self) -> None:
        with pytest.raises(ValueError, match="1 to 255 bytes"):
            cosign_ml_dsa_44(self.ml_dsa, "w" * 256, CHECKPOINT, AT)


class TestEcdsa:
    # RFC 6979 appendix A.2.5, with SHA-256 and the message "sample".
    key = ec.derive_private_key(
        0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721, ec.SECP256R1()
    )
    signature = encode_dss_signature(
        0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
        0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
    )
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def test_the_vector_of_rfc_6979(self) -> None:
        verifier = VerifierKey("k", SignatureType.ECDSA, self.spki)
        verifier.verify("sample", self.signature)
        with pytest.raises(NoteError):
            verifier.verify("sample ", self.signature)
        with pytest.raises(NoteError, match="invalid"):
            verifier.verify("sample", self.signature[:-1])
        assert ecdsa_digest("sample") == hashlib.sha256(b"sample").digest()

    def test_the_key_id_is_the_spkis_alone(self) -> None:
        verifier = VerifierKey("k", SignatureType.ECDSA, self.spki)
        assert verifier.key_id == int.from_bytes(hashlib.sha256(self.spki).digest()[:4], "big")
        assert VerifierKey.parse(str(verifier)) == verifier

    def test_a_signature_of_the_digest_made_elsewhere(self) -> None:
        verifier = VerifierKey("k", SignatureType.ECDSA, self.spki)
        made = self.key.sign(ecdsa_digest(TEXT), ec.ECDSA(Prehashed(hashes.SHA256())))
        note = Note(TEXT, (ecdsa_signature("k", self.spki, made),))
        assert parse_note(note.encode()).verified_by([verifier]) == (verifier,)

    def test_other_curves_and_other_bytes_are_no_keys(self) -> None:
        other = ec.generate_private_key(ec.SECP384R1()).public_key()
        p384 = other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for public_key in (p384, b"", self.spki[:-1], bytes(32)):
            with pytest.raises(NoteError, match="public key"):
                VerifierKey("k", SignatureType.ECDSA, public_key)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\tb"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(NoteError, match="key's name"):
        VerifierKey(name, SignatureType.ED25519, bytes(32))


def test_only_cosignatures_tell_a_time() -> None:
    key = VerifierKey.parse(PETER)
    with pytest.raises(NoteError, match="not a cosignature"):
        key.cosigned_at(parse_note(MESSAGE).signatures[0].signature)


def test_public_keys_have_the_size_of_their_type() -> None:
    for kind in (SignatureType.ED25519, SignatureType.COSIGNATURE_V1, SignatureType.ML_DSA_44):
        with pytest.raises(NoteError, match="wrong size"):
            VerifierKey("k", kind, bytes(33))
