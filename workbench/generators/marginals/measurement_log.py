"""The rows a marginal generator reads, and the notebook of everything it learns from them.

The two are the only way to the rows: what is in the notebook is differentially private, and all else is computed from it.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError
from workbench.generators.marginals.domain import Clique, Domain
from workbench.generators.marginals.estimate import Measurement
from workbench.generators.marginals.joint_counts import count_blocks
from workbench.privacy.mechanisms import choose, gaussian_counts, gaussian_sigma, selection_epsilon
from workbench.state.atomic_files import write_atomic

Codes = npt.NDArray[np.int64]
Weights = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Blocks:
    """Codes of one shard that are read block by block, each time they are counted: their memory does not grow with the rows."""

    read: Callable[[], Iterator[Codes]]


@dataclass(frozen=True, eq=False)
class Rows:
    """Codes [n, d] of `domain`, by shard (one, where the generator is not sharded).

    Of shards that are read by blocks, counts are kept, and all that are expected are taken when the first of them is asked for.

    The caller guarantees that all rows of a subject are in one shard, at most `per_subject` of them; nothing here can see
    subjects. Adding or removing a subject changes any marginal of its shard by non-negative counts that sum to at most
    `per_subject`, which is so both its L1 and its L2 sensitivity.
    """

    domain: Domain
    shards: tuple[Codes | Blocks, ...]
    per_subject: int
    _kept: dict[tuple[int, Clique], Codes] = field(default_factory=dict, init=False, repr=False)
    _expected: dict[Clique, None] = field(default_factory=dict, init=False, repr=False)

    def check(self) -> None:
        """Raise InputError where codes in memory lie outside the domain; those of blocks are checked as they are counted."""
        for shard in self.shards:
            if not isinstance(shard, Blocks):
                self.domain.check(shard)

    def expect(self, cliques: Sequence[Clique]) -> None:
        """Say which marginals may be asked for."""
        self._expected.update(dict.fromkeys(cliques))

    def count(self, clique: Sequence[str]) -> npt.NDArray[np.int64]:
        """Rows in each cell of the marginal of `clique`, by shard: int64 [shards, *shape]."""
        return np.stack([self._of_shard(shard, [tuple(clique)])[0] for shard in range(len(self.shards))])

    def counts(self, cliques: Sequence[Clique]) -> list[Codes]:
        """The marginal of each clique, of all shards together."""
        by_shard = [self._of_shard(shard, cliques) for shard in range(len(self.shards))]
        return [np.sum(tables, axis=0) for tables in zip(*by_shard, strict=True)]

    def noisy(self, clique: Clique, *, sigma: float, shards: Sequence[int]) -> dict[int, list[Any]]:
        """Noisy counts of some shards; they cost each subject there per_subject^2 / (2 sigma^2)."""
        return {shard: gaussian_counts(self._of_shard(shard, [clique])[0], sigma=sigma).tolist() for shard in shards}

    def _of_shard(self, shard: int, cliques: Sequence[Clique]) -> list[Codes]:
        """The marginals of one shard."""
        codes = self.shards[shard]
        if not isinstance(codes, Blocks):
            return list(self.domain.counts(codes, cliques))
        if any((shard, clique) not in self._kept for clique in cliques):
            asked = [c for c in dict.fromkeys([*self._expected, *cliques]) if (shard, c) not in self._kept]
            tables = count_blocks(self.domain, codes.read(), asked)
            self._kept.update({(shard, clique): table for clique, table in zip(asked, tables, strict=True)})
        return [self._kept[shard, clique] for clique in cliques]

    def grouped(self, groups: Sequence[Codes], domain: Domain) -> Rows:
        """The same rows in a smaller domain: `groups[i]` maps the cells of column i."""
        shards = (
            Blocks(partial(_grouped_blocks, groups, shard)) if isinstance(shard, Blocks) else _grouped(groups, shard)
            for shard in self.shards
        )
        return Rows(domain, tuple(shards), self.per_subject)


def _grouped(groups: Sequence[Codes], codes: Codes) -> Codes:
    # columns one after another in memory: they are counted one at a time
    return np.stack([group[column] for group, column in zip(groups, codes.T, strict=True)]).T if len(codes) else codes


def _grouped_blocks(groups: Sequence[Codes], shard: Blocks) -> Iterator[Codes]:
    return (_grouped(groups, block) for block in shard.read())


class UnusableNotesError(InputError):
    """The notes of a cut-off fit can't be gone on with: what they paid for is lost."""


class Notebook:
    """What a fit learnt from the rows, in order; with a `path`, each entry is durable before the fit goes on.

    Guarantees:
      - a fit that is repeated with the notebook of a cut-off one reads no rows for what is noted, and costs nothing more
      - what a mechanism costs is noted before it runs: one that was cut off is never run again (UnusableNotesError)
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._notes = _mended(path) if path is not None and path.exists() else []
        self._next = 0

    @staticmethod
    def write(path: Path, notes: Sequence[dict[str, Any]]) -> None:
        """Writes notes as a file that can be read again."""
        write_atomic(path, "".join(json.dumps(note) + "\n" for note in notes).encode())

    @property
    def measurements(self) -> list[dict[str, Any]]:
        """The measurements that are noted: clique, sigma, rho and `values` by shard."""
        return [note for note in self._notes if "values" in note]

    @property
    def spent(self) -> float:
        """The zCDP cost of all measurements and choices that are noted."""
        return float(sum(note.get("rho", 0.0) for note in self._notes))

    def measure(self, rows: Rows, clique: Clique, *, rho: float) -> Measurement:
        """The noisy marginal of all shards together, for `rho` (each shard has its own noise: parallel composition)."""
        sigma = gaussian_sigma(rho=rho, sensitivity=rows.per_subject)
        asked = {"clique": list(clique), "rho": rho, "sigma": sigma}
        everyone = range(len(rows.shards))
        note = self._noted(asked, lambda: {"values": list(rows.noisy(clique, sigma=sigma, shards=everyone).values())})
        _require(_shape(note.get("values")) == (len(rows.shards), *rows.domain.shape(clique)))
        return measurement_of(note)

    def choose(self, scores: Callable[[], Codes], *, among: int, rho: float, sensitivity: int) -> int:
        """The index of a high score `among` so many, for `rho`; a subject changes any score by at most `sensitivity`."""
        epsilon = selection_epsilon(rho=rho)
        note = self._noted({"rho": rho}, lambda: {"chosen": choose(scores(), epsilon=epsilon, sensitivity=sensitivity)})
        _require(type(note.get("chosen")) is int and 0 <= note["chosen"] < among)
        return int(note["chosen"])

    def train(self, asked: dict[str, Any], run: Callable[[], Weights]) -> Weights:
        """The weights that a training of the rows leaves; `asked` says what it costs, which is no zCDP and not in `spent`."""
        note = self._noted(asked, lambda: {"weights": {name: _packed(weight) for name, weight in run().items()}})
        return {name: _unpacked(packed) for name, packed in note["weights"].items()}

    def _noted(self, asked: dict[str, Any], run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        if self._next < len(self._notes):
            note = self._notes[self._next]
            if note.keys() == asked.keys():
                raise UnusableNotesError(
                    "a mechanism was cut off: what it read is paid for and lost", hint="fit anew, which charges anew"
                )
            if {key: note.get(key) for key in asked} != asked:
                raise UnusableNotesError("the notebook is of another fit", hint="fit anew, which charges anew")
        else:
            self._write(asked)
            note = asked | run()
            self._write(note)
            self._notes.append(note)
        self._next += 1
        return note

    def _write(self, note: dict[str, Any]) -> None:
        if self._path is None:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(note) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _require(is_sound: bool) -> None:
    if not is_sound:
        raise UnusableNotesError("the notes of the fit are damaged", hint="fit anew, which charges anew")


def _shape(values: object) -> tuple[int, ...] | None:
    """The shape of nested lists of whole numbers; None where they are none."""
    try:
        table = np.asarray(values)
    except ValueError:  # ragged
        return None
    return table.shape if table.dtype.kind == "i" else None


def _packed(weight: npt.NDArray[np.float32]) -> list[Any]:
    return [list(weight.shape), base64.b64encode(weight.astype("<f4").tobytes()).decode()]


def _unpacked(packed: list[Any]) -> npt.NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(packed[1]), dtype="<f4").reshape(packed[0])


def measurement_of(note: dict[str, Any]) -> Measurement:
    """A noted measurement: the sum of its shards, whose noise adds up."""
    values = np.asarray(note["values"], dtype=np.float64)
    return Measurement(tuple(note["clique"]), values.sum(axis=0), float(note["sigma"]) * len(values) ** 0.5)


def read_measurements(path: Path) -> tuple[dict[str, Any], ...]:
    """The measurements of a finished fit; raises InputError where the file is missing or damaged."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        notes = tuple(json.loads(line) for line in lines)
        if notes and all(len(note["values"]) == len(notes[0]["values"]) > 0 for note in notes):
            return notes
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise InputError(f"{path.name} is missing or damaged", hint="fit the generator again")


def _mended(path: Path) -> list[dict[str, Any]]:
    """The notes of a fit that was cut off: outcomes, and last an announcement whose outcome never came.

    A line that was cut off as it was written is taken out: what it announced never ran, or is the lost outcome.
    """
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        write_atomic(path, whole.encode())
    try:
        notes: list[dict[str, Any]] = [json.loads(line) for line in whole.splitlines()]
        if notes and not isinstance(notes[-1], dict):
            raise ValueError
        return [note for note in notes[:-1] if len(note.keys() & {"values", "chosen", "weights"})] + notes[-1:]
    except (ValueError, AttributeError):
        raise UnusableNotesError(f"{path.name} is damaged", hint="fit anew, which charges anew") from None
