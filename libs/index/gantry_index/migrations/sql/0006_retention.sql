-- What is gone for ever. The rows stay: no replay may look for these objects again.

ALTER TABLE hidden ADD COLUMN purged_by integer;            -- revision of the purge
CREATE INDEX hidden_not_purged ON hidden (partition, study_uid, revision) WHERE purged_by IS NULL;

ALTER TABLE reception ADD COLUMN is_gone boolean NOT NULL DEFAULT false;
