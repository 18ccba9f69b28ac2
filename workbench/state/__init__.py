"""The workspace database: requests, ledger, lineage and journal. It holds the truth; everything else mirrors it."""

from workbench.state.database import (
    HEAD,
    compact,
    create_database,
    disk_fault,
    has_tables,
    open_database,
    open_for_threads,
    reading,
    tell_faults,
    upgrading,
    writing,
)

__all__ = [
    "HEAD",
    "compact",
    "create_database",
    "disk_fault",
    "has_tables",
    "open_database",
    "open_for_threads",
    "reading",
    "tell_faults",
    "upgrading",
    "writing",
]
