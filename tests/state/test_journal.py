"""Whatever is edited in the journal, the first entry that no longer fits is named."""

import json

import pytest
from sqlalchemy import text

from workbench.state import create_database, journal, open_database, writing

N = 6


@pytest.fixture
def engine(tmp_path):
    create_database(tmp_path / "state.db")
    engine = open_database(tmp_path / "state.db")
    with writing(engine) as connection:
        for i in range(N):
            journal.append(connection, "KIND", number=i, name="Åland", nested={"b": [1, None], "a": 1.5})
    return engine


def broken_after(engine, *statements):
    with engine.begin() as connection:
        for statement in statements:
            assert connection.execute(text(statement)).rowcount
    with engine.connect() as connection:
        return journal.broken_at(connection)


def test_an_untouched_chain_holds(engine, tmp_path):
    with engine.connect() as connection:
        assert journal.broken_at(connection) is None
        last = connection.execute(text(f"SELECT digest FROM journal WHERE sequence = {N}")).scalar()
        assert journal.head(connection) == last
    create_database(tmp_path / "empty.db")
    with open_database(tmp_path / "empty.db").connect() as connection:
        assert (journal.broken_at(connection), journal.head(connection)) == (None, journal.GENESIS)


@pytest.mark.parametrize("sequence", [1, 3, N])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("at", "'2020-01-01T00:00:00+00:00'"),
        ("at", "x'ff00'"),
        ("at", "5"),
        ("actor", "'local:mallory'"),
        ("kind", "'CERTIFIED'"),
        ("body", """'{"number": 99}'"""),
        ("body", "'not JSON'"),
        ("body", "''"),
        ("body", "'null'"),
        ("body", "replace(body, '1.5', '1.6')"),
        ("previous", f"'{'f' * 64}'"),
        ("digest", f"'{'f' * 64}'"),
    ],
)
def test_any_field_that_was_edited_breaks_the_chain_there(engine, sequence, field, value):
    assert broken_after(engine, f"UPDATE journal SET {field} = {value} WHERE sequence = {sequence}") == sequence


@pytest.mark.parametrize(("deleted", "broken"), [(1, 2), (3, 4), (N - 1, N)])
def test_a_deleted_entry_breaks_the_chain_at_the_next(engine, deleted, broken):
    assert broken_after(engine, f"DELETE FROM journal WHERE sequence = {deleted}") == broken


def test_a_gap_that_was_renumbered_breaks_the_chain(engine):
    shift = [f"UPDATE journal SET sequence = {i - 1} WHERE sequence = {i}" for i in range(4, N + 1)]
    assert broken_after(engine, "DELETE FROM journal WHERE sequence = 3", *shift) == 3


def test_swapped_entries_break_the_chain_at_the_first(engine):
    moves = [(2, 99), (3, 2), (99, 3)]
    assert broken_after(engine, *(f"UPDATE journal SET sequence = {b} WHERE sequence = {a}" for a, b in moves)) == 2


def test_an_entry_with_a_digest_of_its_own_breaks_the_chain_at_the_next(engine):
    """A forger who mends the edited entry's digest must mend all that follow: the head then differs."""
    with engine.begin() as connection:
        row = connection.execute(text("SELECT * FROM journal WHERE sequence = 2")).one()
        body = json.loads(row.body) | {"number": 99}
        digest = journal._link(2, row.at, row.actor, row.kind, body, row.previous)
        connection.execute(
            text("UPDATE journal SET body = :body, digest = :digest WHERE sequence = 2"),
            {"body": json.dumps(body), "digest": digest},
        )
    with engine.connect() as connection:
        assert journal.broken_at(connection) == 3


def test_a_transaction_that_fails_adds_nothing(engine):
    with engine.connect() as connection:
        before = journal.head(connection)

    def fail():
        with writing(engine) as connection:
            journal.append(connection, "KIND")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with engine.connect() as connection:
        assert journal.head(connection) == before


def test_who_has_no_name_is_unknown(monkeypatch):
    def nameless():
        raise KeyError("uid 12345")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert journal.actor() == "local:unknown"
