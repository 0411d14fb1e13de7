-- Where objects lie that were moved to another store, known before or after their receptions; truth lies
-- in the bucket, in amendments. And the last day on which somebody looked at a study.

CREATE TABLE relocated (
    object_key text COLLATE "C" PRIMARY KEY,
    partition  text COLLATE "C" NOT NULL,
    study_uid  text COLLATE "C" NOT NULL,
    series_uid text COLLATE "C" NOT NULL,
    sop_uid    text COLLATE "C" NOT NULL,
    store_id   text COLLATE "C" NOT NULL
);
CREATE INDEX relocated_study ON relocated (partition, study_uid);

CREATE TABLE study_access (
    partition text COLLATE "C" NOT NULL,
    study_uid text COLLATE "C" NOT NULL,
    day       date NOT NULL,
    PRIMARY KEY (partition, study_uid)
);

-- A manifest names the store that an object was received into. What a replay brings in again is found
-- where it was moved to.
CREATE FUNCTION place_received() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE reception AS t SET store_id = l.store_id
    FROM fresh AS n JOIN relocated AS l ON l.object_key = n.object_key
    WHERE t.object_key = n.object_key AND t.store_id <> l.store_id;
    RETURN NULL;
END $$;

CREATE FUNCTION place_shown() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE instance AS t SET store_id = l.store_id
    FROM fresh AS n JOIN relocated AS l ON l.object_key = n.object_key
    WHERE t.study_pk = n.study_pk AND t.sop_uid = n.sop_uid AND t.store_id <> l.store_id;
    RETURN NULL;
END $$;

CREATE TRIGGER place_in AFTER INSERT ON reception
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION place_received();
CREATE TRIGGER place_in AFTER INSERT ON instance
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION place_shown();
