-- The read models, version 2. Version 1 says how to read them.

-- Feed streams: which posts are news, what of a person's feed has changed other than by news, and what has come late.

-- Whether `post.published` says that the post comes from elsewhere with its original time: nobody is told that it is
-- new. Homes hold such posts with "offset" -1.
ALTER TABLE author_posts ADD COLUMN imported INTEGER NOT NULL DEFAULT 0;

-- What an author has published since a moment: for readers whose home was trimmed, and for posts of hot authors.
CREATE INDEX author_posts_since ON author_posts (generation, author, partition, "offset")
    WHERE deleted = 0 AND imported = 0;

-- A number for each person that is another one after each change of whom they follow or block, and after posts have
-- come into their home, or have stayed out of it, in another way than as news: whoever has seen another number loads
-- the feed afresh. Without a row it is 0.
CREATE TABLE relation_stamps (
    generation INTEGER NOT NULL,
    user       BLOB    NOT NULL,
    stamp      INTEGER NOT NULL,  -- random
    PRIMARY KEY (generation, user)
) STRICT, WITHOUT ROWID;

-- How often events have left a queue of `parked_events`: so often did effects come later than the checkpoint says.
CREATE TABLE drains (
    generation INTEGER NOT NULL,
    projection TEXT    NOT NULL,
    drains     INTEGER NOT NULL,
    PRIMARY KEY (generation, projection)
) STRICT, WITHOUT ROWID;

-- Rows of imported posts say so from now on: the projection `timelines` is built again from the log.
DELETE FROM edges;
DELETE FROM hot_authors;
DELETE FROM author_posts;
DELETE FROM homes;
DELETE FROM home_marks;
DELETE FROM checkpoints WHERE projection = 'timelines';
DELETE FROM parked_lanes WHERE projection = 'timelines';
DELETE FROM parked_events WHERE projection = 'timelines';

-- Operating.

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

-- Profiles, mutes, versions of texts.

-- Mutes: one more half of a direction, written by `timelines` like the others.
ALTER TABLE edges ADD COLUMN muting INTEGER NOT NULL DEFAULT 0;

-- Whom each person mutes: they are few among the edges.
CREATE INDEX edges_muting ON edges (generation, from_user, to_user) WHERE muting = 1;

-- What people show of themselves, and their numbers. Written, as the next two tables, by the projection `profiles`.
-- A row with a rowid: bios are long, and keys should stay close together.
CREATE TABLE profiles (
    generation   INTEGER NOT NULL,
    user         BLOB    NOT NULL,
    username     TEXT,              -- NULL, as the next two: followed or writing, and no account known yet, or erased
    display_name TEXT,
    bio          TEXT,              -- empty: says nothing
    sequence     INTEGER NOT NULL,  -- newest event of the account's stream; 0: none yet
    followers    INTEGER NOT NULL,  -- rows of `follows` to them with following = 1
    following    INTEGER NOT NULL,  -- rows of `follows` from them with following = 1
    posts        INTEGER NOT NULL,  -- rows of `profile_posts` of theirs with listed = 1
    PRIMARY KEY (generation, user)
) STRICT;

-- People by their user names.
CREATE INDEX profiles_username ON profiles (generation, username);

-- Who follows whom since when: what both lists are read from. The two numbers in `profiles` change in the transaction
-- in which `following` does.
CREATE TABLE follows (
    generation INTEGER NOT NULL,
    from_user  BLOB    NOT NULL,
    to_user    BLOB    NOT NULL,
    following  INTEGER NOT NULL,  -- 0: no longer
    sequence   INTEGER NOT NULL,  -- the event that began or ended it, in the pair's stream
    since      INTEGER NOT NULL,  -- when that event was
    PRIMARY KEY (generation, from_user, to_user)
) STRICT, WITHOUT ROWID;

-- Both lists, newest first.
CREATE INDEX follows_followers ON follows (generation, to_user, since, from_user) WHERE following = 1;
CREATE INDEX follows_following ON follows (generation, from_user, since, to_user) WHERE following = 1;

-- Which posts are counted in `profiles`. The number changes in the transaction in which `listed` does.
CREATE TABLE profile_posts (
    generation INTEGER NOT NULL,
    author     BLOB    NOT NULL,
    post       BLOB    NOT NULL,
    listed     INTEGER NOT NULL,  -- 0: deleted
    sequence   INTEGER NOT NULL,  -- `post.published` or `post.deleted`, in the post's stream
    PRIMARY KEY (generation, author, post)
) STRICT, WITHOUT ROWID;

-- All that posts and comments ever said, written by `engagement` and gone with the deletion of the post or comment. A
-- row with a rowid: texts are long.
CREATE TABLE versions (
    generation INTEGER NOT NULL,
    stream     TEXT    NOT NULL,  -- `post-<id>` or `comment-<id>`
    sequence   INTEGER NOT NULL,  -- the event in that stream, which is the version's number
    at         INTEGER NOT NULL,  -- when the event was
    title      TEXT,              -- of posts that have one
    text       TEXT    NOT NULL,  -- Markdown of a post, plain text of a comment
    PRIMARY KEY (generation, stream, sequence)
) STRICT;

-- Posts and comments that were written before there were versions get theirs: `engagement` builds its rows again.
DELETE FROM posts;
DELETE FROM comments;
DELETE FROM reactions;
DELETE FROM parked_events WHERE projection = 'engagement';
DELETE FROM parked_lanes WHERE projection = 'engagement';
DELETE FROM checkpoints WHERE projection = 'engagement';
