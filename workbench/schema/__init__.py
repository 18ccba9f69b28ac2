"""What is public about a table: its columns, their declared domains, and the codec built from nothing else."""

from workbench.schema.codec import Codec, Violation
from workbench.schema.column import Column
from workbench.schema.schema import Holdout, Schema, read_schema
from workbench.schema.value_sets import Within

__all__ = ["Codec", "Column", "Holdout", "Schema", "Violation", "Within", "read_schema"]
