-- The read models, version 2.

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
