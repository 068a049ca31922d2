-- The ledger: one line for each attempt of each request. Money in picodollars (10^-12 US$),
-- instants in microseconds since 1970 UTC. The same columns stand in migrations/sqlite.
CREATE TABLE entry (
    id              TEXT    NOT NULL PRIMARY KEY,
    request_id      TEXT    NOT NULL,
    attempt         BIGINT  NOT NULL,
    organisation    TEXT    NOT NULL,
    team            TEXT    NOT NULL,
    project         TEXT    NOT NULL,
    key_id          TEXT    NOT NULL,
    tags            TEXT    NOT NULL,
    surface         TEXT    NOT NULL,
    host            TEXT    NOT NULL,
    account         TEXT    NOT NULL,
    region          TEXT    NOT NULL,
    model           TEXT    NOT NULL,
    host_model      TEXT    NOT NULL,
    started_us      BIGINT  NOT NULL,
    first_byte_us   BIGINT,
    ended_us        BIGINT  NOT NULL,
    billed_us       BIGINT  NOT NULL,
    host_request    TEXT,
    cache_miss      BIGINT  NOT NULL,
    cache_hit       BIGINT  NOT NULL,
    cache_write     BIGINT  NOT NULL,
    reasoning       BIGINT  NOT NULL,
    visible         BIGINT  NOT NULL,
    counted_by      TEXT    NOT NULL,
    outcome         TEXT    NOT NULL,
    catalog         TEXT    NOT NULL,
    price_window    TEXT,
    price_state     TEXT    NOT NULL CHECK (price_state IN ('priced', 'provisional', 'unpriced')),
    cost_pd         BIGINT,
    list_pd         BIGINT,
    spread_pd       BIGINT,
    decision        TEXT    NOT NULL,
    CHECK ((price_state = 'unpriced') = (cost_pd IS NULL)),
    CHECK ((cost_pd IS NULL) = (list_pd IS NULL) AND (cost_pd IS NULL) = (spread_pd IS NULL))
);

CREATE INDEX entry_by_billed ON entry (billed_us);
CREATE INDEX entry_by_key ON entry (key_id, billed_us);

CREATE FUNCTION entry_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an entry never changes and never goes: write a correction';
END
$$;

CREATE TRIGGER entry_never_changes BEFORE UPDATE OR DELETE ON entry
    FOR EACH ROW EXECUTE FUNCTION entry_stays();

CREATE TRIGGER entry_never_goes BEFORE TRUNCATE ON entry
    FOR EACH STATEMENT EXECUTE FUNCTION entry_stays();

-- The same for people with a SQL client: dollars and instants as such.
CREATE VIEW entry_dollars AS
SELECT id, request_id, attempt, organisation, team, project, key_id, tags, surface,
       host, account, region, model, host_model,
       TIMESTAMPTZ 'epoch' + started_us    * INTERVAL '1 microsecond' AS started,
       TIMESTAMPTZ 'epoch' + first_byte_us * INTERVAL '1 microsecond' AS first_byte,
       TIMESTAMPTZ 'epoch' + ended_us      * INTERVAL '1 microsecond' AS ended,
       TIMESTAMPTZ 'epoch' + billed_us     * INTERVAL '1 microsecond' AS billed,
       host_request, cache_miss, cache_hit, cache_write, reasoning, visible,
       counted_by, outcome, catalog, price_window, price_state,
       (cost_pd::NUMERIC   * 0.000000000001)::NUMERIC(38, 12) AS cost,
       (list_pd::NUMERIC   * 0.000000000001)::NUMERIC(38, 12) AS list,
       (spread_pd::NUMERIC * 0.000000000001)::NUMERIC(38, 12) AS spread,
       decision
FROM entry;

-- Callers' keys: who pays, what each may do. A key keeps its id, and so its budget, when its
-- secret is rotated.
CREATE TABLE api_key (
    id              TEXT    NOT NULL PRIMARY KEY,
    organisation    TEXT    NOT NULL,
    team            TEXT    NOT NULL,
    project         TEXT    NOT NULL,
    role            TEXT    NOT NULL CHECK (role IN ('app', 'finance', 'compliance', 'admin')),
    tags            TEXT    NOT NULL,
    budget_pd       BIGINT,
    budget_period   TEXT    CHECK (budget_period IN ('day', 'month', 'total')),
    created_us      BIGINT  NOT NULL,
    expires_us      BIGINT,
    revoked_us      BIGINT,
    CHECK ((budget_pd IS NULL) = (budget_period IS NULL))
);

-- The secrets of keys: only their keyed digests. The newest has no end of its own.
CREATE TABLE key_secret (
    digest          TEXT    NOT NULL PRIMARY KEY,
    key_id          TEXT    NOT NULL REFERENCES api_key (id),
    hint            TEXT    NOT NULL,
    created_us      BIGINT  NOT NULL,
    until_us        BIGINT
);

-- One row whose number rises with each change of a key: what gateways poll.
CREATE TABLE key_revision (
    revision        BIGINT  NOT NULL
);
INSERT INTO key_revision (revision) VALUES (0);

CREATE FUNCTION keys_have_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE key_revision SET revision = revision + 1;
    RETURN NULL;
END
$$;

CREATE TRIGGER api_key_has_changed AFTER INSERT OR UPDATE OR DELETE ON api_key
    FOR EACH STATEMENT EXECUTE FUNCTION keys_have_changed();

CREATE TRIGGER key_secret_has_changed AFTER INSERT OR UPDATE OR DELETE ON key_secret
    FOR EACH STATEMENT EXECUTE FUNCTION keys_have_changed();

-- The catalog's files by version, as JSON {path: content}: what any entry can be recomputed from.
CREATE TABLE catalog_version (
    version         TEXT    NOT NULL PRIMARY KEY,
    taken_up_us     BIGINT  NOT NULL,
    files           TEXT    NOT NULL
);
