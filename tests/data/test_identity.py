"""A person's keyed hashes: the same for every spelling of one identifier, different under every other key and type."""

import hashlib
import hmac

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.data.identity import TOKEN_BYTES, canonical, identify

KEYS = {"identity_type": "student", "token_key": b"t" * 32, "placement_key": b"p" * 32}


def of(*identifiers, **changes):
    return identify([canonical(i) for i in identifiers], **(KEYS | changes))


def points(identities):
    return [int(p[0]) for p in (identities.points, identities.slice_points, identities.holdout_points)]


def test_the_token_key_moves_nobody_and_the_placement_key_renames_nobody():
    base, other_token = of("a"), of("a", token_key=b"T" * 32)
    other_place = of("a", placement_key=b"P" * 32)
    assert points(base) == points(other_token)
    assert base.tokens != other_token.tokens
    assert base.tokens == other_place.tokens
    assert not set(points(base)) & set(points(other_place))


def test_identity_types_are_separate():
    assert of("7").tokens != of("7", identity_type="patient").tokens
    assert points(of("7")) != points(of("7", identity_type="patient"))


@pytest.mark.parametrize(
    "same", [(7, "7", 7.0, " 7 ", np.int64(7), np.float64(7)), ("Zoë", "Zoe\u0308 "), (2**60, str(2**60))]
)
def test_one_identifier_has_one_spelling(same):
    assert len({canonical(spelling) for spelling in same}) == 1


@pytest.mark.parametrize("different", [("007", 7), ("7", "7.5"), ("Ann", "ann"), ("a b", "ab"), ("1e3", 1000)])
def test_what_differs_stays_apart(different):
    assert len({of(i).tokens[0] for i in different}) == 2


def test_the_hashes_are_hmac_sha256():
    message = b"student\x00a"
    token = hmac.new(b"t" * 32, message, hashlib.sha256).digest()
    place = hmac.new(b"p" * 32, message, hashlib.sha256).digest()
    assert of("a").tokens == [token[:TOKEN_BYTES]]
    assert points(of("a")) == [int.from_bytes(place[i : i + 8], "big") for i in (0, 8, 16)]


@given(st.lists(st.text(max_size=5), max_size=6))
def test_a_person_is_the_same_in_every_company(names):
    together = identify(names, **KEYS)
    for position, name in enumerate(names):
        alone = identify([name], **KEYS)
        assert (alone.tokens[0], alone.points[0], alone.slice_points[0], alone.holdout_points[0]) == (
            together.tokens[position],
            together.points[position],
            together.slice_points[position],
            together.holdout_points[position],
        )


@given(st.one_of(st.text(max_size=8), st.integers(), st.floats(allow_nan=False, allow_infinity=False)))
def test_the_canonical_form_is_a_fixed_point(identifier):
    assert canonical(canonical(identifier)) == canonical(identifier)


def test_points_are_spread_evenly_and_independently():
    identities = identify([str(i) for i in range(20_000)], **KEYS)
    lines = [p / 2**64 for p in (identities.points, identities.slice_points, identities.holdout_points)]
    for line in lines:
        assert abs(np.histogram(line, 16, (0, 1))[0] - 1250).max() < 6 * 1250**0.5
    assert abs(np.corrcoef(lines) - np.eye(3)).max() < 0.04
