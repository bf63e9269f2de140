-- The log of everything said and done, one row a record, and nothing else: the append must touch no other table.
--
-- log     Rows are never changed. Seq is given by the one writer, ascending; gaps are possible. Times are microseconds
--         since 1970 UTC. Meta is a flat JSON object with sorted keys, NULL for none. Body is last, so that readers of the
--         other columns do not walk through it.
CREATE TABLE log (
    seq          @seq PRIMARY KEY,
    id           @bytes NOT NULL,
    at           BIGINT NOT NULL,
    kind         TEXT NOT NULL,
    sender       TEXT NOT NULL,
    recipient    TEXT NOT NULL,
    device       TEXT NOT NULL,
    ref          @bytes,
    meta         TEXT,
    content_type TEXT NOT NULL,
    hash         @bytes NOT NULL,
    body         @bytes NOT NULL
);

-- voided  Rows of the log whose senders were told that they were not recorded, because the database answered too late.
--         Written in one transaction with the "void" record (void is its seq) that says so in the log itself.
CREATE TABLE voided (
    seq  @seq PRIMARY KEY,
    void BIGINT NOT NULL
);

-- writer  Counters of the writer. head: the highest seq given out; on PostgreSQL its row lock puts the commits of several
--         nodes in order. recoveries: how often the log was verified after an input/output error; writing it proves that the
--         database takes writes again.
CREATE TABLE writer (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO writer (name, value) VALUES ('head', 0), ('recoveries', 0);
