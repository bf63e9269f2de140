-- What was done to messages, as it stands now: whoever edits a message or changes a reaction again and again must not make
-- each page with it longer. The index is made again from the log, so that what was recorded before is in it too.
--
-- changes       The latest edit and retraction of each person, the latest reaction of each with each emoji, and how calls
--               ended (filing/changes.go). about is the beginning of the id of the message, what a hash of all that a later
--               record takes the place of, gone 1 for a reaction that was taken back.
CREATE TABLE changes (
    about BIGINT NOT NULL,
    what  BIGINT NOT NULL,
    gone  BIGINT NOT NULL,
    seq   BIGINT NOT NULL,
    PRIMARY KEY (about, what)
) @clustered;

DELETE FROM filed;
DELETE FROM open_calls;
DELETE FROM talks;
DROP TABLE words;
@words
UPDATE indexed SET seq = 0 WHERE one = 1;
