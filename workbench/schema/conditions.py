"""What a sampled row shall be: conditions as a person writes them, read by the declared domain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workbench.errors import InputError
from workbench.schema.codec import Codec
from workbench.schema.column import Column
from workbench.schema.encode import parse_value
from workbench.schema.value_sets import Within

__all__ = ["Within", "parse_where"]

_MISSING = "missing"
_FORMS = "COLUMN=VALUE, COLUMN=ONE|OTHER, COLUMN=LOW..HIGH (either end may be left out) or COLUMN=missing"


def parse_where(codec: Codec, texts: Sequence[str]) -> dict[str, Within]:
    """What free columns may be, from texts such as `sex=Female`, `age=30..39`, `work=Private|State-gov` or `x=missing`.

    Ranges include both ends. A condition on a determined column becomes one on the column that determines it.
    Raises InputError for unknown or repeated columns, values outside the domain, and conditions that no value meets.
    """
    conditions: dict[str, Within] = {}
    for text in texts:
        name, asked = _split(codec, text)
        if name in conditions:
            raise InputError(
                f"there are several conditions on {name!r}", hint="join values by |, as in COLUMN=ONE|OTHER"
            )
        conditions[name] = _parse(name, asked, codec.schema.columns[name])
    free = codec.on_free(conditions)
    for name, within in free.items():
        if not codec.cell_weights(name, within).any():
            raise InputError(
                f"no value of {name!r} meets the conditions on {sorted(conditions)}",
                hint="allow more values; a continuous column needs a range, as in COLUMN=LOW..HIGH",
            )
    return free


def _split(codec: Codec, text: str) -> tuple[str, str]:
    """The column a condition names, and what it asks of it; a column's own name may hold an equals sign."""
    known = [name for name in codec.names if text.startswith(f"{name}=")]
    if not known:
        named = text.partition("=")[0] if "=" in text else None
        found = "a condition without =" if named is None else f"a condition on {named!r}"
        raise InputError(f"found {found}; the columns are {list(codec.names)}", hint=_FORMS)
    name = max(known, key=len)
    return name, text[len(name) + 1 :].strip()


def _parse(name: str, asked: str, column: Column) -> Within:
    declared = column.categories or ()
    choices = [asked] if asked in declared else [choice.strip() for choice in asked.split("|")]
    missing = _MISSING in choices and _MISSING not in declared
    if missing and not column.missing:
        raise InputError(f"column {name!r} is never missing")
    values = [choice for choice in choices if not (missing and choice == _MISSING)]
    if column.is_coded:
        codes = [_value(name, value, column) for value in values]
        return Within(codes=frozenset(int(code) for code in codes), missing=missing)
    if len(values) > 1:
        raise InputError(f"a condition on the number {name!r} is one range", hint=_FORMS)
    if not values:
        return Within(missing=True)
    low, dots, high = (part.strip() for part in values[0].partition(".."))
    if not dots:
        low = high = values[0]
    first = _value(name, low, column) if low or not dots else column.low
    last = _value(name, high, column) if high or not dots else column.high
    if first > last:
        raise InputError(f"the range asked of {name!r} is reversed", hint="COLUMN=LOW..HIGH")
    return Within(low=first, high=last, missing=missing)


def _value(name: str, text: str, column: Column) -> float:
    value = parse_value(text, column)
    if np.isnan(value):
        raise InputError(
            f"a value asked of {name!r} lies outside its domain: {column.spec.domain_text(column)}", hint=_FORMS
        )
    return value
