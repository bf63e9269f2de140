-- Conversations of people, and what was said about and became of single messages. The index is made again from the log, so
-- that what was recorded before is in it too.
--
-- indexed       The seq up to which the log is indexed: one row. It was "position": a program of before, on another node,
--               must not go on writing.
DROP TABLE position;
CREATE TABLE indexed (
    one BIGINT PRIMARY KEY,
    seq BIGINT NOT NULL
);
INSERT INTO indexed (one, seq) VALUES (1, 0);

-- filed         A conversation has a key for each direction now, and two are new: what was said about a record, and what
--               became of it (filing/keys.go).
DELETE FROM filed;
DELETE FROM open_calls;
DROP TABLE words;
@words

-- talks         Who talks with whom, a row for each side. out_key and in_key are the keys of what the owner said and got;
--               what was said last is the end of what is filed under them, so that this table is only written when two
--               people talk for the first time, and when one of them has read: read_seq is up to where, 0 for none.
CREATE TABLE talks (
    owner    TEXT NOT NULL,
    peer     TEXT NOT NULL,
    out_key  BIGINT NOT NULL,
    in_key   BIGINT NOT NULL,
    read_seq BIGINT NOT NULL,
    PRIMARY KEY (owner, peer)
) @clustered;
