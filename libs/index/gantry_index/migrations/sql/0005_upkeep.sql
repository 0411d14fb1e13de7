-- What the storage service finds and is asked to do. Operational state: it is lost with the index, and
-- the next scrub finds again what is still wrong.

ALTER TABLE finding
    ADD COLUMN evidence   jsonb,                          -- facts for people, none about a patient
    ADD COLUMN seen_at    timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN attempts   integer NOT NULL DEFAULT 0,     -- repairs that were tried
    ADD COLUMN trouble    text,                           -- why the last of them failed
    ADD COLUMN closed_at  timestamptz,
    ADD COLUMN closed_by  text,
    ADD COLUMN resolution text;
CREATE INDEX finding_open ON finding (partition, kind, id) WHERE closed_at IS NULL;
CREATE INDEX finding_object ON finding (object_key) WHERE object_key <> '';

-- Attempts before the last time that somebody had a quarantined object tried again.
ALTER TABLE reception ADD COLUMN earlier_attempts integer NOT NULL DEFAULT 0;

-- How far the scrub is: one row a day of manifests.
CREATE TABLE scrub_day (
    partition  text COLLATE "C" NOT NULL,
    day        text COLLATE "C" NOT NULL,               -- yyyy-mm-dd, as in the manifests' keys
    position   text COLLATE "C" NOT NULL DEFAULT '',    -- last manifest of an unfinished check
    begun_at   timestamptz,                             -- of the unfinished check
    checked_at timestamptz,                             -- begin of the last check that was finished
    PRIMARY KEY (partition, day)
);

-- What administrators want of the storage service, and what came of it.
CREATE TABLE storage_request (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind      text NOT NULL,
    partition text COLLATE "C" NOT NULL,
    arguments jsonb NOT NULL,
    principal text NOT NULL,
    made_at   timestamptz NOT NULL DEFAULT now(),
    ended_at  timestamptz,
    answer    jsonb,
    trouble   text
);
CREATE INDEX storage_request_waiting ON storage_request (id) WHERE ended_at IS NULL;
