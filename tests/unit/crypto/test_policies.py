"""Policies of who must have signed, as C2SP tlog-policy has them."""

from __future__ import annotations

import itertools

import pytest

from shared.crypto.notes import SignatureType, VerifierKey
from shared.crypto.policies import Policy, PolicyError, PolicyGroup, parse_policy

LOG = VerifierKey("example.com/log", SignatureType.ED25519, bytes(32))
KEYS = {
    name: VerifierKey(f"witness.example/{name}", SignatureType.COSIGNATURE_V1, bytes([number] * 32))
    for number, name in enumerate(("X1", "X2", "X3", "Y1", "Y2", "Y3"), start=1)
}

# The specification's example, with keys.
EXAMPLE = f"""
log {LOG}

witness X1 {KEYS["X1"]}
witness X2 {KEYS["X2"]}
witness X3 {KEYS["X3"]}
group X-witnesses 2 X1 X2 X3

witness Y1 {KEYS["Y1"]}
witness Y2 {KEYS["Y2"]}
witness Y3 {KEYS["Y3"]}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def test_the_example_of_the_specification() -> None:
    policy = parse_policy(EXAMPLE)
    assert [log.key for log in policy.logs] == [LOG]
    assert policy.groups == (
        PolicyGroup("X-witnesses", 2, ("X1", "X2", "X3")),
        PolicyGroup("Y-witnesses", 1, ("Y1", "Y2", "Y3")),
        PolicyGroup("X-and-Y", 2, ("X-witnesses", "Y-witnesses")),
    )
    for count in range(len(KEYS) + 1):
        for names in itertools.combinations(KEYS, count):
            expected = sum(name[0] == "X" for name in names) >= 2 and "Y" in "".join(names)
            assert policy.is_met([KEYS[name] for name in names]) == expected
    assert not policy.is_met([LOG])


def test_a_policy_is_written_and_read() -> None:
    text = EXAMPLE.replace("witness Y1", "# a comment\n\t witness \tY1").replace(
        str(LOG), f"{LOG} https://log.example/"
    )
    policy = parse_policy(text)
    assert policy.logs[0].url == "https://log.example/"
    assert parse_policy(policy.encode()) == policy
    assert parse_policy(Policy().encode()) == Policy()


def test_the_quorum_may_be_one_witness_or_none() -> None:
    one = parse_policy(f"witness \u00e9 {KEYS['X1']} https://w.example/\nquorum \u00e9\n")
    assert one.is_met([KEYS["X1"]])
    assert not one.is_met([KEYS["X2"]])
    assert parse_policy("quorum none\n").is_met([])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no quorum"),
        ("# quorum none\n", "no quorum"),
        ("quorum none", "last line does not end"),
        ("quorum none\r\n", "control characters"),
        ("quorum none\x7f\n", "control characters"),
        ("quorum none\nquorum none\n", "line 2 of the policy: the quorum is there twice"),
        ("quorum X1\n", "X1 is not defined before"),
        ("quorum\n", "not a log, witness, group or quorum"),
        ("quorum none none\n", "not a log, witness, group or quorum"),
        ("quorum\u00a0none\n", "not a log, witness, group or quorum"),
        ("Quorum none\n", "not a log, witness, group or quorum"),
        ("log\n", "not a log, witness, group or quorum"),
        ("log text\n", "not a vkey"),
        (f"log {LOG} url more\n", "not a log, witness, group or quorum"),
        (f"log {LOG}\nlog {LOG}\n", "line 2 of the policy: the public key is there twice"),
        (f"witness X1 {LOG}\n", "key for cosignatures"),
        (f"witness none {KEYS['X1']}\n", "the name none is taken"),
        (f"witness X1 {KEYS['X1']}\nwitness X1 {KEYS['X2']}\n", "the name X1 is taken"),
        (f"witness X1 {KEYS['X1']}\nwitness X2 {KEYS['X1']}\n", "public key is there twice"),
        ("group G any\n", "not a log, witness, group or quorum"),
        ("group G any none\n", "none is not defined before"),
        ("group G any G\n", "G is not defined before"),
        (f"witness X1 {KEYS['X1']}\ngroup X1 any X1\n", "the name X1 is taken"),
        (f"witness X1 {KEYS['X1']}\ngroup G 0 X1\n", "the threshold is not any, all, or 1 to 1"),
        (f"witness X1 {KEYS['X1']}\ngroup G 2 X1\n", "the threshold is not any, all, or 1 to 1"),
        (f"witness X1 {KEYS['X1']}\ngroup G \u0661 X1\n", "the threshold is not"),
        (f"witness X1 {KEYS['X1']}\ngroup G any X1 X1\n", "X1 is a member twice"),
        (f"witness X1 {KEYS['X1']}\ngroup G any X1\ngroup H any X1\n", "X1 is a member twice"),
    ],
)
def test_other_texts_are_refused(text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        parse_policy(text)
