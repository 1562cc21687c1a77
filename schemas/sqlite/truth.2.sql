-- The truth, version 2: what operators have decided, and who shares the work. See version 1 for how to read it.

-- Projections that an operator has paused. Here, and not with the read models: a pause outlasts a rebuild.
CREATE TABLE paused_projections (
    projection TEXT    PRIMARY KEY,
    since      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Processes that share the log's partitions among them, where several are at work on this file; none where one process
-- serves everything. A row that is not renewed in time is of a process that went without a word.
CREATE TABLE group_members (
    group_name TEXT    NOT NULL,   -- the projection's name
    member     INTEGER NOT NULL,   -- drawn at random at each start
    topics     TEXT    NOT NULL,   -- names of those that it reads, with spaces between them
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (group_name, member)
) STRICT, WITHOUT ROWID;
