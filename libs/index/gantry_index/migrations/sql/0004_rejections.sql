-- What rejection notes (Key Object Selections) reject, known before or after the instances themselves.
CREATE TABLE rejection (
    partition      text COLLATE "C" NOT NULL,
    study_uid      text COLLATE "C" NOT NULL,
    sop_uid        text COLLATE "C" NOT NULL,
    note_study_uid text COLLATE "C" NOT NULL,
    note_sop_uid   text COLLATE "C" NOT NULL,
    reason         text NOT NULL,               -- code value of the note's title
    PRIMARY KEY (partition, study_uid, sop_uid, note_study_uid, note_sop_uid)
);

-- Rejected instances that are there, as long as a note is that rejects them; notes are among them.
CREATE VIEW rejected_instance AS
SELECT DISTINCT i.study_pk, i.series_pk, i.sop_uid
FROM rejection r
JOIN study n ON n.partition = r.partition AND n.study_uid = r.note_study_uid
JOIN instance k ON k.study_pk = n.id AND k.sop_uid = r.note_sop_uid
JOIN study s ON s.partition = r.partition AND s.study_uid = r.study_uid
JOIN instance i ON i.study_pk = s.id AND i.sop_uid = r.sop_uid;

-- Functions, because searches are planned anew each time and hardly ever need what is inside.
CREATE FUNCTION rejected_in_study(pk bigint) RETURNS bigint LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN (SELECT count(*) FROM rejected_instance AS x WHERE x.study_pk = pk);
END $$;

CREATE FUNCTION rejected_in_series(pk bigint) RETURNS bigint LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN (SELECT count(*) FROM rejected_instance AS x WHERE x.series_pk = pk);
END $$;

CREATE FUNCTION is_rejected(pk bigint, uid text) RETURNS boolean LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN EXISTS (SELECT 1 FROM rejected_instance AS x WHERE x.study_pk = pk AND x.sop_uid = uid COLLATE "C");
END $$;

-- What sums a study up without its rejected instances; no row when nothing is left.
CREATE FUNCTION shown_of_study(pk bigint)
RETURNS TABLE (series_count integer, instance_count integer, modalities text[], sop_classes text[])
LANGUAGE plpgsql STABLE ROWS 1
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN QUERY
    SELECT count(DISTINCT i.series_pk)::int, count(*)::int,
           array_agg(DISTINCT e.modality::text) FILTER (WHERE e.modality IS NOT NULL),
           array_agg(DISTINCT i.sop_class_uid::text)
    FROM instance AS i JOIN series AS e ON e.id = i.series_pk
    WHERE i.study_pk = pk AND NOT EXISTS (
        SELECT 1 FROM rejected_instance AS x WHERE x.study_pk = pk AND x.sop_uid = i.sop_uid
    )
    HAVING count(*) > 0;
END $$;
