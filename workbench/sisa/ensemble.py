"""An ensemble as a manifest: which constituents, by digest, under which partition and aggregation rule."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.data.partition import Partition
from workbench.errors import InputError
from workbench.sisa.link import softmax
from workbench.state.atomic_files import sha256

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Constituent:
    """One shard's model: the digest of its checkpoint after each slice (None while the shard had no record yet).

    `generation` counts how often the shard was trained. `sizes` are the bytes of the checkpoints of a learner that grows:
    each is the beginning of the last one, which alone is stored.
    """

    shard: int
    generation: int
    checkpoints: tuple[str | None, ...]
    sizes: tuple[int, ...] = ()

    @property
    def digest(self) -> str | None:
        """The digest of the whole shard's model; None where the shard is empty and abstains."""
        return self.checkpoints[-1]

    def after(self, slice_number: int, read: Callable[[str], bytes]) -> bytes | None:
        """The checkpoint after a slice that is stored, by whatever reads a stored one by its digest."""
        digest = self.checkpoints[slice_number]
        if digest is None or not self.sizes:
            return None if digest is None else read(digest)
        return read(str(self.digest))[: self.sizes[slice_number]]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One version of an ensemble. `config` and `schema` (its digest) are what each constituent was trained under."""

    ensemble: str
    version: int
    dataset: str
    config: Mapping[str, Any]
    schema: str
    constituents: tuple[Constituent, ...]
    aggregation: str = "mean of probabilities"

    @property
    def id(self) -> str:
        """The version's name in the lineage."""
        return version_id(self.ensemble, self.version)

    @property
    def partition(self) -> Partition:
        """The partition the constituents were trained on."""
        return Partition(n_shards=int(self.config["shards"]), n_slices=int(self.config["slices"]))

    def successor(self, retrained: Mapping[int, Constituent]) -> Manifest:
        """The next version: `retrained` constituents in place of those of their shards, all others as they are."""
        constituents = tuple(retrained.get(c.shard, c) for c in self.constituents)
        return replace(self, version=self.version + 1, constituents=constituents)

    def silent(self, shards: Collection[int]) -> Manifest:
        """Return the same version with the constituents of these shards abstaining, as if they were empty."""
        nothing = (None,) * self.partition.n_slices
        kept = (replace(c, checkpoints=nothing, sizes=()) if c.shard in shards else c for c in self.constituents)
        return replace(self, constituents=tuple(kept))

    def files(self, constituent: Constituent, first: int | None = None) -> frozenset[str]:
        """Digests of a constituent's checkpoints that are stored; of those that training from slice `first` on needs."""
        last = len(constituent.checkpoints) - 1
        if constituent.sizes:
            needed = {constituent.digest} if first is None or any(constituent.sizes[:first]) else set()
        else:
            numbered = list(enumerate(constituent.checkpoints))[:first]
            kept = int(self.config.get("keep_every", 1))
            needed = {digest for number, digest in numbered if number == last or (number + 1) % kept == 0}
        return frozenset(digest for digest in needed if digest is not None)

    def restart(self, shard: int, slice_number: int) -> int:
        """The slice that training a shard begins with, where this one is to be trained again: the one before it is stored."""
        constituent = next(c for c in self.constituents if c.shard == shard)
        return (
            slice_number if constituent.sizes else slice_number - slice_number % int(self.config.get("keep_every", 1))
        )

    def objects(self) -> frozenset[str]:
        """Digests of every stored checkpoint that the version needs."""
        return frozenset(d for c in self.constituents for d in self.files(c))

    def checkpoints(self) -> frozenset[str]:
        """Digests of all checkpoints, those that are the beginning of a stored one and those only known included."""
        return frozenset(d for c in self.constituents for d in c.checkpoints if d is not None)

    def to_bytes(self) -> bytes:
        """Canonical JSON; its SHA-256 is the version's digest."""
        # as manifests were written when no learner's checkpoints were parts of each other, where they are not
        constituents = [{k: v for k, v in c.__dict__.items() if k != "sizes" or v} for c in self.constituents]
        document = self.__dict__ | {"constituents": constituents}
        return json.dumps(document, sort_keys=True, separators=(",", ":"), default=dict).encode()

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical form."""
        return sha256(self.to_bytes())


def version_id(ensemble: str, version: int) -> str:
    """The lineage name of an ensemble's version."""
    return f"{ensemble}@{version}"


def constituent_id(ensemble: str, constituent: Constituent) -> str:
    """The lineage name of a constituent: shard and generation."""
    return f"{ensemble}/shard-{constituent.shard}.{constituent.generation}"


def parse_manifest(content: bytes) -> Manifest:
    """The manifest that `to_bytes` wrote; raises InputError for anything else."""
    try:
        document = json.loads(content)
        constituents = tuple(
            Constituent(
                shard=int(c["shard"]),
                generation=int(c["generation"]),
                checkpoints=tuple(None if d is None else str(d) for d in c["checkpoints"]),
                sizes=tuple(int(size) for size in c.get("sizes", ())),
            )
            for c in document.pop("constituents")
        )
        manifest = Manifest(**document, constituents=constituents)
        if manifest.config.get("learner") == "gradient_boosting" and "category_smoothing" not in manifest.config:
            raise ValueError  # of before thresholds were public: its trees read numbers where today's read codes
        return manifest
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            "an ensemble's manifest is damaged or of an earlier version", hint="restore the workspace from a backup"
        ) from None


def aggregate(votes: Sequence[Floats], rule: str) -> Floats:
    """What the constituents say together, from the probabilities [n, K] (or values [n, 1]) of each; each has one vote.

    `mean of probabilities`: their mean, of values too. `mean of logits`: the mean of their logarithms, made to sum to 1 again;
    a probability below 1e-6 counts as that. `majority`: the share of constituents for which a class is the likeliest. Where
    two classes are level, in a constituent or among them, the one that the schema lists first is taken. Raises InputError for
    any other rule.
    """
    if rule not in _RULES:
        raise InputError(f"unknown rule of aggregation {rule!r}", hint=f"known: {', '.join(_RULES)}")
    return _RULES[rule](np.asarray(votes))


def _mean(votes: Floats) -> Floats:
    mean: Floats = np.mean(votes, axis=0)
    return mean


def _mean_of_logits(votes: Floats) -> Floats:
    return softmax(np.log(votes.clip(_LEAST_PROBABILITY)).mean(axis=0))


def _majority(votes: Floats) -> Floats:
    return _mean(np.eye(votes.shape[2])[votes.argmax(axis=2)])


_LEAST_PROBABILITY = 1e-6  # one constituent that finds a class impossible must not overrule all others
_RULES: Mapping[str, Callable[[Floats], Floats]] = {
    "mean of probabilities": _mean,
    "mean of logits": _mean_of_logits,
    "majority": _majority,
}


def usable(manifest: Manifest, quarantined: Collection[int]) -> tuple[Constituent, ...]:
    """The constituents that may answer: not empty, and of no quarantined shard."""
    return tuple(c for c in manifest.constituents if c.digest is not None and c.shard not in quarantined)
