"""The SQL that recounts a study from its instances."""

from __future__ import annotations

from collections.abc import Sequence

from gantry_index.statements import SERIES_VALUES, STUDY_VALUES


def _assignments(columns: Sequence[str], first_parameter: int) -> str:
    return ", ".join(f"{name} = ${number}" for number, name in enumerate(columns, first_parameter))


# Whether a study is linked to the patient that its own columns name.
_IS_LINKED = """s.patient_id IS NOT DISTINCT FROM (
        SELECT p.patient_id FROM patient AS p
        WHERE p.id = s.patient_pk AND p.partition = s.partition AND p.issuer = coalesce(s.patient_issuer, '')
    )"""

LOCK_STUDY = f"""
SELECT s.id, s.partition, s.order_key, s.patient_pk, {_IS_LINKED} AS is_linked
FROM study AS s WHERE s.id = $1 FOR UPDATE
"""  # noqa: S608

DROP_EMPTY_SERIES = """
DELETE FROM series AS s
WHERE s.study_pk = $1 AND NOT EXISTS (SELECT 1 FROM instance AS i WHERE i.series_pk = s.id)
"""

# Every series of a study with the order key of its first instance.
FIRST_OF_SERIES = """
SELECT s.id AS series_pk, s.order_key, f.first_key
FROM series AS s
CROSS JOIN LATERAL (SELECT min(i.order_key) AS first_key FROM instance AS i WHERE i.series_pk = s.id) AS f
WHERE s.study_pk = $1
"""

LEVELS = """
SELECT i.order_key, g.metadata, g.levels, i.level_offset, i.level_length
FROM instance AS i JOIN segment AS g ON g.id = i.segment_pk
WHERE i.study_pk = $1 AND i.order_key = ANY ($2::text[])
"""

REWRITE_SERIES = f"""
UPDATE series SET order_key = $2, {_assignments(SERIES_VALUES[:-2], 3)},
    scheduled_step_ids = ARRAY(SELECT jsonb_array_elements_text(${len(SERIES_VALUES) + 1}::jsonb)),
    requested_procedure_ids = ARRAY(SELECT jsonb_array_elements_text(${len(SERIES_VALUES) + 2}::jsonb))
WHERE id = $1
"""  # noqa: S608

REWRITE_SERIES_DOCUMENT = "UPDATE series_document SET document = $2, extra = $3 WHERE series_pk = $1"

REWRITE_STUDY = f"""
UPDATE study SET patient_pk = $2, order_key = $3, {_assignments(STUDY_VALUES, 4)} WHERE id = $1
"""  # noqa: S608 - column names of this package

REWRITE_STUDY_DOCUMENT = "UPDATE study_document SET document = $2, extra = $3 WHERE study_pk = $1"

RECOUNT_SERIES = """
UPDATE series AS s SET instance_count = c.n, version = s.version + 1, updated_at = now()
FROM (SELECT series_pk, count(*) AS n FROM instance WHERE study_pk = $1 GROUP BY series_pk) AS c
WHERE s.id = c.series_pk
"""

_SERIES_COUNT = "(SELECT count(*) FROM series AS t WHERE t.study_pk = s.id)"
_INSTANCE_COUNT = "(SELECT count(*) FROM instance AS t WHERE t.study_pk = s.id)"
_MODALITIES = """ARRAY(
        SELECT DISTINCT t.modality FROM series AS t
        WHERE t.study_pk = s.id AND t.modality IS NOT NULL ORDER BY 1
    )"""
_SOP_CLASSES = "ARRAY(SELECT DISTINCT t.sop_class_uid FROM instance AS t WHERE t.study_pk = s.id ORDER BY 1)"
_FIRST_RECEIVED = "(SELECT min(t.received_at) FROM instance AS t WHERE t.study_pk = s.id)"

RECOUNT_STUDY = f"""
UPDATE study AS s SET
    series_count = {_SERIES_COUNT}, instance_count = {_INSTANCE_COUNT},
    modalities = {_MODALITIES}, sop_classes = {_SOP_CLASSES}, first_received_at = {_FIRST_RECEIVED},
    version = s.version + 1, updated_at = now()
WHERE s.id = $1
"""  # noqa: S608

DROP_MODALITIES = """
DELETE FROM study_modality AS m USING study AS s
WHERE s.id = $1 AND m.study_pk = s.id AND NOT m.modality = ANY (s.modalities)
"""

PUT_MODALITIES = """
INSERT INTO study_modality AS t (partition, modality, study_date, order_key, study_pk)
SELECT s.partition, v.modality, s.study_date, s.order_key, s.id
FROM study AS s CROSS JOIN unnest(s.modalities) AS v(modality)
WHERE s.id = $1
ON CONFLICT (study_pk, modality) DO UPDATE
    SET study_date = excluded.study_date, order_key = excluded.order_key
"""

PUT_PATIENT = """
INSERT INTO patient AS t (partition, patient_id, issuer, order_key, name, name_norm, birth_date, sex)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (partition, patient_id, issuer) DO UPDATE SET order_key = t.order_key
RETURNING t.id
"""

LOCK_PATIENTS = "SELECT id FROM patient WHERE id = ANY ($1::bigint[]) ORDER BY id FOR UPDATE"

DROP_LONE_PATIENTS = """
DELETE FROM patient AS p
WHERE p.id = ANY ($1::bigint[]) AND NOT EXISTS (SELECT 1 FROM study AS s WHERE s.patient_pk = p.id)
"""

REWRITE_PATIENTS = """
UPDATE patient AS p SET
    order_key = s.order_key, name = s.patient_name, name_norm = s.patient_name_norm,
    birth_date = s.patient_birth_date, sex = s.patient_sex
FROM unnest($1::bigint[]) AS k(id) CROSS JOIN LATERAL (
    SELECT * FROM study AS t WHERE t.patient_pk = k.id ORDER BY t.order_key LIMIT 1
) AS s
WHERE p.id = k.id AND (p.order_key, p.name, p.birth_date, p.sex)
    IS DISTINCT FROM (s.order_key, s.patient_name, s.patient_birth_date, s.patient_sex)
"""

DIFFERENCE_FIELDS = (
    *("series_count", "instance_count", "modalities", "sop_classes", "order_key", "series"),
    *("modality_rows", "patient", "segments"),
)

_DIFFERING = f"""
SELECT s.id, s.partition, s.study_uid,
    s.series_count <> {_SERIES_COUNT} AS series_count,
    s.instance_count <> {_INSTANCE_COUNT} AS instance_count,
    s.modalities <> {_MODALITIES} AS modalities,
    s.sop_classes <> {_SOP_CLASSES} AS sop_classes,
    s.order_key IS DISTINCT FROM
        (SELECT min(t.order_key) FROM instance AS t WHERE t.study_pk = s.id) AS order_key,
    EXISTS (
        SELECT 1 FROM series AS e
        LEFT JOIN LATERAL (
            SELECT count(*) AS n, min(t.order_key) AS first_key FROM instance AS t WHERE t.series_pk = e.id
        ) AS c ON true
        WHERE e.study_pk = s.id
          AND (e.instance_count, e.order_key) IS DISTINCT FROM (c.n, c.first_key)
    ) AS series,
    ARRAY(SELECT (m.modality, m.study_date, m.order_key, m.partition)::text FROM study_modality AS m
          WHERE m.study_pk = s.id ORDER BY 1)
      <> ARRAY(SELECT (v, s.study_date, s.order_key, s.partition)::text FROM unnest(s.modalities) AS v
               ORDER BY 1) AS modality_rows,
    NOT ({_IS_LINKED}) AS patient,
    EXISTS (
        SELECT 1 FROM instance AS i
        WHERE i.study_pk = s.id AND NOT EXISTS (
            SELECT 1 FROM segment AS g WHERE g.id = i.segment_pk AND g.series_pk = i.series_pk
        )
    ) AS segments
FROM study AS s
"""  # noqa: S608
# A page of studies by id, each with what differs from a recount.
DIFFERENCES = f"{_DIFFERING} WHERE s.id > $1 ORDER BY s.id LIMIT $2"
DIFFERENCE = f"{_DIFFERING} WHERE s.partition = $1 AND s.study_uid = $2"
