-- Read models, version 2. See version 1 for how to read them.

-- How often work on what follows the checkpoint was begun and not ended: 1 while its owner runs, 0 after a clean end.
-- Beyond 3, what follows is run alone in its process, in ranges that are halved until the event that ends processes is
-- found.
ALTER TABLE checkpoints ADD COLUMN starts INTEGER NOT NULL DEFAULT 0;
-- Up to where everything is run alone; NULL: nothing is.
ALTER TABLE checkpoints ADD COLUMN careful_until INTEGER;
-- Where the range ends that is run alone now, or was when the process ended; NULL: none is.
ALTER TABLE checkpoints ADD COLUMN trial_until INTEGER;
-- How often that range was begun.
ALTER TABLE checkpoints ADD COLUMN trial_starts INTEGER NOT NULL DEFAULT 0;

-- How often draining the lane's queue was begun and not ended. From 3 on, only an operator's retry drains it.
ALTER TABLE parked_lanes ADD COLUMN unfinished_drains INTEGER NOT NULL DEFAULT 0;

-- What operators want done with parked lanes; the partition's owner does it between two batches. A row whose outcome is
-- an hour old goes when the next is asked for.
CREATE TABLE lane_requests (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    generation   INTEGER NOT NULL,
    projection   TEXT    NOT NULL,
    topic        TEXT    NOT NULL,
    partition    INTEGER NOT NULL,
    lane         TEXT    NOT NULL,
    drop_up_to   INTEGER,           -- events up to this offset are dropped first; NULL: only tried again
    requested_at INTEGER NOT NULL,
    begun        INTEGER NOT NULL,  -- 1: an owner is at it, or ended while it was
    outcome      TEXT               -- drained, parked or interrupted; NULL: not done yet
) STRICT;

CREATE INDEX lane_requests_waiting ON lane_requests (id) WHERE outcome IS NULL;

-- Events that an operator took out of a parked lane's queue: the read models lack their effects for good.
CREATE TABLE dropped_events (
    generation INTEGER NOT NULL,
    projection TEXT    NOT NULL,
    topic      TEXT    NOT NULL,
    partition  INTEGER NOT NULL,
    "offset"   INTEGER NOT NULL,
    lane       TEXT    NOT NULL,
    reason     TEXT    NOT NULL,  -- why the lane was parked
    dropped_at INTEGER NOT NULL,
    PRIMARY KEY (generation, projection, topic, partition, "offset")
) STRICT, WITHOUT ROWID;

-- What each partition's worker says of itself, written when it changes. Whether its process still runs is told by the
-- lock on the data directory.
CREATE TABLE worker_states (
    generation   INTEGER NOT NULL,
    projection   TEXT    NOT NULL,
    topic        TEXT    NOT NULL,
    partition    INTEGER NOT NULL,
    state        TEXT    NOT NULL,  -- running, stalled, faulted or paused
    since        INTEGER NOT NULL,
    error        TEXT,              -- the newest error, also after it is over
    error_offset INTEGER,           -- the event that it is about, if it is about one
    error_at     INTEGER,
    PRIMARY KEY (generation, projection, topic, partition)
) STRICT, WITHOUT ROWID;
