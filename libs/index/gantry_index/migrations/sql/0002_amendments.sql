-- Decisions about studies, applied; truth lies in the bucket under a/.

CREATE TABLE amendment (
    partition  text COLLATE "C" NOT NULL,
    scope      text COLLATE "C" NOT NULL,       -- gantry_objectstore.keys.amendment_scope of the study
    revision   integer NOT NULL,
    study_uid  text COLLATE "C" NOT NULL,
    kind       smallint NOT NULL,               -- gantry.amendment.v1.AmendmentKind
    principal  text NOT NULL,
    reason     text NOT NULL,
    made_at    timestamptz NOT NULL,
    undone_by  integer,                         -- revision of the one that undoes it
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (partition, scope, revision)
);

-- Received objects that are not shown; whether their receptions have been seen here or not.
CREATE TABLE hidden (
    object_key text COLLATE "C" PRIMARY KEY,
    partition  text COLLATE "C" NOT NULL,
    study_uid  text COLLATE "C" NOT NULL,
    series_uid text COLLATE "C" NOT NULL,
    sop_uid    text COLLATE "C" NOT NULL,
    revision   integer NOT NULL
);
CREATE INDEX hidden_identity ON hidden (partition, study_uid, series_uid, sop_uid);
