-- The first version of the file. Each step of the schema is one transaction.

CREATE TABLE store (
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
    id BLOB NOT NULL CHECK (length(id) = 16),
    -- The last event, and the mark of the transaction that made it.
    seq INTEGER NOT NULL DEFAULT 0,
    mark INTEGER NOT NULL DEFAULT 0,
    -- The same of the last event that was forgotten.
    trimmed INTEGER NOT NULL DEFAULT 0,
    trimmed_mark INTEGER NOT NULL DEFAULT 0,
    -- What ended before this may have been forgotten.
    purged_before INTEGER
) STRICT;

-- Times are seconds since 1970; no end is NULL. In texts a backslash stands for itself when it is
-- doubled, and \0 for the character at which a C program would end them.
CREATE TABLE revoked (
    digest BLOB NOT NULL PRIMARY KEY CHECK (length(digest) = 16),
    -- Of a rule; NULL: one token is revoked.
    issued_at_or_before INTEGER,
    until INTEGER,
    at INTEGER NOT NULL,
    -- The key of a rule, where it is known.
    issuer TEXT,
    claim TEXT,
    value TEXT,
    said_by TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX revoked_ends ON revoked (until) WHERE until IS NOT NULL;

-- The last lift of each key, kept for as long as what it lifted would have been.
CREATE TABLE lifted (
    digest BLOB NOT NULL PRIMARY KEY CHECK (length(digest) = 16),
    at INTEGER NOT NULL,
    until INTEGER,
    said_by TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX lifted_ends ON lifted (until) WHERE until IS NOT NULL;

-- How many uses of a token are held. A row stays when they are returned: the limit stays known.
CREATE TABLE uses (
    token BLOB NOT NULL PRIMARY KEY CHECK (length(token) = 16),
    max_uses INTEGER NOT NULL,
    held INTEGER NOT NULL,
    until INTEGER,
    -- The use that was taken, of a token with one use.
    holder BLOB CHECK (length(holder) = 16)
) STRICT, WITHOUT ROWID;
CREATE INDEX uses_end ON uses (until) WHERE until IS NOT NULL;

-- Which uses were taken, of tokens with more than one use.
CREATE TABLE held (
    token BLOB NOT NULL CHECK (length(token) = 16),
    use_id BLOB NOT NULL CHECK (length(use_id) = 16),
    PRIMARY KEY (token, use_id)
) STRICT, WITHOUT ROWID;

-- The feed. what: 0 revoked, 1 spent, 2 lifted, 3 returned.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    mark INTEGER NOT NULL,
    written INTEGER NOT NULL,
    what INTEGER NOT NULL,
    digest BLOB NOT NULL CHECK (length(digest) = 16),
    issued_at_or_before INTEGER,
    until INTEGER,
    at INTEGER NOT NULL
) STRICT;
