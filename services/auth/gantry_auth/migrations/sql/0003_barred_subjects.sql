-- Whom of other issuers we let in no more, as issuer#sub.
CREATE TABLE auth.barred_subjects (
    subject    text PRIMARY KEY,
    barred_at  timestamptz NOT NULL
);
CREATE TRIGGER policy_changed AFTER INSERT OR DELETE ON auth.barred_subjects
    FOR EACH ROW EXECUTE FUNCTION auth.note_policy_change();
