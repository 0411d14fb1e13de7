-- The index: everything here can be rebuilt from the object store.
-- Features common to PostgreSQL 15-18. `uid` columns compare bytewise.

CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS btree_gin;
CREATE EXTENSION IF NOT EXISTS unaccent;

-- One row per received object: its verdict. States are gantry.index.v1.VerdictState.
CREATE TABLE reception (
    object_key          text COLLATE "C" PRIMARY KEY,
    partition           text COLLATE "C" NOT NULL,
    store_id            text COLLATE "C" NOT NULL,
    order_key           text COLLATE "C" NOT NULL,
    study_uid           text COLLATE "C" NOT NULL,
    series_uid          text COLLATE "C" NOT NULL,
    sop_uid             text COLLATE "C" NOT NULL,
    sop_class_uid       text COLLATE "C" NOT NULL,
    transfer_syntax_uid text COLLATE "C" NOT NULL,
    size                bigint NOT NULL,
    meta_length         integer NOT NULL,
    data_set_digest     bytea NOT NULL,
    state               smallint NOT NULL,
    survivor_key        text COLLATE "C",
    reason              text,
    attempts            integer NOT NULL DEFAULT 0,
    replaces            boolean NOT NULL DEFAULT false,   -- policy of its source: replace, not keep-first
    frame_table         bytea,                      -- kept here while the instance row is another's
    source              bytea NOT NULL,             -- gantry.reception.v1.Source
    received_at         timestamptz NOT NULL,
    decided_at          timestamptz
);
-- Every reception of one instance: the winner is decided among them.
CREATE INDEX reception_identity ON reception (partition, sop_uid, study_uid);
CREATE INDEX reception_state ON reception (state, decided_at) WHERE state <> 2;

CREATE TABLE patient (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partition   text COLLATE "C" NOT NULL,
    patient_id  text NOT NULL,
    issuer      text NOT NULL DEFAULT '',
    order_key   text COLLATE "C" NOT NULL,
    name        text,
    name_norm   text,
    birth_date  date,
    sex         text,
    UNIQUE (partition, patient_id, issuer)
);

-- Narrow search table of the study level; documents lie in study_document.
CREATE TABLE study (
    id                    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partition             text COLLATE "C" NOT NULL,
    study_uid             text COLLATE "C" NOT NULL,
    patient_pk            bigint REFERENCES patient (id),     -- NULL without a Patient ID
    order_key             text COLLATE "C" NOT NULL,          -- smallest of its instances
    study_date            date,
    study_time            time,
    accession_number      text,
    accession_issuer      text,
    patient_id            text,
    patient_issuer        text,
    patient_name          text,
    patient_name_norm     text,        -- see gantry_dicom.names: folded, all component groups
    patient_birth_date    date,
    patient_sex           text,
    referring_name_norm   text,
    study_id              text,
    study_description     text,
    -- aggregates: only incremented and united by inserts, recounted under a lock otherwise
    series_count          integer NOT NULL DEFAULT 0,
    instance_count        integer NOT NULL DEFAULT 0,
    modalities            text[] NOT NULL DEFAULT '{}',
    sop_classes           text[] NOT NULL DEFAULT '{}',
    version               bigint NOT NULL DEFAULT 1,          -- rises with every change below the study
    first_received_at     timestamptz NOT NULL,
    updated_at            timestamptz NOT NULL,
    UNIQUE (partition, study_uid)
) WITH (fillfactor = 75);                                     -- room for counting in place
CREATE INDEX study_newest ON study (partition, study_date DESC NULLS LAST, order_key DESC);
CREATE INDEX study_patient ON study (partition, patient_id);
CREATE INDEX study_patient_pk ON study (patient_pk);
CREATE INDEX study_accession ON study (partition, accession_number);
CREATE INDEX study_name_prefix ON study (partition, patient_name_norm text_pattern_ops);
CREATE INDEX study_name_infix ON study USING gin (patient_name_norm gin_trgm_ops);
CREATE INDEX study_referring ON study USING gin (referring_name_norm gin_trgm_ops);
CREATE INDEX study_description_infix ON study USING gin (study_description gin_trgm_ops);

CREATE TABLE study_document (
    study_pk bigint PRIMARY KEY REFERENCES study (id) ON DELETE CASCADE,
    document bytea NOT NULL,
    extra    bytea NOT NULL
);

-- Side table for "modality, newest first": one row per study and modality.
CREATE TABLE study_modality (
    partition  text COLLATE "C" NOT NULL,
    modality   text COLLATE "C" NOT NULL,
    study_date date,
    order_key  text COLLATE "C" NOT NULL,
    study_pk   bigint NOT NULL REFERENCES study (id) ON DELETE CASCADE,
    PRIMARY KEY (study_pk, modality)
);
CREATE INDEX study_modality_newest
    ON study_modality (partition, modality, study_date DESC NULLS LAST, order_key DESC, study_pk);

CREATE TABLE series (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    study_pk           bigint NOT NULL REFERENCES study (id) ON DELETE CASCADE,
    partition          text COLLATE "C" NOT NULL,
    series_uid         text COLLATE "C" NOT NULL,
    order_key          text COLLATE "C" NOT NULL,
    modality           text COLLATE "C",
    series_number      integer,
    series_description text,
    body_part_examined text,
    pps_start_date     date,
    pps_start_time     time,
    -- Scheduled Procedure Step IDs and Requested Procedure IDs of Request Attributes Sequence
    scheduled_step_ids      text[] NOT NULL DEFAULT '{}',
    requested_procedure_ids text[] NOT NULL DEFAULT '{}',
    instance_count     integer NOT NULL DEFAULT 0,
    version            bigint NOT NULL DEFAULT 1,
    updated_at         timestamptz NOT NULL,
    UNIQUE (study_pk, series_uid)
) WITH (fillfactor = 75);
CREATE INDEX series_uid ON series (partition, series_uid);
CREATE INDEX series_modality ON series (partition, modality);

CREATE TABLE series_document (
    series_pk bigint PRIMARY KEY REFERENCES series (id) ON DELETE CASCADE,
    document  bytea NOT NULL,
    extra     bytea NOT NULL
);

-- Immutable: the metadata and the QIDO-RS answers of one chunk's instances of one series.
CREATE TABLE segment (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    series_pk       bigint NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    encoder_version integer NOT NULL,
    instance_count  integer NOT NULL,
    metadata        bytea NOT NULL,     -- zlib over the concatenated metadata objects
    documents       bytea NOT NULL,     -- zlib over the concatenated instance documents
    -- zlib over the distinct study and series values of these instances, primed with the
    -- metadata: what a recount needs when another instance becomes the first of its study
    levels          bytea NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE segment ALTER COLUMN metadata SET STORAGE EXTERNAL;
ALTER TABLE segment ALTER COLUMN documents SET STORAGE EXTERNAL;
ALTER TABLE segment ALTER COLUMN levels SET STORAGE EXTERNAL;
CREATE INDEX segment_series ON segment (series_pk);

CREATE TABLE instance (
    study_pk            bigint NOT NULL,      -- its series' study; the series' reference is enough
    sop_uid             text COLLATE "C" NOT NULL,
    series_pk           bigint NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    partition           text COLLATE "C" NOT NULL,
    sop_class_uid       text COLLATE "C" NOT NULL,
    instance_number     integer,
    order_key           text COLLATE "C" NOT NULL,
    object_key          text COLLATE "C" NOT NULL,   -- of the reception that is INDEXED; found by that row
    store_id            text COLLATE "C" NOT NULL,
    size                bigint NOT NULL,
    meta_length         integer NOT NULL,
    data_set_digest     bytea NOT NULL,
    transfer_syntax_uid text COLLATE "C" NOT NULL,
    content_date_time   timestamp,
    rows                integer,
    columns             integer,
    bits_allocated      integer,
    number_of_frames    integer,
    frame_table         bytea NOT NULL,       -- gantry_dicom.frames: one range read a frame
    -- Written with its segment and never moved to an older one, so nothing is gained by a check
    -- that costs an eighth of the insert; the auditor looks for segments that are not there.
    segment_pk          bigint NOT NULL,
    metadata_offset     integer NOT NULL,
    metadata_length     integer NOT NULL,
    document_offset     integer NOT NULL,
    document_length     integer NOT NULL,
    level_offset        integer NOT NULL,
    level_length        integer NOT NULL,
    received_at         timestamptz NOT NULL,
    PRIMARY KEY (study_pk, sop_uid)
);
CREATE INDEX instance_series ON instance (series_pk, instance_number, sop_uid);
CREATE INDEX instance_sop ON instance (partition, sop_uid);

-- What a human should look at: conflicts, mixed patients, a UID in two places.
CREATE TABLE finding (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partition   text COLLATE "C" NOT NULL,
    kind        text NOT NULL,
    study_uid   text COLLATE "C" NOT NULL,
    series_uid  text COLLATE "C" NOT NULL DEFAULT '',
    sop_uid     text COLLATE "C" NOT NULL DEFAULT '',
    object_key  text COLLATE "C" NOT NULL DEFAULT '',
    detail      text NOT NULL DEFAULT '',
    found_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (partition, kind, study_uid, series_uid, sop_uid, object_key)
);

-- Events leave by the transaction that made them true; one relay moves them to the stream.
CREATE TABLE outbox (
    sequence   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payload    bytea NOT NULL,             -- gantry.events.v1.IndexEvent without its sequence
    created_at timestamptz NOT NULL DEFAULT now()
);
