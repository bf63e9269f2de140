-- files     What people upload for messages; the bytes are not here. conversation is '' until a message names the file, sha256 is empty
--           while it is being uploaded, thumbnail when there is none. recorded is the seq of the message that names it, 0 for none: such
--           a file is removed after a while.
CREATE TABLE files (
    id           TEXT PRIMARY KEY,
    owner        TEXT NOT NULL,
    conversation TEXT NOT NULL,
    name         TEXT NOT NULL,
    type         TEXT NOT NULL,
    size         BIGINT NOT NULL,
    sha256       @bytes NOT NULL,
    thumbnail    @bytes NOT NULL,
    width        BIGINT NOT NULL,
    height       BIGINT NOT NULL,
    created      BIGINT NOT NULL,
    recorded     BIGINT NOT NULL
);
CREATE INDEX files_open ON files (owner, created) WHERE recorded = 0;
CREATE INDEX files_created ON files (created, id);
CREATE INDEX files_sha256 ON files (sha256);
CREATE INDEX files_thumbnail ON files (thumbnail);
