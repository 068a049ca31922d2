-- The ledger: one line for each attempt of each request. Money in picodollars (10^-12 US$),
-- instants in microseconds since 1970 UTC. The same columns stand in migrations/postgres.
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
    CHECK ((price_state = 'unpriced') = (cost_pd IS NULL))
);

CREATE INDEX entry_by_billed ON entry (billed_us);

CREATE TRIGGER entry_never_changes BEFORE UPDATE ON entry
BEGIN SELECT RAISE(ABORT, 'an entry never changes: write a correction'); END;

CREATE TRIGGER entry_never_goes BEFORE DELETE ON entry
BEGIN SELECT RAISE(ABORT, 'an entry never goes: write a correction'); END;

-- Callers' keys. The secret itself is nowhere: only its keyed digest.
CREATE TABLE api_key (
    id              TEXT    NOT NULL PRIMARY KEY,
    digest          TEXT    NOT NULL UNIQUE,
    hint            TEXT    NOT NULL,
    organisation    TEXT    NOT NULL,
    team            TEXT    NOT NULL,
    project         TEXT    NOT NULL,
    role            TEXT    NOT NULL CHECK (role IN ('app', 'finance', 'compliance', 'admin')),
    tags            TEXT    NOT NULL,
    budget_pd       BIGINT,
    budget_period   TEXT,
    created_us      BIGINT  NOT NULL,
    expires_us      BIGINT,
    revoked_us      BIGINT,
    replaced_by     TEXT
);

-- The catalog's files by version, as JSON {path: content}: what any entry can be recomputed from.
CREATE TABLE catalog_version (
    version         TEXT    NOT NULL PRIMARY KEY,
    taken_up_us     BIGINT  NOT NULL,
    files           TEXT    NOT NULL
);
