-- What the gateway keeps for callers: responses, files, batches. Instants in microseconds since
-- 1970 UTC; every BLOB is sealed under a key derived from the pepper. The same columns stand in
-- migrations/postgres.
CREATE TABLE stored_response (
    organisation    TEXT    NOT NULL,
    id              TEXT    NOT NULL,
    created_us      BIGINT  NOT NULL,
    expires_us      BIGINT  NOT NULL,
    turns           BLOB    NOT NULL,
    body            BLOB    NOT NULL,
    PRIMARY KEY (organisation, id)
);

CREATE INDEX stored_response_by_end ON stored_response (expires_us);

-- A file arrives piece by piece and is seen once it is ready.
CREATE TABLE stored_file (
    id              TEXT    NOT NULL PRIMARY KEY,
    organisation    TEXT    NOT NULL,
    purpose         TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    bytes           BIGINT  NOT NULL,
    chunks          BIGINT  NOT NULL,
    state           TEXT    NOT NULL CHECK (state IN ('arriving', 'ready')),
    created_us      BIGINT  NOT NULL,
    expires_us      BIGINT  NOT NULL
);

CREATE INDEX stored_file_by_owner ON stored_file (organisation, id);

CREATE TABLE file_chunk (
    file_id         TEXT    NOT NULL,
    number          BIGINT  NOT NULL,
    sealed          BLOB    NOT NULL,
    PRIMARY KEY (file_id, number)
);

-- A batch is worked on by the gateway that holds it; one that dies loses its hold with time.
CREATE TABLE batch (
    id              TEXT    NOT NULL PRIMARY KEY,
    organisation    TEXT    NOT NULL,
    key_id          TEXT    NOT NULL,
    endpoint        TEXT    NOT NULL,
    input_file      TEXT    NOT NULL,
    completion      TEXT    NOT NULL,
    metadata        TEXT,
    headers         TEXT    NOT NULL,
    status          TEXT    NOT NULL CHECK (status IN ('validating', 'failed', 'in_progress',
                            'finalizing', 'completed', 'expired', 'cancelling', 'cancelled')),
    created_us      BIGINT  NOT NULL,
    expires_us      BIGINT  NOT NULL,
    in_progress_us  BIGINT,
    finalizing_us   BIGINT,
    cancelling_us   BIGINT,
    ended_us        BIGINT,
    errors          TEXT,
    total           BIGINT  NOT NULL,
    completed       BIGINT  NOT NULL,
    failed          BIGINT  NOT NULL,
    input_tokens    BIGINT  NOT NULL,
    cached_tokens   BIGINT  NOT NULL,
    output_tokens   BIGINT  NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    output_lifetime_s BIGINT,
    output_file     TEXT,
    error_file      TEXT,
    held_by         TEXT    NOT NULL,
    held_until_us   BIGINT  NOT NULL
);

CREATE INDEX batch_by_owner ON batch (organisation, id);
CREATE INDEX batch_by_status ON batch (status, created_us);

-- The result of each request of a batch, until they are files. The first word stands.
CREATE TABLE batch_result (
    batch_id        TEXT    NOT NULL,
    number          BIGINT  NOT NULL,
    failed          BIGINT  NOT NULL,
    input_tokens    BIGINT  NOT NULL,
    cached_tokens   BIGINT  NOT NULL,
    output_tokens   BIGINT  NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    sealed          BLOB    NOT NULL,
    PRIMARY KEY (batch_id, number)
);
