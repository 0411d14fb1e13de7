-- Index of the access records in the bucket: what is searched. The bucket is the truth, and this can be
-- made from it again by emptying the tables.

-- Up to where each writer's chain is indexed; its next batch lies under the number after that.
CREATE TABLE auth.audit_writers (
    writer_id  integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    writer     text NOT NULL UNIQUE,
    sequence   bigint NOT NULL,
    digest     bytea NOT NULL,
    closed     boolean NOT NULL
);

-- Which instances a record is about, only the bucket says.
CREATE TABLE auth.access_records (
    writer_id           integer NOT NULL REFERENCES auth.audit_writers,
    sequence            bigint NOT NULL,
    occurred_at         timestamptz NOT NULL,
    kind                text NOT NULL,
    principal           text NOT NULL,
    peer_address        text NOT NULL,
    partition           text NOT NULL,
    study_instance_uid  text NOT NULL,
    instance_count      integer NOT NULL,
    operation           text NOT NULL,
    outcome             text NOT NULL,
    traceparent         text NOT NULL,
    PRIMARY KEY (writer_id, sequence)
);
CREATE INDEX access_records_by_time ON auth.access_records (occurred_at, writer_id, sequence);
CREATE INDEX access_records_by_principal ON auth.access_records (principal, occurred_at);
CREATE INDEX access_records_by_study ON auth.access_records (study_instance_uid, occurred_at)
    WHERE study_instance_uid <> '';
CREATE INDEX access_records_by_kind ON auth.access_records (kind, occurred_at);

-- What was not as its writer left it when it was read.
CREATE TABLE auth.audit_problems (
    object_key  text NOT NULL,
    fault       text NOT NULL,
    what        text NOT NULL,
    found_at    timestamptz NOT NULL,
    PRIMARY KEY (object_key, fault)
);
