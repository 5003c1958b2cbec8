-- Version 1 of the file. It is created in one transaction.

CREATE TABLE store (
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
    id BLOB NOT NULL CHECK (length(id) = 16),
    -- The number of the last event, and the mark of its transaction.
    seq INTEGER NOT NULL DEFAULT 0,
    mark INTEGER NOT NULL DEFAULT 0,
    -- The same for the last event that was removed from the feed.
    trimmed INTEGER NOT NULL DEFAULT 0,
    trimmed_mark INTEGER NOT NULL DEFAULT 0,
    -- Entries that expired before this time may have been purged.
    purged_before INTEGER
) STRICT;

-- Times are seconds since 1970; an entry without an expiry has NULL. In texts a backslash is
-- doubled, and NUL, at which SQLite functions may end a text, is written as \0.
CREATE TABLE revoked (
    digest BLOB NOT NULL PRIMARY KEY CHECK (length(digest) = 16),
    -- Set for a rule; NULL for the revocation of one token.
    issued_at_or_before INTEGER,
    until INTEGER,
    at INTEGER NOT NULL,
    -- 1 if one token is revoked as spent, otherwise 0.
    spent INTEGER NOT NULL,
    -- The key of a rule, if it is known.
    issuer TEXT,
    claim TEXT,
    value TEXT,
    author TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX revoked_ends ON revoked (until) WHERE until IS NOT NULL;

-- The last lift of each key, retained for as long as the revocation would have been.
CREATE TABLE lifted (
    digest BLOB NOT NULL PRIMARY KEY CHECK (length(digest) = 16),
    at INTEGER NOT NULL,
    until INTEGER,
    author TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX lifted_ends ON lifted (until) WHERE until IS NOT NULL;

-- The number of uses of a token that are taken. The row stays when they are returned, to keep the
-- limit. Has a rowid: new rows and their entries in the index on until are then appended, although
-- tokens are random.
CREATE TABLE uses (
    token BLOB NOT NULL PRIMARY KEY CHECK (length(token) = 16),
    max_uses INTEGER NOT NULL,
    held INTEGER NOT NULL,
    until INTEGER,
    -- The id of the taken use of a single-use token.
    holder BLOB CHECK (length(holder) = 16)
) STRICT;
CREATE INDEX uses_end ON uses (until) WHERE until IS NOT NULL;

-- The taken uses of tokens with more than one use.
CREATE TABLE held (
    token BLOB NOT NULL CHECK (length(token) = 16),
    use_id BLOB NOT NULL CHECK (length(use_id) = 16),
    PRIMARY KEY (token, use_id)
) STRICT, WITHOUT ROWID;

-- What issued tokens mean, each under the SHA-256 of the token. Written once, and changed by nothing.
CREATE TABLE issued_tokens (
    hash BLOB NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    -- The digests of the keys of its subject and of its grant.
    of_subject BLOB CHECK (length(of_subject) = 16),
    of_grant BLOB CHECK (length(of_grant) = 16),
    until INTEGER,
    -- An object in JSON.
    body TEXT NOT NULL
) STRICT;
CREATE INDEX issued_of_subject ON issued_tokens (of_subject, hash) WHERE of_subject IS NOT NULL;
CREATE INDEX issued_of_grant ON issued_tokens (of_grant, hash) WHERE of_grant IS NOT NULL;
CREATE INDEX issued_ends ON issued_tokens (until) WHERE until IS NOT NULL;

-- The feed. what: 0 revoked, 1 used up, 2 lifted, 3 returned, 4 revoked as spent. Tokens that were
-- used up together share a row: seq is the number of its last event, and the others count down from
-- it.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    mark INTEGER NOT NULL,
    written INTEGER NOT NULL,
    what INTEGER NOT NULL,
    digests BLOB NOT NULL CHECK (length(digests) > 0 AND length(digests) % 16 = 0),
    issued_at_or_before INTEGER,
    -- A list in JSON, with an expiry or null for each digest.
    untils TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
