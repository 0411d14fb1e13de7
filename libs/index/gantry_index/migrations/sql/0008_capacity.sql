-- How much is stored, without counting it: every change leaves a difference, the storage service sums
-- them up. A sum that writers kept themselves would be a row for which all of them queue.
-- `state` is gantry.index.v1.VerdictState; a modality is known of what is shown only.

CREATE TABLE capacity (
    partition text COLLATE "C" NOT NULL,
    store_id  text COLLATE "C" NOT NULL,
    state     smallint NOT NULL,
    modality  text COLLATE "C" NOT NULL,
    day       date NOT NULL,                     -- of reception, UTC
    instances bigint NOT NULL,
    bytes     bigint NOT NULL,
    PRIMARY KEY (partition, store_id, state, modality, day)
);

CREATE TABLE capacity_difference (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partition text COLLATE "C" NOT NULL,
    store_id  text COLLATE "C" NOT NULL,
    state     smallint NOT NULL,
    modality  text COLLATE "C" NOT NULL,
    day       date NOT NULL,
    instances bigint NOT NULL,
    bytes     bigint NOT NULL
);

-- What the storage service last saw of its stores; and when everything was counted, in the row ''.
CREATE TABLE capacity_store (
    store_id    text COLLATE "C" PRIMARY KEY,
    room_bytes  bigint,                          -- left in the quota or on the disk; NULL when nobody knows
    quota_bytes bigint,
    measured_at timestamptz NOT NULL DEFAULT now()
);

-- An object is counted once: by its instance row while it is shown, by its reception otherwise.
CREATE FUNCTION capacity_of_instances() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO capacity_difference (partition, store_id, state, modality, day, instances, bytes)
    SELECT n.partition, n.store_id, 2, coalesce(e.modality, ''), (n.received_at AT TIME ZONE 'UTC')::date,
           count(*), sum(n.size)
    FROM fresh AS n LEFT JOIN series AS e ON e.id = n.series_pk
    GROUP BY 1, 2, 4, 5;
    RETURN NULL;
END $$;

CREATE FUNCTION capacity_without_instances() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO capacity_difference (partition, store_id, state, modality, day, instances, bytes)
    SELECT n.partition, n.store_id, 2, coalesce(e.modality, ''), (n.received_at AT TIME ZONE 'UTC')::date,
           -count(*), -sum(n.size)
    FROM stale AS n LEFT JOIN series AS e ON e.id = n.series_pk
    GROUP BY 1, 2, 4, 5;
    RETURN NULL;
END $$;

CREATE FUNCTION capacity_of_changed_instances() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO capacity_difference (partition, store_id, state, modality, day, instances, bytes)
    SELECT n.partition, n.store_id, 2, coalesce(e.modality, ''), (n.received_at AT TIME ZONE 'UTC')::date,
           sum(n.sign), sum(n.sign * n.size)
    FROM (
        SELECT partition, store_id, series_pk, received_at, size, 1 AS sign FROM fresh
        UNION ALL
        SELECT partition, store_id, series_pk, received_at, size, -1 FROM stale
    ) AS n LEFT JOIN series AS e ON e.id = n.series_pk
    GROUP BY 1, 2, 4, 5 HAVING sum(n.sign) <> 0 OR sum(n.sign * n.size) <> 0;
    RETURN NULL;
END $$;

CREATE FUNCTION capacity_of_receptions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO capacity_difference (partition, store_id, state, modality, day, instances, bytes)
    SELECT partition, store_id, state, '', (received_at AT TIME ZONE 'UTC')::date, count(*), sum(size)
    FROM fresh WHERE state <> 2 AND NOT is_gone
    GROUP BY 1, 2, 3, 5;
    RETURN NULL;
END $$;

CREATE FUNCTION capacity_without_receptions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO capacity_difference (partition, store_id, state, modality, day, instances, bytes)
    SELECT partition, store_id, state, '', (received_at AT TIME ZONE 'UTC')::date, -count(*), -sum(size)
    FROM stale WHERE state <> 2 AND NOT is_gone
    GROUP BY 1, 2, 3, 5;
    RETURN NULL;
END $$;

CREATE FUNCTION capacity_of_changed_receptions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO capacity_difference (partition, store_id, state, modality, day, instances, bytes)
    SELECT partition, store_id, state, '', (received_at AT TIME ZONE 'UTC')::date,
           sum(sign), sum(sign * size)
    FROM (
        SELECT partition, store_id, state, received_at, size, 1 AS sign FROM fresh
        WHERE state <> 2 AND NOT is_gone
        UNION ALL
        SELECT partition, store_id, state, received_at, size, -1 FROM stale
        WHERE state <> 2 AND NOT is_gone
    ) AS n
    GROUP BY 1, 2, 3, 5 HAVING sum(sign) <> 0 OR sum(sign * size) <> 0;
    RETURN NULL;
END $$;

CREATE TRIGGER capacity_in AFTER INSERT ON instance
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION capacity_of_instances();
CREATE TRIGGER capacity_out AFTER DELETE ON instance
    REFERENCING OLD TABLE AS stale FOR EACH STATEMENT EXECUTE FUNCTION capacity_without_instances();
CREATE TRIGGER capacity_changed AFTER UPDATE ON instance
    REFERENCING NEW TABLE AS fresh OLD TABLE AS stale
    FOR EACH STATEMENT EXECUTE FUNCTION capacity_of_changed_instances();
CREATE TRIGGER capacity_in AFTER INSERT ON reception
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION capacity_of_receptions();
CREATE TRIGGER capacity_out AFTER DELETE ON reception
    REFERENCING OLD TABLE AS stale FOR EACH STATEMENT EXECUTE FUNCTION capacity_without_receptions();
CREATE TRIGGER capacity_changed AFTER UPDATE ON reception
    REFERENCING NEW TABLE AS fresh OLD TABLE AS stale
    FOR EACH STATEMENT EXECUTE FUNCTION capacity_of_changed_receptions();
