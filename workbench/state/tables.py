"""The tables of the workspace database."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table

metadata = MetaData()

datasets = Table(
    "datasets",
    metadata,
    Column("name", String, primary_key=True),
    Column("population", String, nullable=False),
    Column("identity_type", String, nullable=False),
    Column("schema", JSON, nullable=False),
    Column("ingest", String, nullable=False),  # random; binds row keys to this ingest
    Column("mlflow_run", String, nullable=False),
    Column("created", String, nullable=False),
    Column("policy", JSON, nullable=False),
    Column("bucket_bits", Integer),  # empty: 6, as in format 1
)

buckets = Table(
    "buckets",
    metadata,
    Column("dataset", String, primary_key=True),
    Column("split", String, primary_key=True),
    Column("bucket", Integer, primary_key=True),
    Column("digest", String, nullable=False),
    Column("next_digest", String),  # while an earlier release replaced the file; empty: while it removed it
    Column("format", Integer),  # 2: the file is named by its digest; empty: by its place
)

# Rows being added to a data set: what its bucket files are about to become; a row goes when they are all in place.
appends = Table(
    "appends",
    metadata,
    Column("dataset", String, primary_key=True),
    Column("digests", JSON, nullable=False),
)

budgets = Table(
    "budgets",
    metadata,
    Column("population", String, primary_key=True),
    Column("epsilon", Float, nullable=False),
    Column("delta", Float, nullable=False),
    Column("ceiling", Float),  # the most that was promised before the first charge; set by then
)

charges = Table(
    "charges",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("population", String, nullable=False, index=True),
    Column("dataset", String, nullable=False),
    Column("purpose", String, nullable=False),
    Column("event", JSON, nullable=False),
    Column("scope", JSON, nullable=False),
    Column("adjacency", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("created", String, nullable=False),
    # The hash line of the scope: an identity type, and /INGEST where rows are subjects; empty: unknown, it counts for everybody
    Column("identity_type", String),
    Column("uid", String, nullable=False),  # the same in every copy of the workspace
    Index("charges_by_uid", "uid", unique=True),
)

# A restore that could not read what was charged since its backup: every population counts as wholly spent until it is lifted.
holds = Table(
    "holds",
    metadata,
    Column("id", String, primary_key=True),
    Column("at", String, nullable=False),  # to the microsecond: a list that lifts it is newer
    Column("sequence", Integer, nullable=False),  # the last journal entry up to which all charges are known
    Column("head", String, nullable=False),
    Column("known_until", String, nullable=False),
    Column("branch", String, nullable=False),  # the digest of the last restore in the backup's journal, or empty
)

# What a person stated about a population, with the reason; the journal names the statement by its id.
statements = Table(
    "statements",
    metadata,
    Column("id", String, primary_key=True),
    Column("at", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("kind", String, nullable=False),  # nothing_charged | same_people | raised
    Column("population", String, nullable=False),  # empty: every population
    Column("about", String, nullable=False),  # the hold, or the data set
    Column("text", String, nullable=False),
    Column("reason", String, nullable=False),
)

journal = Table(
    "journal",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("at", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("body", JSON, nullable=False),
    Column("previous", String, nullable=False),
    Column("digest", String, nullable=False),
)

# Whom the journal means: it names them by `ref`, a hash of their name under a salt of its own. A name goes when a person of
# that name is erased; they are recognised still.
actors = Table(
    "actors",
    metadata,
    Column("ref", String, primary_key=True),
    Column("salt", LargeBinary, nullable=False),
    Column("name", String),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("dataset", String, nullable=False, index=True),
    Column("digest", String),
    Column("path", String),  # relative to the workspace
    Column("derived_from", JSON, nullable=False),
    Column("body", JSON, nullable=False),
    Column("created", String, nullable=False),
)

requests = Table(
    "requests",
    metadata,
    Column("id", String, primary_key=True),
    Column("status", String, nullable=False),
    Column("identity_type", String, nullable=False),
    Column("commitment", String, nullable=False),
    Column("received", String, nullable=False),
    Column("completed", String),
    Column("certificate", String),  # path relative to the workspace
    Column("datasets", JSON, nullable=False),
    Column("due", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("approval", String, nullable=False),  # none | waiting | given
    Column("reason", String),
    Column("not_before", String),  # the end of the window it was accepted in
    Column("controller", String),  # the party that asks; empty: the actor
)

# What an open request knows of its person, sealed under a key of its own; destroyed before the request completes.
vault = Table(
    "vault",
    metadata,
    Column("request", String, primary_key=True),
    Column("key", LargeBinary, nullable=False),
    Column("box", LargeBinary, nullable=False),
)

# Erasures under way: the last step done and what the next ones need; a row goes when its certificates are out.
erasures = Table(
    "erasures",
    metadata,
    Column("id", String, primary_key=True),
    Column("step", String, nullable=False),
    Column("state", JSON, nullable=False),
    Column("created", String, nullable=False),
    Column("updated", String, nullable=False),
)

# The one thing about a person that stays, on purpose: it refuses them at re-ingest and restore.
suppressions = Table(
    "suppressions",
    metadata,
    Column("token", LargeBinary, primary_key=True),
    Column("identity_type", String, nullable=False),
    Column("request", String, nullable=False),
)

# Whom an open request concerns; emptied when the request completes.
quarantine = Table(
    "quarantine",
    metadata,
    Column("request", String, primary_key=True),
    Column("dataset", String, primary_key=True),
    Column("token", LargeBinary, primary_key=True),
    Column("point", String, nullable=False),
    Column("slice_point", String, nullable=False),
    Column("split", String, nullable=False),
    Index("quarantine_by_token", "token"),
)

# Who may ask over HTTP, by a keyed hash of the secret; `name` is the controller that several tokens may stand for.
tokens = Table(
    "tokens",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("scopes", JSON, nullable=False),
    Column("created", String, nullable=False),
    Column("expires", String, nullable=False),
    Column("revoked", String),
)

# What was answered to an idempotency key, for a day: keyed hashes of the key and of the body, and an answer without its nonce.
answers = Table(
    "answers",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("answer", JSON, nullable=False),
    Column("created", String, nullable=False, index=True),
)

# Where a change of a request's status is to be told: the sealed address, the status told last, and when to try next.
callbacks = Table(
    "callbacks",
    metadata,
    Column("id", String, primary_key=True),
    Column("request", String, nullable=False, index=True),
    Column("address", LargeBinary, nullable=False),
    Column("told", String, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_try", Float, nullable=False),  # seconds of the clock
)

# Long work, and who is at it.
jobs = Table(
    "jobs",
    metadata,
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("config", JSON, nullable=False),
    Column("status", String, nullable=False),  # waiting | running | done | failed | cancelled
    Column("actor", String, nullable=False),
    Column("worker", String),
    Column("lease_until", Float, nullable=False),  # seconds of this machine's monotonic clock
    Column("cancel", Boolean, nullable=False),
    Column("progress", Float, nullable=False),
    Column("text", String, nullable=False),
    Column("detail", JSON, nullable=False, server_default="{}"),
    Column("result", JSON, nullable=False),
    Column("created", String, nullable=False),
    Column("updated", String, nullable=False),
)
