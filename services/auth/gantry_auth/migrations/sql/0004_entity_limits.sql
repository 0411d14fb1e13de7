-- Certificates that an entity is bound to, and how much it may ask of a listener (0: no limit of its own).
ALTER TABLE auth.application_entities
    ADD COLUMN certificates            text[]  NOT NULL DEFAULT '{}',
    ADD COLUMN maximum_associations    integer NOT NULL DEFAULT 0,
    ADD COLUMN associations_per_minute integer NOT NULL DEFAULT 0;
