-- The truth, version 1: what people did, as documents and as events. Nothing of it can be made again: back it up.
--
-- For operators: copy it with SQLite's own backup (`sqlite3 truth.db '.backup copy.db'`), never file by file while the
-- server runs. A copy that is put to use is another life of the log: see `log`.
--
-- For analysts: open it read-only (`sqlite3 'file:truth.db?mode=ro'`). Readers never block the server, but a
-- transaction left open keeps the write-ahead log from shrinking.
--   * Ids are the sixteen bytes of a UUIDv7, whose first six bytes are milliseconds since 1970: the greater id is
--     the newer. `lower(hex(event_id))` shows one without its hyphens.
--   * A stream is the history of one thing. Its key is a byte for the kind and then the ids that its text form names,
--     in that order: 1 comment, 2 post, 3 reaction (post, user), 4 relation (lesser user, greater user), 5 user.
--     Keys sort as the text forms do.
--   * `sequence` numbers the events of one stream from 1.
--   * A place is topic, partition and offset in one number: topic * 2^60 + partition * 2^44 + offset. Topics: 1 posts
--     (with comments and reactions), 2 relations, 3 users.
--   * Times are milliseconds since 1970.

-- One row: which life of the log this file holds.
CREATE TABLE log (
    only       INTEGER PRIMARY KEY CHECK (only = 1),
    id         INTEGER NOT NULL,                       -- drawn at random; printf('%016x', id) is its text form
    partitions INTEGER NOT NULL CHECK (partitions > 0) -- of every topic; fixed, for they decide where a lane is
) STRICT;

-- The log: every event in the order in which its partition's readers see it. Only ever added to.
CREATE TABLE events (
    place          INTEGER PRIMARY KEY,
    lane           TEXT    NOT NULL,  -- record key: a post's id, a user's, or a pair's; decides the partition
    event_id       BLOB    NOT NULL,
    type           TEXT    NOT NULL,  -- for example reaction.liked; see schemas/events/
    version        INTEGER NOT NULL,  -- of the type's schema
    subject        TEXT    NOT NULL,  -- the stream, in its text form
    sequence       INTEGER NOT NULL,
    time           INTEGER NOT NULL,
    actor          BLOB    NOT NULL,  -- the user who caused it
    correlation_id BLOB    NOT NULL,  -- the request that caused it
    causation_id   BLOB,              -- the event that caused it
    data           TEXT    NOT NULL,  -- JSON; what people wrote is in it only as a box sealed with their own key
    topic            INTEGER GENERATED ALWAYS AS (place >> 60) VIRTUAL,
    partition_number INTEGER GENERATED ALWAYS AS (place >> 44 & 0xffff) VIRTUAL,
    "offset"         INTEGER GENERATED ALWAYS AS (place & 0xfffffffffff) VIRTUAL
) STRICT;

-- One document per stream: what its events have come to.
CREATE TABLE documents (
    stream             BLOB    PRIMARY KEY,
    revision           INTEGER NOT NULL,  -- raised by every change of `state` or `private`; guards every change
    sequence           INTEGER NOT NULL,  -- of the newest event
    state              TEXT    NOT NULL,  -- JSON: what folding the stream's events gives
    private            TEXT,              -- JSON that is never in an event: password hash, sessions
    recent_commands    TEXT,              -- JSON: commands whose claims may not hold their answers yet
    published_sequence INTEGER,           -- the newest event that the log has acknowledged,
    published_log      INTEGER,           -- in which life of the log,
    published_place    INTEGER,           -- and where
    outbox_since       INTEGER            -- when the oldest event in `outbox` was recorded; NULL: none is there
) STRICT, WITHOUT ROWID;

CREATE INDEX documents_outbox_since ON documents (outbox_since) WHERE outbox_since IS NOT NULL;

-- Events that the log has not acknowledged. Empty where the log is in this file: there, an event is in `events` from
-- the moment that it is in its document.
CREATE TABLE outbox (
    stream         BLOB    NOT NULL,
    sequence       INTEGER NOT NULL,
    recorded_at    INTEGER NOT NULL,
    topic          INTEGER NOT NULL,
    lane           TEXT    NOT NULL,
    event_id       BLOB    NOT NULL,
    type           TEXT    NOT NULL,
    version        INTEGER NOT NULL,
    subject        TEXT    NOT NULL,
    time           INTEGER NOT NULL,
    actor          BLOB    NOT NULL,
    correlation_id BLOB    NOT NULL,
    causation_id   BLOB,
    data           TEXT    NOT NULL,
    PRIMARY KEY (stream, sequence)
) STRICT;

-- What lists show of a post, as JSON; no row once it is deleted. Apart from `renderings`, so that a page of previews
-- touches few pages of the file.
CREATE TABLE previews (
    post    BLOB NOT NULL PRIMARY KEY,
    preview TEXT NOT NULL
) STRICT;

-- What is shown of a post that is opened. Follows from its text and the renderer.
CREATE TABLE renderings (
    post     BLOB    NOT NULL PRIMARY KEY,
    renderer INTEGER NOT NULL,  -- which version of the renderer made it
    html     TEXT    NOT NULL   -- sanitised; empty once the post is deleted
) STRICT;

-- Uses of an Idempotency-Key, for a day.
CREATE TABLE command_claims (
    actor         TEXT    NOT NULL,
    key           TEXT    NOT NULL,
    digest        BLOB    NOT NULL,  -- keyed digest of method, path and body
    stream        BLOB    NOT NULL,  -- what the command writes
    claimed_at    INTEGER NOT NULL,
    answer_status INTEGER,           -- NULL: not answered (yet)
    answer_body   TEXT,
    answer_etag   TEXT,
    PRIMARY KEY (actor, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX command_claims_claimed_at ON command_claims (claimed_at);

-- Who has which user name.
CREATE TABLE usernames (
    name       TEXT    PRIMARY KEY,
    owner      BLOB    NOT NULL,   -- may have no document (yet)
    claimed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Each person's key for sealed text, wrapped by the server's key, which is not in this file.
CREATE TABLE person_keys (
    person  BLOB PRIMARY KEY,
    wrapped BLOB                   -- NULL: the person was erased, and what the key closed stays closed
) STRICT, WITHOUT ROWID;

-- Which build of a projection answers queries; generation 1 where there is no row.
CREATE TABLE serving_generations (
    projection TEXT    PRIMARY KEY,
    generation INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
