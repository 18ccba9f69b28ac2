"""A certificate verifies whole and under the right key, or fails the check: never crashes, never passes."""

import base64
import json

import pytest
import rfc8785
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner, SSlibKey

from workbench.erasure.certificate import (
    PAYLOAD_TYPE,
    PREDICATE_TYPE,
    STATEMENT_TYPE,
    open_signed,
    sign,
)
from workbench.erasure.keys import create_signing_key, public_key_path, read_public_key
from workbench.errors import CheckFailedError, InputError

NEEDED = {"request": "er-1", "datasets": [], "removed_checkpoints": [], "environment": {}}
PREDICATE = NEEDED | {"datasets": [{"dataset": "pupils", "shards": 2, "note": "Åland 🗼"}], "epsilon": 1.5}
SUBJECT = {"e@2": "ab" * 32, "d": "cd" * 32}


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    create_signing_key(folder)
    return folder


@pytest.fixture(scope="module")
def trusted(keys):
    return [read_public_key(public_key_path(keys))]


@pytest.fixture(scope="module")
def certificate(keys):
    return sign(keys, SUBJECT, PREDICATE)


def fails(content, trusted):
    with pytest.raises(CheckFailedError):
        open_signed(content, trusted)[0]


def signed(payload, *, payload_type=PAYLOAD_TYPE, keys):
    """An envelope as another library makes it."""
    private = serialization.load_pem_private_key((keys / "signing.pem").read_bytes(), password=None)
    envelope = Envelope(payload, payload_type, {})
    envelope.sign(CryptoSigner(private, theirs(keys)))
    return json.dumps(envelope.to_dict(), indent=1).encode()


def theirs(keys):
    """The public key as another library holds it."""
    public = serialization.load_pem_public_key(public_key_path(keys).read_bytes())
    return SSlibKey.from_crypto(public, keyid=read_public_key(public_key_path(keys)).keyid)


def statement(**changes):
    base = {"_type": STATEMENT_TYPE, "subject": [], "predicateType": PREDICATE_TYPE, "predicate": NEEDED}
    return rfc8785.dumps(base | changes)


def test_the_statement_comes_back_as_it_was_signed(certificate, trusted, keys):
    opened = open_signed(certificate, trusted)[0]
    assert opened["predicate"] == PREDICATE
    assert {s["name"]: s["digest"]["sha256"] for s in opened["subject"]} == SUBJECT
    assert sign(keys, SUBJECT, PREDICATE) == certificate, "canonical JSON and Ed25519 leave nothing to chance"


def test_another_library_writes_the_same_bytes_and_verifies_them(certificate, keys):
    envelope = Envelope.from_dict(json.loads(certificate))
    assert signed(envelope.payload, keys=keys) == certificate
    assert envelope.verify([theirs(keys)], threshold=1)


def test_cryptography_agrees_on_the_signature(certificate, keys):
    """DSSE v1's pre-authentication encoding, written out here, under cryptography's own Ed25519."""
    envelope = json.loads(certificate)
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
    encoded = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    public = serialization.load_pem_public_key(public_key_path(keys).read_bytes())
    public.verify(base64.b64decode(envelope["signatures"][0]["sig"]), encoded)


@pytest.mark.parametrize("mask", [0x01, 0x02, 0x04, 0x08, 0x20, 0x2A, 0x80, 0xFF])
def test_a_change_of_any_byte_fails_it(certificate, trusted, mask):
    """0x2A turns a line break into a blank, 0x20 a letter into its other case: JSON or base64 might not mind."""
    for place in range(len(certificate)):
        changed = bytearray(certificate)
        changed[place] ^= mask
        fails(bytes(changed), trusted)


def test_any_byte_added_or_left_out_fails_it(certificate, trusted):
    for place in range(len(certificate) + 1):
        for more in (b" ", b"\n", b"A", b"="):
            fails(certificate[:place] + more + certificate[place:], trusted)
        if place < len(certificate):
            fails(certificate[:place] + certificate[place + 1 :], trusted)
            fails(certificate[:place], trusted)


def test_the_same_json_written_otherwise_fails(certificate, trusted):
    document = json.loads(certificate)
    fails(json.dumps(document).encode(), trusted)
    fails(json.dumps(document | {"more": 1}, indent=1).encode(), trusted)
    fails(json.dumps(dict(reversed(document.items())), indent=1).encode(), trusted)
    fails(b"\xef\xbb\xbf" + certificate, trusted)


def test_nothing_unsigned_can_be_added(certificate, trusted, tmp_path):
    """Each of these leaves the signed bytes and their signature as they are."""
    create_signing_key(tmp_path)
    document = json.loads(certificate)
    mine = document["signatures"][0]
    foreign = json.loads(sign(tmp_path, SUBJECT, PREDICATE))["signatures"][0]
    added = {
        "a field of the envelope": document | {"note": "revoked"},
        "a field of the signature": document | {"signatures": [mine | {"signed_for": "er-2"}]},
        "a foreign signature after it": document | {"signatures": [mine, foreign]},
        "a foreign signature before it": document | {"signatures": [foreign, mine]},
        "the signature twice": document | {"signatures": [mine, mine]},
        "a signature without a key": document | {"signatures": [mine, mine | {"keyid": ""}]},
        "a signature by another name": document | {"signatures": [mine | {"keyid": foreign["keyid"]}]},
        "no list": document | {"signatures": {"0": mine}},
    }
    for what, changed in added.items():
        with pytest.raises(CheckFailedError):
            print(what, open_signed(json.dumps(changed, indent=1).encode(), trusted)[0])
    twice = certificate.replace(b'"keyid"', b'"keyid": "x",\n   "keyid"', 1)
    fails(twice, trusted)


@pytest.mark.parametrize(
    "changes",
    [
        {"more": 1},
        {"subject": [{"name": "e@2", "digest": {"sha256": "ab" * 32}, "uri": "x"}]},
        {"subject": [{"name": "e@2", "digest": {"sha256": "ab" * 32, "md5": "x"}}]},
        {"subject": [{"name": "e@2"}]},
        {"subject": ["e@2"]},
        {"subject": {}},
        {"predicate": {}},
        *({"predicate": {name: value for name, value in NEEDED.items() if name != lacking}} for lacking in NEEDED),
        *({"predicate": NEEDED | {name: 5}} for name in NEEDED),
        {"predicate": NEEDED | {"removed_checkpoints": ["zz"]}},
        {"predicate": NEEDED | {"removed_checkpoints": [5]}},
        *(
            {"predicate": NEEDED | {"datasets": [one]}}
            for one in (5, {}, {"dataset": 5}, {"dataset": "../x"}, {"dataset": ""})
        ),
        {"predicate": []},
    ],
)
def test_a_statement_of_unknown_or_missing_fields_fails(changes, keys, trusted):
    fails(signed(statement(**changes), keys=keys), trusted)


def test_a_signed_field_of_a_later_release_is_no_fault(keys, trusted):
    certificate = signed(statement(predicate=NEEDED | {"of_tomorrow": 1}), keys=keys)
    assert open_signed(certificate, trusted)[0]["predicate"]["of_tomorrow"] == 1


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b"3", b"\xff", b"\x00" * 99, b"[" * 100_000, b'{"payload": 3}']
)
def test_what_is_no_envelope_fails(content, trusted):
    fails(content, trusted)


def test_an_unsigned_envelope_fails(trusted):
    fails(json.dumps(Envelope(statement(), PAYLOAD_TYPE, {}).to_dict(), indent=1).encode(), trusted)


def test_a_signature_by_another_key_fails(certificate, trusted, tmp_path):
    create_signing_key(tmp_path)
    forged = sign(tmp_path, SUBJECT, PREDICATE)
    fails(forged, trusted)
    other = [read_public_key(public_key_path(tmp_path))]
    fails(certificate, other)
    assert open_signed(forged, other)[0]["predicate"] == PREDICATE
    assert open_signed(certificate, [*other, *trusted])[0]["predicate"] == PREDICATE
    fails(certificate, [])
    # a signature that claims the trusted key's id
    document, mine = json.loads(forged), json.loads(certificate)
    document["signatures"][0]["keyid"] = mine["signatures"][0]["keyid"]
    fails(json.dumps(document, indent=1).encode(), trusted)
    document["payload"], document["signatures"] = document["payload"], mine["signatures"]
    assert open_signed(json.dumps(document, indent=1).encode(), trusted)[0], (
        "the same statement, signed by the right key"
    )
    document["payload"] = base64.b64encode(statement()).decode()
    fails(json.dumps(document, indent=1).encode(), trusted)


@pytest.mark.parametrize(
    ("payload", "payload_type"),
    [
        (statement(), "application/json"),
        (statement(_type="https://in-toto.io/Statement/v0.1"), PAYLOAD_TYPE),
        (statement(predicateType="https://slsa.dev/provenance/v1"), PAYLOAD_TYPE),
        (b"{}", PAYLOAD_TYPE),
        (b"[]", PAYLOAD_TYPE),
        (b"3", PAYLOAD_TYPE),
        (b"not JSON", PAYLOAD_TYPE),
        (b"\xff", PAYLOAD_TYPE),
    ],
)
def test_a_signed_statement_of_another_kind_fails(payload, payload_type, keys, trusted):
    fails(signed(payload, payload_type=payload_type, keys=keys), trusted)


def pem(public):
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


BAD_KEYS = {
    "missing": None,
    "empty": b"",
    "not PEM": b"hello",
    "RSA": pem(rsa.generate_private_key(65537, 2048).public_key()),
    "ECDSA": pem(ec.generate_private_key(ec.SECP256R1()).public_key()),
    "cut": pem(Ed25519PrivateKey.generate().public_key())[:60],
    "private": Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ),
}


@pytest.mark.parametrize("case", BAD_KEYS)
def test_what_is_no_ed25519_public_key_is_refused(case, tmp_path):
    if BAD_KEYS[case] is not None:
        (tmp_path / "key.pem").write_bytes(BAD_KEYS[case])
    with pytest.raises(InputError, match=r"public key|another kind of key"):
        read_public_key(tmp_path / "key.pem")


@pytest.mark.parametrize("case", ["missing", "empty", "public", "RSA", "encrypted"])
def test_a_damaged_signing_key_signs_nothing(case, tmp_path):
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    bare, locked = serialization.NoEncryption(), serialization.BestAvailableEncryption(b"secret")
    content = {
        "empty": b"",
        "public": pem(Ed25519PrivateKey.generate().public_key()),
        "RSA": rsa.generate_private_key(65537, 2048).private_bytes(*form, bare),
        "encrypted": Ed25519PrivateKey.generate().private_bytes(*form, locked),
    }
    if case != "missing":
        (tmp_path / "signing.pem").write_bytes(content[case])
    with pytest.raises(InputError, match="signing key"):
        sign(tmp_path, SUBJECT, PREDICATE)


def test_a_key_is_made_once_and_is_its_owners_alone(tmp_path):
    create_signing_key(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    create_signing_key(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert (tmp_path / "signing.pem").stat().st_mode & 0o777 == 0o600


def test_a_type_that_is_no_text_fails(certificate, trusted):
    """JSON can hold half of a character, which no bytes stand for, so no signature can cover it."""
    document = json.loads(certificate) | {"payloadType": "\ud800"}
    fails(json.dumps(document, indent=1).encode(), trusted)
