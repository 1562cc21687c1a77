-- The read models, version 3.

-- How often something was given up that projections tell readers of beside the read models: `cache` (all that is cached
-- is of no use any more) and `live` (messages to streams were lost, which read the rows again). Raised before the
-- checkpoint passes the events that could not be told of. Without a row it is 0.
CREATE TABLE epochs (
    kind  TEXT    NOT NULL PRIMARY KEY,
    epoch INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
