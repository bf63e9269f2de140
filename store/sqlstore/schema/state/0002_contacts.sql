-- What people have of each other: who they are, and whom they keep in their lists.
--
-- users             What the directory tells of a person. Words that begin a search are in people_words.
ALTER TABLE users ADD COLUMN title TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN department TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN office TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN phone TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN mobile TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN email TEXT NOT NULL DEFAULT '';

-- people_words      The words by which each account is found, cut and folded by us, in the order of their bytes. Made from
--                   users; an account that is disabled has none.
CREATE TABLE people_words (
    word @bytes NOT NULL,
    aor  TEXT NOT NULL,
    PRIMARY KEY (word, aor)
) @clustered;
CREATE INDEX people_words_aor ON people_words (aor, word);

-- contact_lists     Who has a list: version is the last number of the owner's sequence; removals after "known" are known.
CREATE TABLE contact_lists (
    owner   TEXT PRIMARY KEY,
    version BIGINT NOT NULL,
    known   BIGINT NOT NULL
);

-- contacts          Who is in a list. in_groups are the ids of the owner's groups, with a space between.
CREATE TABLE contacts (
    owner     TEXT NOT NULL,
    id        BIGINT NOT NULL,
    version   BIGINT NOT NULL,
    address   TEXT NOT NULL,
    name      TEXT NOT NULL,
    note      TEXT NOT NULL,
    favourite BIGINT NOT NULL,
    place     BIGINT NOT NULL,
    in_groups TEXT NOT NULL,
    PRIMARY KEY (owner, id)
) @clustered;
CREATE UNIQUE INDEX contacts_address ON contacts (address, owner);

-- contact_groups    The groups of a list.
CREATE TABLE contact_groups (
    owner   TEXT NOT NULL,
    id      BIGINT NOT NULL,
    version BIGINT NOT NULL,
    name    TEXT NOT NULL,
    place   BIGINT NOT NULL,
    PRIMARY KEY (owner, id)
) @clustered;

-- relations         What a person, a group (subject is its id) or a domain is to an owner: the name of a level of policy.
CREATE TABLE relations (
    owner   TEXT NOT NULL,
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    level   TEXT NOT NULL,
    since   BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (owner, kind, subject)
) @clustered;

-- contact_removals  What was removed from a list and its groups and relations, for those who ask what changed.
CREATE TABLE contact_removals (
    owner   TEXT NOT NULL,
    version BIGINT NOT NULL,
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    PRIMARY KEY (owner, version)
) @clustered;
