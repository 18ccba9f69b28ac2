"""Whose people a table is about: one person must not get a second budget by another name.

- A population or an identity type that a schema leaves out is named after the data set. Where other people's rows have that
  name already, or one that differs in case alone, a person has to say that they are the same people.
- Equal tokens show that people are known already: tokens are keyed hashes of the identity type and the identifier. Where
  they have rows under another population, a person has to say so too, and the table joins that population.
- Where each row is a person there is no identifier, so nothing of this can be seen: the same table under another name gets a
  budget of its own. The schema has to name its population.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Set
from dataclasses import dataclass, field
from functools import lru_cache

from sqlalchemy import Connection, select

from workbench.data import catalog
from workbench.data.bucket_file import TOKEN
from workbench.data.identity import canonical, identify
from workbench.data.ingest_table import KeyRing
from workbench.data.store import SPLITS, Store
from workbench.erasure.free_text import NAMES_SOMEBODY, parts_of, refuse_names
from workbench.errors import DamagedError, InputError
from workbench.privacy.holds import state
from workbench.schema import Schema
from workbench.schema.schema import ROW_SUBJECT
from workbench.state.roles import internal
from workbench.state.tables import budgets, charges, datasets
from workbench.state.workspace import Workspace

Place = tuple[str, str, int]  # a data set, a split and a bucket
Tokens = Callable[[int, int], Set[bytes]]  # of the subjects around an interval of shard points [low, high)
_WAY = "or, where they are the same people, --same-people --reason TEXT"


@dataclass(frozen=True)
class Joined:
    """A schema whose people are settled; `because` says what a person had to confirm for it."""

    schema: Schema
    because: tuple[str, ...] = ()
    checked: Mapping[Place, str] = field(default_factory=dict)


@internal
def check_reason(workspace: Workspace, reason: str | None) -> None:
    """Raise InputError for a reason that is empty, too long, or names a person in the data."""
    if reason is not None:
        if not reason.strip():
            raise InputError("--same-people needs a reason, which is kept", hint="--reason TEXT")
        refuse_names(workspace, reason, "the reason")


@internal
def name_people(connection: Connection, dataset: str, schema: Schema, *, confirmed: bool) -> Joined:
    """Return the schema with population and identity type as they are to be stored.

    Raises InputError where a name that the schema leaves out, or the case of one that it gives, is that of other people's rows
    and nobody confirmed that they are the same.
    """
    named, because = schema.named(dataset), []
    others = {name: catalog.entry(connection, name).schema for name in catalog.names(connection)}
    known = {"population": populations(connection), "identity_type": {one.identity_type for one in others.values()}}
    chosen: dict[str, str] = {}
    for what in ("population", "identity_type"):
        if what == "identity_type" and schema.subject == ROW_SUBJECT:
            continue  # no other data set may have it, see `ingest`
        value, is_written = getattr(named, what), bool(getattr(schema, what))
        holders = sorted(name for name, one in others.items() if getattr(one, what) == value)
        alike = _alike(value, known[what])
        if value in alike and (is_written or not holders):
            continue
        if not alike:
            continue
        found = value if value in alike else alike[0]
        term = what.replace("_", " ")
        if not confirmed or (len(alike) > 1 and value not in alike):
            about = f"of data set {', '.join(holders)}" if holders else f"written {found!r}"
            raise InputError(
                f"{term} {value!r} is {'not written in the schema, and ' if not is_written else ''}in use already, {about}; "
                "nothing was stored",
                hint=f"take another name, or write {what} in the schema; {_WAY}",
            )
        chosen[what] = found
        because.append(f"{term} {found}")
    return Joined(named.model_copy(update=chosen), tuple(because))


@internal
def refuse_other_case(connection: Connection, population: str) -> None:
    """Raise InputError where a population is known under a name that differs from this one in case alone."""
    alike = _alike(population, populations(connection))
    if alike and population not in alike:
        raise InputError(
            f"population {population!r} is in use already, written {alike[0]!r}; nothing was changed",
            hint=f"write {alike[0]}, or take a name that differs by more than case",
        )


def _alike(name: str, known: Collection[str]) -> list[str]:
    """The known names that differ from this one in case at most."""
    return sorted(other for other in known if other.casefold() == name.casefold())


@internal
def join_people(
    connection: Connection, workspace: Workspace, dataset: str, joined: Joined, tokens: Tokens, *, confirmed: bool
) -> Joined:
    """Return the schema in the population that the people of the table have already, if any; `tokens` are theirs.

    Places that `joined.checked` has seen are skipped, so that a transaction can look again at what was written since.
    Raises InputError where they are known under another population and no person confirmed it, or where the population of the
    schema has rows already: then only a schema with the right one gives them one budget.
    """
    schema, checked = joined.schema, dict(joined.checked)
    if schema.subject == ROW_SUBJECT:
        return joined
    found: dict[str, list[str]] = {}
    for name in catalog.names(connection):
        other = catalog.entry(connection, name).schema
        is_apart = other.identity_type == schema.identity_type and other.population != schema.population
        may_share = name != dataset and is_apart and other.subject != ROW_SUBJECT
        if may_share and _shares(connection, workspace, name, tokens, checked):
            found.setdefault(other.population, []).append(name)
    if not found:
        return Joined(schema, joined.because, checked)
    places = [f"population {population} in data set {', '.join(sets)}" for population, sets in found.items()]
    is_added = dataset in catalog.names(connection)  # rows for a data set: its population stays
    has_others = not is_added and schema.population in populations(connection, of_rows=True)
    if not confirmed or has_others or (len(found) > 1 and not is_added):
        raise InputError(
            f"people of data set {dataset} are in {'; '.join(places)} already, and would get a second budget under population "
            f"{schema.population}{', which has rows of other tables' if has_others else ''}; nothing was stored",
            hint=_way_out(list(found), may_confirm=not has_others),
        )
    if not is_added:
        schema = schema.model_copy(update={"population": next(iter(found))})
    return Joined(schema, tuple(dict.fromkeys((*joined.because, *places))), checked)


def _way_out(found: list[str], *, may_confirm: bool) -> str:
    if len(found) > 1:
        way = "take them in as tables of their own, each with the population that its people have"
    else:
        way = f"write population: {found[0]} in the schema{f', {_WAY}' if may_confirm else ''}"
    return f"{way}; other people with the same numbers need an identity_type of their own"


@internal
def refuse_unknown(connection: Connection, dataset: str, joined: Joined, reason: str | None) -> None:
    """Raise InputError where a person said that they are known people and nothing shows it: they would get a second budget."""
    if reason is not None and not joined.because and not _others(connection, dataset, joined.schema.population):
        raise InputError(
            "nothing shows that these are people whom the workspace knows: no data set has their identifiers or that "
            "population; nothing was stored",
            hint="write population and identity_type of the other data set in the schema",
        )


@internal
def record_people(connection: Connection, dataset: str, joined: Joined, reason: str | None) -> None:
    """Record what was confirmed with its reason, in the caller's write transaction; raise as `refuse_unknown` does."""
    refuse_unknown(connection, dataset, joined, reason)
    if reason is None:
        return
    state(
        connection,
        "same_people",
        population=joined.schema.population,
        about=dataset,
        text=f"the people of data set {dataset} are those of {'; '.join(joined.because) or joined.schema.population}",
        reason=reason.strip(),
    )


@internal
def refuse_names_in(ring: KeyRing, tokens: Tokens, reason: str | None) -> None:
    """Raise InputError where a reason names a person of the table that is taken in."""
    parts = sorted({canonical(part) for part in parts_of(reason or "")} - {""})
    if not parts:
        return
    found = identify(parts, identity_type=ring.identity_type, token_key=ring.token, placement_key=ring.placement)
    pairs = zip(found.tokens, found.points.tolist(), strict=True)
    if any(token in tokens(point, point + 1) for token, point in pairs):
        raise InputError(f"the reason {NAMES_SOMEBODY}", hint="say it without identifiers")


@internal
def populations(connection: Connection, *, of_rows: bool = False) -> set[str]:
    """Every population that has rows, a budget or a charge; or rows."""
    tables = (datasets,) if of_rows else (datasets, budgets, charges)
    return {name for table in tables for name in connection.execute(select(table.c.population).distinct()).scalars()}


@internal
def tokens_of(store: Store, *, before: Store | None = None) -> Tokens:
    """Return the tokens of a store by interval of shard points, without those that it had `before`, of as many buckets.

    Those of whole buckets are returned: a few more than the interval has.
    """

    @lru_cache(maxsize=1)  # intervals are looked at in order
    def of_buckets(first: int, last: int) -> frozenset[bytes]:
        found = (_tokens(store, b) - (_tokens(before, b) if before else frozenset()) for b in range(first, last + 1))
        return frozenset().union(*found)

    return lambda low, high: of_buckets(store.bucket_at(low), store.bucket_at(high - 1))


def _tokens(store: Store, bucket: int) -> frozenset[bytes]:
    tables = [store.bucket(split, bucket) for split in SPLITS]
    return frozenset(token for table in tables if table is not None for token in table[TOKEN].to_pylist())


def _shares(connection: Connection, workspace: Workspace, name: str, tokens: Tokens, checked: dict[Place, str]) -> bool:
    """Whether a data set holds any of the tokens; adds the files that it looked at to `checked`."""
    store = catalog.store(connection, workspace, name)
    places = [(place, digest) for place, digest in store.digests.items() if checked.get((name, *place)) != digest]
    for (split, bucket), digest in sorted(places, key=lambda one: one[0][1]):
        while True:
            try:
                table = store.bucket(split, bucket)
                break
            except DamagedError:  # or an erasure replaced it under the reader
                before, store = store, catalog.store(connection, workspace, name)
                if store.digests == before.digests:
                    raise
        if table is not None and not tokens(*store.interval_of(bucket)).isdisjoint(table[TOKEN].to_pylist()):
            return True
        checked[name, split, bucket] = digest
    return False


def _others(connection: Connection, dataset: str, population: str) -> Collection[str]:
    mine = (datasets.c.population == population) & (datasets.c.name != dataset)
    return list(connection.execute(select(datasets.c.name).where(mine)).scalars())
