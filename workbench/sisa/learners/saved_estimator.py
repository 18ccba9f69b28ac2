"""A fitted scikit-learn estimator as bytes: skops' format with all that comes by chance taken out.

skops writes memory addresses as ids and file names, and a tree's nodes with whatever lay in their unused bytes. Here files
are named by their content, ids are left out (nothing is shared then) and unused bytes are zero: equal models, equal bytes.
What no prediction needs of a node, such as how many rows were in it, is zero too.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
import numpy.typing as npt
from skops import __version__ as skops_version
from skops.io import loads
from skops.io._utils import SaveContext, get_state

from workbench.errors import DamagedError
from workbench.state.atomic_files import sha256

NodeTable = npt.NDArray[np.void]

_SCHEMA = "schema.json"
_COMPRESSION = 1
_UNASKED = {"impurity", "n_node_samples", "weighted_n_node_samples", "gain", "count"}
_END = b"PK\x05\x06"
_END_BYTES = 22


def to_bytes(estimator: Any) -> bytes:
    """A fitted estimator as bytes without pickle."""
    schema, files = _dumped(estimator)
    arrays = {name: _canonical_array(content) for name, content in files.items()}
    names = {name: f"{sha256(content)}.npy" for name, content in arrays.items()}
    entries = {names[name]: content for name, content in arrays.items()}
    entries[_SCHEMA] = json.dumps(_without_ids(schema, names), sort_keys=True, separators=(",", ":")).encode()
    sink = io.BytesIO()
    with ZipFile(sink, "w") as archive:
        for name in sorted(entries):
            entry = ZipInfo(name)  # of 1980, and not of now
            entry.compress_type = ZIP_DEFLATED
            archive.writestr(entry, entries[name], compresslevel=_COMPRESSION)
    return sink.getvalue()


def _dumped(estimator: Any) -> tuple[Any, dict[str, bytes]]:
    """Return the schema and the arrays that skops' `dumps` writes, without the indented JSON that takes it most of its time."""
    with ZipFile(io.BytesIO(), "w") as archive:
        context = SaveContext(zip_file=archive)
        state = get_state(estimator, context)
        context.clear_memo()
        state |= {"protocol": context.protocol, "_skops_version": skops_version}
        return json.loads(json.dumps(state)), {name: archive.read(name) for name in archive.namelist()}


def from_bytes(model: bytes, kind: type, trusted: Sequence[str]) -> Any:
    """The estimator, of the kind asked for; raises DamagedError for anything else, and for types that are not trusted."""
    try:
        whole = model[-_END_BYTES:].startswith(_END)  # zip itself would put up with more behind it
        estimator = loads(model, trusted=trusted) if whole else None
        sound = type(estimator) is kind and all(map(_leads_to_leaves, _node_tables(estimator)))
    except Exception:  # skops has no error of its own for what is damaged
        sound = False
    if not sound:
        raise DamagedError(f"a checkpoint is not a {kind.__name__} in skops' form", hint="train the ensemble again")
    return estimator


def _node_tables(estimator: Any) -> Iterator[tuple[int, NodeTable]]:
    """Of each tree, how many features it may ask for, and its nodes."""
    features = estimator.n_features_in_
    for tree in getattr(estimator, "estimators_", [estimator] if hasattr(estimator, "tree_") else []):
        yield features, tree.tree_.__getstate__()["nodes"]
    for stage in getattr(estimator, "_predictors", []):
        yield from ((features, predictor.nodes) for predictor in stage)


def _leads_to_leaves(tree: tuple[int, NodeTable]) -> bool:
    """Whether every node's children come after it and are there: compiled code follows them without looking."""
    features, nodes = tree
    boosted = "is_leaf" in (nodes.dtype.names or ())
    inner = np.flatnonzero(nodes["is_leaf"] == 0 if boosted else nodes["left_child"] != -1)
    names = ("left", "right", "feature_idx") if boosted else ("left_child", "right_child", "feature")
    left, right, feature = (nodes[name][inner].astype(np.int64) for name in names)
    children = np.concatenate([left - inner, right - inner])
    inside = (np.concatenate([left, right]) < len(nodes)).all() and ((feature >= 0) & (feature < features)).all()
    plain = not boosted or not nodes["is_categorical"].any()  # sets of categories lie elsewhere; none is asked for
    return bool(len(nodes) and (children > 0).all() and inside and plain)


def _without_ids(node: Any, names: Mapping[str, str]) -> Any:
    if isinstance(node, list):
        return [_without_ids(item, names) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _without_ids(value, names) for key, value in node.items() if key != "__id__"}
    return kept | {"file": names[node["file"]]} if node.get("__loader__") == "NdArrayNode" and "file" in node else kept


def _canonical_array(content: bytes) -> bytes:
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype.names is None:
        return content
    clean = np.zeros(array.shape, array.dtype)
    for field in set(array.dtype.names) - _UNASKED:
        clean[field] = array[field]
    if {"left_child", "missing_go_to_left"} <= set(array.dtype.names):
        clean["missing_go_to_left"][array["left_child"] < 0] = 0  # of a leaf, it is never set
    sink = io.BytesIO()
    np.save(sink, clean, allow_pickle=False)
    return sink.getvalue()
