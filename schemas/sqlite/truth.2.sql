-- The truth, version 2: what operators have decided. See version 1 for how to read it.

-- Projections that an operator has paused. Here, and not with the read models: a pause outlasts a rebuild.
CREATE TABLE paused_projections (
    projection TEXT    PRIMARY KEY,
    since      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
