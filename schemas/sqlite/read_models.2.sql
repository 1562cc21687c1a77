-- The read models, version 2.

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
