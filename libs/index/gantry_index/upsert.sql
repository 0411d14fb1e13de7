-- Everything that a chunk writes, each table once, parents before children and rows by UID. Counts are
-- of rows that this statement inserts: the caller holds the locks and checks the answer.
-- Placeholders in braces are filled by statements.py.
WITH patient_up AS (
    INSERT INTO patient AS t (partition, patient_id, issuer, order_key, name, name_norm, birth_date, sex)
    SELECT partition, patient_id, issuer, order_key, name, name_norm, birth_date, sex FROM {patients}
    ORDER BY partition, patient_id, issuer
    ON CONFLICT (partition, patient_id, issuer) DO UPDATE SET
        {patient_first}
    RETURNING t.id, t.partition, t.patient_id, t.issuer
),
study_in AS MATERIALIZED (SELECT * FROM {studies}),
class_in AS MATERIALIZED (SELECT * FROM {study_classes}),
modality_in AS MATERIALIZED (SELECT * FROM {study_modalities}),
study_up AS (
    INSERT INTO study AS t (
        partition, study_uid, order_key, {study_values},
        patient_pk, series_count, instance_count, modalities, sop_classes, first_received_at, updated_at
    )
    SELECT i.partition, i.study_uid, i.order_key, {new_study_values},
        p.id, i.series_count, i.instance_count,
        ARRAY(SELECT DISTINCT m.modality COLLATE "C" FROM modality_in AS m WHERE m.study = i.n ORDER BY 1),
        ARRAY(SELECT DISTINCT c.sop_class_uid COLLATE "C" FROM class_in AS c WHERE c.study = i.n ORDER BY 1),
        i.first_received_at, now()
    FROM study_in AS i
    LEFT JOIN patient_up AS p ON p.partition = i.partition AND p.patient_id = i.patient_id
        AND p.issuer = coalesce(i.patient_issuer, '')
    ORDER BY i.partition, i.study_uid
    ON CONFLICT (partition, study_uid) DO UPDATE SET
        {study_first},
        series_count = t.series_count + excluded.series_count,
        instance_count = t.instance_count + excluded.instance_count,
        modalities = CASE WHEN t.modalities @> excluded.modalities THEN t.modalities ELSE ARRAY(
            SELECT DISTINCT v COLLATE "C" FROM unnest(t.modalities || excluded.modalities) AS v ORDER BY 1
        ) END,
        sop_classes = CASE WHEN t.sop_classes @> excluded.sop_classes THEN t.sop_classes ELSE ARRAY(
            SELECT DISTINCT v COLLATE "C" FROM unnest(t.sop_classes || excluded.sop_classes) AS v ORDER BY 1
        ) END,
        version = t.version + 1,
        first_received_at = LEAST(t.first_received_at, excluded.first_received_at),
        updated_at = excluded.updated_at
    RETURNING t.id, t.partition, t.study_uid, t.order_key, t.study_date
),
study_ids AS MATERIALIZED (
    SELECT i.n, u.id, u.partition, u.order_key, u.study_date
    FROM study_in AS i JOIN study_up AS u ON u.study_uid = i.study_uid AND u.partition = i.partition
),
study_doc AS (
    INSERT INTO study_document AS t (study_pk, document, extra)
    SELECT s.id, i.document, i.extra FROM study_in AS i JOIN study_ids AS s ON s.n = i.n
    WHERE i.document IS NOT NULL AND s.order_key = i.order_key
    ON CONFLICT (study_pk) DO UPDATE SET document = excluded.document, extra = excluded.extra
),
modality_up AS (
    INSERT INTO study_modality AS t (partition, modality, study_date, order_key, study_pk)
    SELECT DISTINCT s.partition, m.modality, s.study_date, s.order_key, s.id
    FROM modality_in AS m JOIN study_ids AS s ON s.n = m.study
    ON CONFLICT (study_pk, modality) DO UPDATE
        SET study_date = excluded.study_date, order_key = excluded.order_key
),
series_in AS MATERIALIZED (SELECT * FROM {series_rows}),
series_up AS (
    INSERT INTO series AS t (
        study_pk, partition, series_uid, order_key, {series_values}, instance_count, updated_at
    )
    SELECT s.id, s.partition, i.series_uid, i.order_key,
        i.modality, i.series_number, i.series_description, i.body_part_examined,
        i.pps_start_date, i.pps_start_time,
        ARRAY(SELECT jsonb_array_elements_text(i.scheduled_step_ids)),
        ARRAY(SELECT jsonb_array_elements_text(i.requested_procedure_ids)),
        i.instance_count, now()
    FROM series_in AS i JOIN study_ids AS s ON s.n = i.study
    ORDER BY s.partition, i.series_uid, s.id
    ON CONFLICT (study_pk, series_uid) DO UPDATE SET
        {series_first},
        instance_count = t.instance_count + excluded.instance_count,
        version = t.version + 1,
        updated_at = excluded.updated_at
    RETURNING t.id, t.study_pk, t.series_uid, t.order_key
),
series_ids AS MATERIALIZED (
    SELECT i.n, s.partition, u.id, u.study_pk, u.order_key
    FROM series_in AS i JOIN study_ids AS s ON s.n = i.study
    JOIN series_up AS u ON u.series_uid = i.series_uid AND u.study_pk = s.id
),
series_doc AS (
    INSERT INTO series_document AS t (series_pk, document, extra)
    SELECT s.id, i.document, i.extra FROM series_in AS i JOIN series_ids AS s ON s.n = i.n
    WHERE i.document IS NOT NULL AND s.order_key = i.order_key
    ON CONFLICT (series_pk) DO UPDATE SET document = excluded.document, extra = excluded.extra
),
segment_up AS (
    INSERT INTO segment (
        series_pk, encoder_version, corrections, instance_count, metadata, documents, levels
    )
    SELECT s.id, i.encoder_version, i.segment_corrections, i.segment_instances, i.segment_metadata,
        i.segment_documents, i.segment_levels
    FROM series_in AS i JOIN series_ids AS s ON s.n = i.n
    RETURNING id, series_pk
),
segment_ids AS MATERIALIZED (
    SELECT s.n, s.partition, s.id AS series_pk, s.study_pk, g.id AS segment_pk
    FROM series_ids AS s JOIN segment_up AS g ON g.series_pk = s.id
),
object_in AS MATERIALIZED (SELECT * FROM {objects}),
instance_up AS (
    INSERT INTO instance AS t (study_pk, sop_uid, series_pk, partition, segment_pk, {instance_values})
    SELECT s.study_pk, o.sop_uid, s.series_pk, s.partition, s.segment_pk, {new_instance_values}
    FROM object_in AS o JOIN segment_ids AS s ON s.n = o.series
    ON CONFLICT (study_pk, sop_uid) DO UPDATE SET
        series_pk = excluded.series_pk, segment_pk = excluded.segment_pk,
        {instance_replaced}
    RETURNING (t.xmax = 0) AS is_new
),
reception_up AS (
    INSERT INTO reception AS t (
        object_key, partition, store_id, order_key, study_uid, series_uid, sop_uid, sop_class_uid,
        transfer_syntax_uid, size, meta_length, data_set_digest, state, survivor_key, replaces,
        frame_table, source, received_at, decided_at, received_study_uid, received_series_uid
    )
    SELECT o.object_key, o.partition, o.store_id, o.order_key, o.study_uid, o.series_uid, o.sop_uid,
        o.sop_class_uid, o.transfer_syntax_uid, o.size, o.meta_length, o.data_set_digest, o.state,
        o.survivor_key, o.replaces, CASE WHEN o.state <> {indexed} THEN o.frame_table END, o.source,
        o.received_at, now(), o.received_study_uid, o.received_series_uid
    FROM object_in AS o WHERE o.is_received
    ON CONFLICT (object_key) DO UPDATE SET
        state = excluded.state, survivor_key = excluded.survivor_key, replaces = excluded.replaces,
        study_uid = excluded.study_uid, series_uid = excluded.series_uid,
        received_study_uid = excluded.received_study_uid,
        received_series_uid = excluded.received_series_uid,
        frame_table = excluded.frame_table, decided_at = excluded.decided_at, reason = NULL
    WHERE t.state = {pending}
    RETURNING 1
),
redecided_up AS (
    UPDATE reception AS t SET
        state = redecided.state, survivor_key = redecided.survivor_key, decided_at = now(),
        frame_table = CASE WHEN redecided.state = {indexed} THEN NULL ELSE coalesce(
            t.frame_table,
            (SELECT i.frame_table FROM study AS s JOIN instance AS i ON i.study_pk = s.id
             WHERE s.partition = t.partition AND s.study_uid = t.study_uid AND i.sop_uid = t.sop_uid
               AND i.object_key = t.object_key)
        ) END
    FROM {redecided}
    WHERE t.object_key = redecided.object_key AND t.state = redecided.old_state
    RETURNING 1
),
finding_up AS (
    INSERT INTO finding (partition, kind, study_uid, series_uid, sop_uid, object_key)
    SELECT * FROM {findings}
    ON CONFLICT (partition, kind, study_uid, series_uid, sop_uid, object_key) DO NOTHING
),
finding_gone AS (
    DELETE FROM finding AS t USING {settled}
    WHERE t.partition = settled.partition AND t.kind = settled.kind AND t.study_uid = settled.study_uid
        AND t.series_uid = settled.series_uid AND t.sop_uid = settled.sop_uid
        AND t.object_key = settled.object_key
),
event_up AS (INSERT INTO outbox (payload) SELECT payload FROM {events})
SELECT (SELECT count(*) FROM reception_up) AS receptions,
       (SELECT count(*) FROM redecided_up) AS redecided,
       (SELECT count(*) FILTER (WHERE is_new) FROM instance_up) AS new_instances,
       ARRAY(SELECT id FROM study_ids ORDER BY n) AS study_pks
