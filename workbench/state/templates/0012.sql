CREATE TABLE actors (
	ref VARCHAR NOT NULL, 
	salt BLOB NOT NULL, 
	name VARCHAR, 
	PRIMARY KEY (ref)
);

CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE answers (
	"key" BLOB NOT NULL, 
	body BLOB NOT NULL, 
	answer JSON NOT NULL, 
	created VARCHAR NOT NULL, 
	PRIMARY KEY ("key")
);

CREATE TABLE appends (
	dataset VARCHAR NOT NULL, 
	digests JSON NOT NULL, 
	PRIMARY KEY (dataset)
);

CREATE TABLE artifacts (
	id VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	dataset VARCHAR NOT NULL, 
	digest VARCHAR, 
	path VARCHAR, 
	derived_from JSON NOT NULL, 
	body JSON NOT NULL, 
	created VARCHAR NOT NULL, 
	PRIMARY KEY (id)
);

CREATE TABLE buckets (
	dataset VARCHAR NOT NULL, 
	split VARCHAR NOT NULL, 
	bucket INTEGER NOT NULL, 
	digest VARCHAR NOT NULL, 
	next_digest VARCHAR, format INTEGER, 
	PRIMARY KEY (dataset, split, bucket)
);

CREATE TABLE budgets (
	population VARCHAR NOT NULL, 
	epsilon FLOAT NOT NULL, 
	delta FLOAT NOT NULL, ceiling FLOAT, 
	PRIMARY KEY (population)
);

CREATE TABLE callbacks (
	id VARCHAR NOT NULL, 
	request VARCHAR NOT NULL, 
	address BLOB NOT NULL, 
	told VARCHAR NOT NULL, 
	attempts INTEGER NOT NULL, 
	next_try FLOAT NOT NULL, 
	PRIMARY KEY (id)
);

CREATE TABLE "charges" (
	id INTEGER NOT NULL, 
	population VARCHAR NOT NULL, 
	dataset VARCHAR NOT NULL, 
	purpose VARCHAR NOT NULL, 
	event JSON NOT NULL, 
	scope JSON NOT NULL, 
	adjacency VARCHAR NOT NULL, 
	actor VARCHAR NOT NULL, 
	created VARCHAR NOT NULL, 
	identity_type VARCHAR, 
	uid VARCHAR NOT NULL, 
	PRIMARY KEY (id)
);

CREATE TABLE datasets (
	name VARCHAR NOT NULL, 
	population VARCHAR NOT NULL, 
	identity_type VARCHAR NOT NULL, 
	schema JSON NOT NULL, 
	ingest VARCHAR NOT NULL, 
	mlflow_run VARCHAR NOT NULL, 
	created VARCHAR NOT NULL, 
	policy JSON NOT NULL, bucket_bits INTEGER, 
	PRIMARY KEY (name)
);

CREATE TABLE erasures (
	id VARCHAR NOT NULL, 
	step VARCHAR NOT NULL, 
	state JSON NOT NULL, 
	created VARCHAR NOT NULL, 
	updated VARCHAR NOT NULL, 
	PRIMARY KEY (id)
);

CREATE TABLE holds (
	id VARCHAR NOT NULL, 
	at VARCHAR NOT NULL, 
	sequence INTEGER NOT NULL, 
	head VARCHAR NOT NULL, 
	known_until VARCHAR NOT NULL, 
	branch VARCHAR NOT NULL, 
	PRIMARY KEY (id)
);

CREATE TABLE jobs (
	id VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	config JSON NOT NULL, 
	status VARCHAR NOT NULL, 
	actor VARCHAR NOT NULL, 
	worker VARCHAR, 
	lease_until FLOAT NOT NULL, 
	cancel BOOLEAN NOT NULL, 
	progress FLOAT NOT NULL, 
	text VARCHAR NOT NULL, 
	result JSON NOT NULL, 
	created VARCHAR NOT NULL, 
	updated VARCHAR NOT NULL, detail JSON DEFAULT '{}' NOT NULL, 
	PRIMARY KEY (id)
);

CREATE TABLE journal (
	sequence INTEGER NOT NULL, 
	at VARCHAR NOT NULL, 
	actor VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	body JSON NOT NULL, 
	previous VARCHAR NOT NULL, 
	digest VARCHAR NOT NULL, 
	PRIMARY KEY (sequence)
);

CREATE TABLE quarantine (
	request VARCHAR NOT NULL, 
	dataset VARCHAR NOT NULL, 
	token BLOB NOT NULL, 
	point VARCHAR NOT NULL, 
	slice_point VARCHAR NOT NULL, 
	split VARCHAR NOT NULL, 
	PRIMARY KEY (request, dataset, token)
);

CREATE TABLE requests (
	id VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	identity_type VARCHAR NOT NULL, 
	commitment VARCHAR NOT NULL, 
	received VARCHAR NOT NULL, 
	completed VARCHAR, 
	certificate VARCHAR, 
	datasets JSON NOT NULL, 
	due VARCHAR NOT NULL, 
	actor VARCHAR NOT NULL, 
	approval VARCHAR NOT NULL, 
	reason VARCHAR, not_before VARCHAR, controller VARCHAR, 
	PRIMARY KEY (id)
);

CREATE TABLE statements (
	id VARCHAR NOT NULL, 
	at VARCHAR NOT NULL, 
	actor VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	population VARCHAR NOT NULL, 
	about VARCHAR NOT NULL, 
	text VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	PRIMARY KEY (id)
);

CREATE TABLE suppressions (
	token BLOB NOT NULL, 
	identity_type VARCHAR NOT NULL, 
	request VARCHAR NOT NULL, 
	PRIMARY KEY (token)
);

CREATE TABLE tokens (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	digest BLOB NOT NULL, 
	scopes JSON NOT NULL, 
	created VARCHAR NOT NULL, 
	expires VARCHAR NOT NULL, 
	revoked VARCHAR, 
	PRIMARY KEY (id), 
	UNIQUE (digest)
);

CREATE TABLE vault (
	request VARCHAR NOT NULL, 
	"key" BLOB NOT NULL, 
	box BLOB NOT NULL, 
	PRIMARY KEY (request)
);

CREATE UNIQUE INDEX charges_by_uid ON charges (uid);

CREATE INDEX ix_answers_created ON answers (created);

CREATE INDEX ix_artifacts_dataset ON artifacts (dataset);

CREATE INDEX ix_callbacks_request ON callbacks (request);

CREATE INDEX ix_charges_population ON charges (population);

CREATE INDEX quarantine_by_token ON quarantine (token);

INSERT INTO "alembic_version" VALUES ('0012');
