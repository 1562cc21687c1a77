-- The read models, version 1: what queries are answered from. All of it can be made again from the log.
--
-- For operators: the file may be deleted while the server is stopped; the projections build it again from the log's
-- first event. What must not be lost is in the truth's file.
--
-- For analysts: open it read-only (`sqlite3 'file:read_models.db?mode=ro'`). Readers never block the server, but a
-- transaction left open keeps the write-ahead log from shrinking.
--   * `generation` opens every key: one build of a projection. Which one serves is in the truth's file, table
--     `serving_generations`; where it has no row, generation 1 serves. Always filter by it.
--     Posts, comments and reactions are written by the projection `engagement`; edges, hot authors, author_posts,
--     homes and their marks by `timelines`.
--   * Ids are the sixteen bytes of a UUIDv7, whose first six bytes are milliseconds since 1970: the greater id is
--     the newer. `lower(hex(post))` shows one without its hyphens.
--   * `sequence` numbers the events of one stream from 1. `position`, `created`, `changed` and `listed` are offsets
--     in the partition of the posts topic that the post's lane is in; -1 means before the first.
--   * Truth values are 0 and 1. Times are milliseconds since 1970.
--   * What was removed stays as a tombstone with its sequence, so that a repeated old event cannot bring it back.

-- What is counted about each post. The counts equal the rows of `comments` and `reactions`.
CREATE TABLE posts (
    generation INTEGER NOT NULL,
    post       BLOB    NOT NULL,
    likes      INTEGER NOT NULL,  -- reactions with liked = 1
    comments   INTEGER NOT NULL,  -- comments that are not deleted
    position   INTEGER NOT NULL,  -- newest event that the counts contain; guards every change
    listed     INTEGER NOT NULL,  -- up to where the rows of comments and reactions are written
    sequence   INTEGER NOT NULL,  -- newest event of the post's own stream
    changed    INTEGER NOT NULL,  -- where that event is
    deleted    INTEGER NOT NULL,  -- whether that event is the post's deletion
    PRIMARY KEY (generation, post)
) STRICT, WITHOUT ROWID;

-- Comments. A row with a rowid: texts are long, and keys should stay close together.
CREATE TABLE comments (
    generation INTEGER NOT NULL,
    post       BLOB    NOT NULL,
    comment    BLOB    NOT NULL,
    author     BLOB    NOT NULL,
    parent     BLOB,              -- the comment that this one answers
    text       TEXT,              -- NULL: deleted
    edited_at  INTEGER,
    sequence   INTEGER NOT NULL,
    created    INTEGER NOT NULL,  -- where `comment.added` is
    position   INTEGER NOT NULL,  -- where the row's newest event is; never below `created`
    PRIMARY KEY (generation, post, comment)
) STRICT;

-- Pages of comments, newest first, without reading past the deleted.
CREATE INDEX comments_shown ON comments (generation, post, comment) WHERE text IS NOT NULL;

-- What a resumed stream has missed.
CREATE INDEX comments_changed ON comments (generation, post, position);

-- What each person thinks of each post.
CREATE TABLE reactions (
    generation INTEGER NOT NULL,
    post       BLOB    NOT NULL,
    user       BLOB    NOT NULL,
    liked      INTEGER NOT NULL,  -- 0: withdrawn
    sequence   INTEGER NOT NULL,
    position   INTEGER NOT NULL,
    PRIMARY KEY (generation, post, user)
) STRICT, WITHOUT ROWID;

-- Who likes a post, newest first.
CREATE INDEX reactions_liked ON reactions (generation, post, position) WHERE liked = 1;

-- What one person does about another: one direction of a pair.
CREATE TABLE edges (
    generation INTEGER NOT NULL,
    from_user  BLOB    NOT NULL,
    to_user    BLOB    NOT NULL,
    following  INTEGER NOT NULL,
    blocking   INTEGER NOT NULL,
    sequence   INTEGER NOT NULL,  -- newest event of this direction, in the pair's stream
    PRIMARY KEY (generation, from_user, to_user)
) STRICT, WITHOUT ROWID;

-- Followers of an author, by id.
CREATE INDEX edges_followers ON edges (generation, to_user, from_user) WHERE following = 1;

-- Blocks, from either end: they are few among the edges.
CREATE INDEX edges_blocking ON edges (generation, from_user, to_user) WHERE blocking = 1;
CREATE INDEX edges_blocked ON edges (generation, to_user, from_user) WHERE blocking = 1;

-- Authors with so many followers that readers merge their posts. A row is never taken back.
CREATE TABLE hot_authors (
    generation INTEGER NOT NULL,
    author     BLOB    NOT NULL,
    PRIMARY KEY (generation, author)
) STRICT, WITHOUT ROWID;

-- All that each author published.
CREATE TABLE author_posts (
    generation INTEGER NOT NULL,
    author     BLOB    NOT NULL,
    post       BLOB    NOT NULL,
    deleted    INTEGER NOT NULL,
    sequence   INTEGER NOT NULL,  -- `post.published` or `post.deleted`, in the post's stream
    partition  INTEGER NOT NULL,  -- where that event is in the posts topic
    "offset"   INTEGER NOT NULL,
    PRIMARY KEY (generation, author, post)
) STRICT, WITHOUT ROWID;

-- Homes made ahead of time: which posts each person finds in theirs. Rows of authors who are no longer followed stay;
-- readers leave them out.
CREATE TABLE homes (
    generation INTEGER NOT NULL,
    owner      BLOB    NOT NULL,
    post       BLOB    NOT NULL,
    author     BLOB    NOT NULL,
    partition  INTEGER NOT NULL,  -- where `post.published` is in the posts topic
    "offset"   INTEGER NOT NULL,
    PRIMARY KEY (generation, owner, post)
) STRICT, WITHOUT ROWID;

-- A home is complete above its mark, a post's id, and ends there: what is older is merged from `author_posts`. A home
-- without a row here is complete. The mark only rises.
CREATE TABLE home_marks (
    generation INTEGER NOT NULL,
    owner      BLOB    NOT NULL,
    mark       BLOB    NOT NULL,
    PRIMARY KEY (generation, owner)
) STRICT, WITHOUT ROWID;

-- How far each projection is in each partition of its topics, and who may say so.
CREATE TABLE checkpoints (
    generation INTEGER NOT NULL,
    projection TEXT    NOT NULL,
    topic      TEXT    NOT NULL,
    partition  INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,  -- raised by every new owner: only the newest owner's writes count
    log        TEXT,              -- which life of the log "offset" is of; NULL: nothing done yet
    "offset"   INTEGER,           -- all effects up to here are done, or wait in `parked_events`
    PRIMARY KEY (generation, projection, topic, partition)
) STRICT, WITHOUT ROWID;

-- Lanes whose events wait because the first of them could not be applied. Ask this table first when something that
-- was accepted does not show.
CREATE TABLE parked_lanes (
    generation INTEGER NOT NULL,
    projection TEXT    NOT NULL,
    topic      TEXT    NOT NULL,
    partition  INTEGER NOT NULL,
    lane       TEXT    NOT NULL,  -- the record key
    reason     TEXT    NOT NULL,  -- why the first event could not be applied
    PRIMARY KEY (generation, projection, topic, partition, lane)
) STRICT, WITHOUT ROWID;

-- The events that wait, in the order of their offsets.
CREATE TABLE parked_events (
    generation INTEGER NOT NULL,
    projection TEXT    NOT NULL,
    topic      TEXT    NOT NULL,
    partition  INTEGER NOT NULL,
    lane       TEXT    NOT NULL,
    "offset"   INTEGER NOT NULL,
    PRIMARY KEY (generation, projection, topic, partition, lane, "offset")
) STRICT, WITHOUT ROWID;
