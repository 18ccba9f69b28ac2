"""Marginals counted file by file: the same as those of all rows in memory, in two passes however many there are."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from conftest import pupils
from hypothesis import given
from hypothesis import strategies as st

from workbench.data import store as stores
from workbench.data.bucket_file import Binner
from workbench.data.files import LocalFiles
from workbench.data.ingest_table import KeyRing, ingest_table
from workbench.data.store import Store
from workbench.generators.aim import Aim
from workbench.generators.marginals.domain import Domain
from workbench.generators.marginals.joint_counts import count_blocks, cover
from workbench.generators.marginals.table import MarginalGenerator, _rows
from workbench.schema import Codec, read_schema


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, pupils_files: tuple[Path, Path]) -> Store:
    folder, schema = tmp_path_factory.mktemp("store"), read_schema(pupils_files[0])
    (folder / "raw").mkdir()
    ring = KeyRing(b"t" * 32, b"p" * 32, "pupil-number", "i")
    taken = ingest_table("p", schema, [([pupils(200)], None)], ring, staging=folder / "raw", target=folder / "data")
    return Store("p", LocalFiles(folder / "data"), schema, taken.digests, taken.bits)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 9), st.data())
def test_tables_of_more_columns_sum_to_every_marginal(sizes: list[int], seed: int, data: st.DataObject) -> None:
    domain = Domain(tuple("abcdef"[: len(sizes)]), tuple(sizes))
    sets = [c for way in (1, 2, 3) for c in combinations(domain.names, way)]
    cliques = [tuple(reversed(c)) for c in data.draw(st.lists(st.sampled_from(sets), min_size=1, unique=True))]
    rng = np.random.default_rng(seed)
    blocks = [np.stack([rng.integers(0, size, n) for size in sizes], axis=1) for n in (5, 0, 17)]
    whole = np.concatenate(blocks)
    for found, clique in zip(count_blocks(domain, blocks, cliques), cliques, strict=True):
        np.testing.assert_array_equal(found, domain.count(whole, clique))
    assert len(cover(domain, cliques)) <= len(cliques)


@pytest.mark.parametrize("shards", [1, 3])
def test_a_store_is_counted_as_its_records_are(store: Store, shards: int) -> None:
    streamed, held = _rows(store, shards), _rows(store.read("train"), shards)
    for clique in combinations(held.domain.names, 2):
        np.testing.assert_array_equal(streamed.count(clique), held.count(clique))
    codec = Codec(store.schema)
    for table in store.tables("train", (0, 1 << 64)):
        values = np.column_stack([table[name].to_numpy().astype(float) for name in codec.names])
        np.testing.assert_array_equal(Binner(codec).bins(table), codec.bin_free(values))


def test_a_fit_reads_each_file_twice_and_no_other_split(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = stores.Store._bucket

    def noted(self: Store, split: str, *rest: object) -> object:
        read.append(f"{split}/{rest[0]}")
        return original(self, split, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(stores.Store, "_bucket", noted)
    fitted = MarginalGenerator(method=Aim(epsilon=3.0, delta=1e-5)).fit(store)
    assert abs(fitted.total - len(store.read("train"))) < 100
    files = [f"{split}/{bucket}" for split, bucket in store.digests if split == "train"]
    assert sorted(read[: 2 * len(files)]) == sorted(files * 2)
    assert len(read) == 3 * len(files), "the last is the comparison's own"
