-- users             since: the head of the log when the account was made, 0 when that is not known. What stands before it in the log
--                   was said to an earlier account of this name, whatever the clock says.
ALTER TABLE users ADD COLUMN since BIGINT NOT NULL DEFAULT 0;
