-- Who may do what. This is truth: nothing else can give it back, so it is backed up.
-- Secrets lie here as digests only, private keys sealed with the deployment's key.

CREATE SCHEMA auth;

-- Whoever tokens can speak for. Users by their name, clients as client:<id>: one namespace, so that
-- no client is ever taken for a user (RFC 9068 5). Never deleted: a name in an audit record stays whose it was.
CREATE TABLE auth.subjects (
    name        text PRIMARY KEY CHECK (name ~ '^(client:)?[a-z0-9][a-z0-9._@-]{0,62}$'),
    created_at  timestamptz NOT NULL,
    revoked_at  timestamptz
);

CREATE TABLE auth.users (
    subject              text PRIMARY KEY REFERENCES auth.subjects CHECK (subject NOT LIKE 'client:%'),
    password_hash        text NOT NULL,
    password_changed_at  timestamptz NOT NULL
);

-- secret_digest is NULL for a public client (RFC 6749 2.1).
CREATE TABLE auth.clients (
    client_id      text PRIMARY KEY,
    subject        text NOT NULL UNIQUE REFERENCES auth.subjects,
    secret_digest  bytea,
    grant_types    text[] NOT NULL,
    redirect_uris  text[] NOT NULL,
    CHECK (subject = 'client:' || client_id)
);

CREATE TABLE auth.grants (
    subject    text NOT NULL REFERENCES auth.subjects,
    role       text NOT NULL CHECK (role IN ('admin', 'clinician', 'technologist', 'modality', 'service')),
    partition  text NOT NULL CHECK (partition ~ '^([*]|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)$'),
    PRIMARY KEY (subject, role, partition)
);

-- A login, and the family of refresh tokens that came of it. client_id is NULL for a browser at our own pages.
CREATE TABLE auth.sessions (
    session_id        uuid PRIMARY KEY,
    subject           text NOT NULL REFERENCES auth.subjects,
    client_id         text REFERENCES auth.clients,
    scope             text NOT NULL,
    authenticated_at  timestamptz NOT NULL,
    expires_at        timestamptz NOT NULL,
    ended_at          timestamptz,
    end_reason        text
);
CREATE INDEX ON auth.sessions (subject) WHERE ended_at IS NULL;
CREATE INDEX ON auth.sessions (expires_at);

CREATE TABLE auth.refresh_tokens (
    digest      bytea PRIMARY KEY,
    session_id  uuid NOT NULL REFERENCES auth.sessions ON DELETE CASCADE,
    expires_at  timestamptz NOT NULL,
    used_at     timestamptz
);
CREATE INDEX ON auth.refresh_tokens (session_id);

-- Access tokens of sessions that may still be good: what ending a session has to revoke.
CREATE TABLE auth.access_tokens (
    token_id    text PRIMARY KEY,
    session_id  uuid NOT NULL REFERENCES auth.sessions ON DELETE CASCADE,
    expires_at  timestamptz NOT NULL
);
CREATE INDEX ON auth.access_tokens (session_id);
CREATE INDEX ON auth.access_tokens (expires_at);

-- session_id is what was made of the code; a code that comes twice ends it (RFC 6749 4.1.2).
CREATE TABLE auth.authorization_codes (
    digest            bytea PRIMARY KEY,
    client_id         text NOT NULL REFERENCES auth.clients,
    subject           text NOT NULL REFERENCES auth.subjects,
    redirect_uri      text NOT NULL,
    scope             text NOT NULL,
    nonce             text NOT NULL,
    code_challenge    text NOT NULL,
    authenticated_at  timestamptz NOT NULL,
    expires_at        timestamptz NOT NULL,
    session_id        uuid REFERENCES auth.sessions ON DELETE SET NULL,
    used_at           timestamptz
);
CREATE INDEX ON auth.authorization_codes (expires_at);

-- What every service must refuse: one token, or all of a subject issued up to then.
CREATE TABLE auth.revocations (
    revocation_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_id       text UNIQUE,
    subject        text,
    revoked_at     timestamptz NOT NULL,
    forget_after   timestamptz NOT NULL,
    CHECK ((token_id IS NULL) <> (subject IS NULL))
);
CREATE INDEX ON auth.revocations (subject, revoked_at) WHERE subject IS NOT NULL;

-- A key signs from signs_from on, once a snapshot with it is published, until the next one does.
CREATE TABLE auth.signing_keys (
    key_id          text PRIMARY KEY,
    algorithm       text NOT NULL CHECK (algorithm IN ('ES256', 'EdDSA')),
    public_jwk      text NOT NULL,
    sealed_private  text NOT NULL,
    signs_from      timestamptz NOT NULL,
    published_at    timestamptz
);

CREATE TABLE auth.application_entities (
    ae_title          text NOT NULL CHECK (ae_title ~ '^[ -\[\]-~]{1,16}$' AND ae_title = btrim(ae_title)),
    partition         text NOT NULL CHECK (partition ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    may_store         boolean NOT NULL,
    may_find          boolean NOT NULL,
    may_move          boolean NOT NULL,
    source_addresses  text[] NOT NULL,
    host              text NOT NULL,
    port              integer NOT NULL CHECK (port BETWEEN 0 AND 65535),
    PRIMARY KEY (ae_title, partition)
);

-- Keys of federated issuers as they were last fetched; which issuers there are is a setting.
CREATE TABLE auth.federated_keys (
    issuer      text PRIMARY KEY,
    jwks        text NOT NULL,
    fetched_at  timestamptz NOT NULL
);

-- Failed logins by the digest of what they came from; what was typed as a name may be a password.
CREATE TABLE auth.throttle (
    key            bytea PRIMARY KEY,
    failures       integer NOT NULL,
    last_at        timestamptz NOT NULL,
    blocked_until  timestamptz NOT NULL
);
CREATE INDEX ON auth.throttle (last_at);

-- One row: how often what a snapshot holds has changed, up to which change it was published, and as what.
CREATE TABLE auth.policy (
    only_row            boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    revision            bigint NOT NULL DEFAULT 1,
    published_revision  bigint NOT NULL DEFAULT 0,
    published_version   bigint NOT NULL DEFAULT 0,
    published_at        timestamptz
);
INSERT INTO auth.policy DEFAULT VALUES;

CREATE FUNCTION auth.note_policy_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE auth.policy SET revision = revision + 1;
    RETURN NULL;
END
$$;

-- By trigger, so that no way of changing one of these is forgotten, an operator's psql included.
-- That a revocation is forgotten changes nothing: the tokens it covers have expired.
CREATE TRIGGER policy_changed AFTER INSERT ON auth.revocations
    FOR EACH ROW EXECUTE FUNCTION auth.note_policy_change();
CREATE TRIGGER policy_changed AFTER INSERT OR DELETE ON auth.signing_keys
    FOR EACH ROW EXECUTE FUNCTION auth.note_policy_change();
CREATE TRIGGER policy_changed AFTER INSERT OR UPDATE OR DELETE ON auth.application_entities
    FOR EACH ROW EXECUTE FUNCTION auth.note_policy_change();
CREATE TRIGGER policy_changed AFTER INSERT OR DELETE ON auth.federated_keys
    FOR EACH ROW EXECUTE FUNCTION auth.note_policy_change();
CREATE TRIGGER policy_renewed AFTER UPDATE ON auth.federated_keys
    FOR EACH ROW WHEN (OLD.jwks IS DISTINCT FROM NEW.jwks) EXECUTE FUNCTION auth.note_policy_change();
