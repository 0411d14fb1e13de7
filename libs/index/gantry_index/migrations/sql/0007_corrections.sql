-- Corrections, merges and moves that stand: they hold for every reception, whenever it comes.
-- Truth lies in the bucket under a/, as for every amendment.
CREATE TABLE correction (
    partition text COLLATE "C" NOT NULL,
    scope     text COLLATE "C" NOT NULL,       -- of the study or patient, as in the amendment's key
    revision  integer NOT NULL,
    amendment bytea NOT NULL,                  -- gantry.amendment.v1.Amendment
    PRIMARY KEY (partition, scope, revision)
);

-- Rises whenever the corrections of a partition change; no row where there never was one.
CREATE TABLE correction_state (
    partition text COLLATE "C" PRIMARY KEY,
    number    bigint NOT NULL
);

-- What the instances shown have been through: found again when a correction is undone.
CREATE TABLE corrected_object (
    object_key text COLLATE "C" NOT NULL,
    partition  text COLLATE "C" NOT NULL,
    scope      text COLLATE "C" NOT NULL,
    revision   integer NOT NULL,
    PRIMARY KEY (object_key, scope, revision)
);
CREATE INDEX corrected_object_correction ON corrected_object (partition, scope, revision);

-- Received objects whose instances are to be derived again, and for whom: the scope of an amendment,
-- or empty for a newer encoder.
CREATE TABLE renewal (
    object_key text COLLATE "C" NOT NULL,
    scope      text COLLATE "C" NOT NULL,
    partition  text COLLATE "C" NOT NULL,
    order_key  text COLLATE "C" NOT NULL,
    attempts   integer NOT NULL DEFAULT 0,
    PRIMARY KEY (object_key, scope)
);
CREATE INDEX renewal_scope ON renewal (partition, scope, order_key);

-- A corrected instance is read from a header of its own and the pixels of the received object, of
-- which the other columns go on telling.
ALTER TABLE instance
    ADD COLUMN header_key            text COLLATE "C",  -- see gantry_objectstore.corrected
    ADD COLUMN corrected_size        bigint,
    ADD COLUMN corrected_frame_table bytea;
-- A digest of the corrections in the segment, so that versions tell them apart.
ALTER TABLE segment ADD COLUMN corrections text COLLATE "C" NOT NULL DEFAULT '';
-- Where its identity as received is not the one it is shown under.
ALTER TABLE reception
    ADD COLUMN received_study_uid  text COLLATE "C",
    ADD COLUMN received_series_uid text COLLATE "C";

-- Rejections by administrators have no note that would have to be there: note_study_uid is empty,
-- note_sop_uid is scope and revision of the amendment.
CREATE OR REPLACE VIEW rejected_instance AS
SELECT i.study_pk, i.series_pk, i.sop_uid
FROM rejection r
JOIN study n ON n.partition = r.partition AND n.study_uid = r.note_study_uid
JOIN instance k ON k.study_pk = n.id AND k.sop_uid = r.note_sop_uid
JOIN study s ON s.partition = r.partition AND s.study_uid = r.study_uid
JOIN instance i ON i.study_pk = s.id AND i.sop_uid = r.sop_uid
UNION
SELECT i.study_pk, i.series_pk, i.sop_uid
FROM rejection r
JOIN study s ON s.partition = r.partition AND s.study_uid = r.study_uid
JOIN instance i ON i.study_pk = s.id AND i.sop_uid = r.sop_uid
WHERE r.note_study_uid = '';
