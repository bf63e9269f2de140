-- Conversations as their owners have them, and what was said and became of single messages. The index is made again from the
-- log, so that what was recorded before is in it too.
--
-- filed         Has two keys more: what was said about a record, and what became of it. The second is the beginning of the
--               record's id, which is its time: what lands together lies together.
DELETE FROM filed;
DELETE FROM open_calls;
DROP TABLE words;
@words
UPDATE position SET seq = 0;

-- talks         Who talks with whom. A row for each side: the seqs of the newest message or call, of the newest that the
--               owner sent, and up to which the owner has read; 0 for none. They only grow, and there is no index over them: a
--               row is written again with every batch in which something was said.
CREATE TABLE talks (
    owner    TEXT NOT NULL,
    peer     TEXT NOT NULL,
    last_seq BIGINT NOT NULL,
    sent_seq BIGINT NOT NULL,
    read_seq BIGINT NOT NULL,
    PRIMARY KEY (owner, peer)
) @clustered;
