"""The schema of a table about people: whose table it is, what identifies a person, and each column's public domain."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import (
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from workbench.described import Described
from workbench.errors import InputError
from workbench.foreign import read_yaml
from workbench.schema.column import Column
from workbench.schema.constraints import Constraint, check_constraints
from workbench.schema.kinds.registry import KINDS

ROW_SUBJECT = "row"
MOST_BYTES = 2_000_000  # of a schema file: ten thousand columns are about one million
POPULATION = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class Holdout(Described):
    """Subjects that no generator or learner reads: a `share` of them, or the rows of a `file`; one of the two."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float | None = Field(default=None, gt=0, lt=1)
    """The part of the subjects that is held out, chosen by keyed hash."""
    file: str | None = None
    """A table that is held out whole, looked up beside the schema, then among the bundled data."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.share is None) == (self.file is None):
            raise ValueError("a holdout is either a share of the subjects or a file")
        return self


class Schema(Described):
    """Everything public about a table; frozen, and never silently read from the data."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    population: str = Field(default="", pattern=POPULATION)
    """Whose people these are. The population owns the privacy budget: two tables of the same people share one. Left out, it
    is the data set's name."""
    people: int | None = Field(default=None, ge=1)
    """About how many people they are, where that is public: a budget's delta above one over it is warned of."""
    identity_type: str = Field(default="", pattern=POPULATION)
    """What a request's key is, for example student-number; a request reaches every data set of its identity type. Left out,
    it is the data set's name with `-subject`."""
    subject: str
    """The column that holds a person's identifier, or `row` where each row is a person of its own."""
    max_rows_per_subject: int = Field(default=1, ge=1)
    """Most rows of one person. It bounds what one person can weigh, and so the noise of every count."""
    over_limit: Literal["reject", "drop"] = "reject"
    """What becomes of rows beyond it: the table is refused, or they are dropped."""
    row_key: tuple[str, ...] = ()
    """Columns that tell the rows of one person apart."""
    duplicates: Literal["reject", "drop"] = "reject"
    """What becomes of rows of one person that agree in the row key: the table is refused, or all but the first are dropped."""
    holdout: Holdout = Holdout(share=0.2)
    """Who is held out of all fitting and training, to measure on. Held-out people can be erased like all others."""
    null_values: tuple[str, ...] = ("",)
    """Texts that mean missing in a CSV file."""
    columns: dict[str, Column] = Field(min_length=1)
    """Each column by its name. What a table has beyond them is left out."""
    constraints: tuple[Constraint, ...] = ()
    """What is known of whole rows. Rows are checked against it, and generators take it as given."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        reserved = [name for name in self.columns if name.startswith("__") or not name.strip()]
        if reserved:
            raise ValueError(f"column names are blank or start with '__', which is reserved: {reserved}")
        subjects = [name for name, column in self.columns.items() if column.role == "subject_id"]
        expected = [] if self.subject == ROW_SUBJECT else [self.subject]
        if subjects != expected:
            raise ValueError(
                f"subject is {self.subject!r}, but the columns with role subject_id are {subjects}; they must agree"
            )
        if self.subject == ROW_SUBJECT and (self.max_rows_per_subject != 1 or self.row_key):
            raise ValueError(
                "with subject: row a person has one row: max_rows_per_subject is 1 and there is no row_key"
            )
        targets = [name for name, column in self.columns.items() if column.role == "target"]
        if len(targets) > 1:
            raise ValueError(f"at most one column can be the target, found {targets}")
        if targets and self.columns[targets[0]].missing:
            raise ValueError(f"target {targets[0]!r} cannot allow missing values")
        unknown = [name for name in self.row_key if name not in self.encoded]
        if unknown:
            raise ValueError(f"row_key names columns that are not stored: {unknown}")
        shadowed = [
            name for name, column in self.encoded.items() if set(column.categories or ()) & set(self.null_values)
        ]
        if shadowed:
            raise ValueError(f"categories of {shadowed} are also null_values: a text is either a category or missing")
        if not self.encoded:
            raise ValueError("no column is stored: every role is drop or subject_id")
        check_constraints(self.constraints, self.encoded, self.target)
        return self

    @model_serializer(mode="wrap")
    def _without_nothing(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # digests of schemas stand in manifests and certificates: they must not change for a field that is not used
        document: dict[str, Any] = inner(self)
        if not self.constraints:
            document.pop("constraints", None)
        if self.people is None:
            document.pop("people", None)
        return document

    @property
    def encoded(self) -> dict[str, Column]:
        """The columns that are stored and modelled, in order."""
        return {name: column for name, column in self.columns.items() if column.encoded}

    @property
    def target(self) -> str | None:
        """The name of the target column, if one is declared."""
        return next((name for name, column in self.columns.items() if column.role == "target"), None)

    @property
    def unreviewed(self) -> tuple[str, ...]:
        """Columns whose domain, or the subject's whose limit of rows, was read from data and never confirmed by a person."""
        declared = {name for name in self.columns if name == self.subject or name in self.encoded}
        return tuple(name for name, column in self.columns.items() if name in declared and not column.reviewed)

    def named(self, dataset: str) -> Schema:
        """Return the schema with the population and the identity type that it leaves out, after a data set's name."""
        identity_type = self.identity_type or f"{dataset}-subject"
        if not re.fullmatch(POPULATION, identity_type):
            raise InputError(
                f"the name {dataset!r} is too long to name an identity type after it",
                hint="at most 56 characters, or write identity_type in the schema",
            )
        return self.model_copy(update={"population": self.population or dataset, "identity_type": identity_type})

    def to_yaml(self) -> str:
        """The schema as a YAML document that `read_schema` accepts."""
        document = self.model_dump(mode="json", exclude_defaults=True)
        return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)

    def digest(self) -> str:
        """SHA-256 of the schema's canonical form, hexadecimal."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def _rebuild() -> None:
    """Build the schema's checks again, which hold those of columns."""
    Schema.model_rebuild(force=True)


KINDS.listen(_rebuild)


def parse_schema(document: Any, *, source: str) -> Schema:
    """A schema from a parsed YAML document; raises InputError listing every fault by its place in the document."""
    if not isinstance(document, dict):
        raise InputError(f"{source} is not a schema: expected a mapping of fields, found {type(document).__name__}")
    try:
        return Schema.model_validate(document)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'schema'}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        )
        raise InputError(
            f"{source} is not a valid schema: {faults}", hint="see configs/datasets/ for examples"
        ) from None


def read_schema(path: Path) -> Schema:
    """Reads a schema file; raises InputError where it is missing, not YAML, repeats a key or breaks a rule."""
    hint = "workbench schema infer FILE -o schema.yaml proposes one"
    document = read_yaml(path, most=MOST_BYTES, what="schema file", hint=hint)
    return parse_schema(document, source=str(path))
