"""What constituents say of the holdout, remembered while the process lives: an erasure changes one of them, not all.

Nothing is written. What is remembered is found by the digests of the records and of the model, so it can't be out of date.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
import numpy.typing as npt

from workbench.config import TrainConfig, stored_config
from workbench.data.dataset import Dataset
from workbench.data.objects import Objects
from workbench.sisa.ensemble import Manifest, usable
from workbench.sisa.task import task_of
from workbench.sisa.training import learner_of
from workbench.state.atomic_files import sha256
from workbench.state.roles import internal

Votes = npt.NDArray[np.float64]

MOST_BYTES = 2**28

_known: OrderedDict[tuple[str, str, str], Votes] = OrderedDict()
_lock = threading.Lock()


@internal
def votes_of(manifest: Manifest, objects: Objects, records: Dataset, *, remember: bool = True) -> list[Votes]:
    """The vote [n, K] of each constituent that is not empty on the features of `records`.

    Not to `remember` them is for people that the ensemble learnt from.
    """
    content = sha256(np.ascontiguousarray(records.features).tobytes())
    task, learner = task_of(records.schema), learner_of(stored_config(manifest.config, TrainConfig))
    votes = []
    for constituent in usable(manifest, ()):
        digest = str(constituent.digest)
        key = (content, manifest.schema, digest)
        with _lock:
            vote = _known.pop(key, None)
        if vote is None:
            vote = learner.predict(objects.get(digest), records.features, task=task)
        if remember:
            _remember(key, vote)
        votes.append(vote)
    return votes


def _remember(key: tuple[str, str, str], vote: Votes) -> None:
    with _lock:
        _known[key] = vote
        size = sum(known.nbytes for known in _known.values())
        while size > MOST_BYTES:
            size -= _known.popitem(last=False)[1].nbytes
