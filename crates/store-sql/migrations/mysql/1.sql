-- Version 1 of the tables. {p} is replaced by the prefix of their names, {store} by the id of the
-- store in hex. DDL is not transactional here: an interrupted migration is started again, so each
-- statement must be repeatable. The row of the table store comes last, since it declares the
-- version.

-- Times are seconds since 1970; an entry without an expiry has NULL. In texts a backslash is
-- doubled, and NUL is written as \0.
CREATE TABLE IF NOT EXISTS `{p}revoked` (
    digest BINARY(16) NOT NULL PRIMARY KEY,
    -- Set for a rule; NULL for the revocation of one token.
    issued_at_or_before BIGINT,
    until BIGINT,
    at BIGINT NOT NULL,
    -- 1 if one token is revoked as spent, otherwise 0.
    spent BIGINT NOT NULL,
    -- The key of a rule, if it is known.
    issuer LONGTEXT,
    claim LONGTEXT,
    value LONGTEXT,
    author LONGTEXT NOT NULL,
    reason LONGTEXT NOT NULL,
    KEY ends (until)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The last lift of each key, retained for as long as the revocation would have been.
CREATE TABLE IF NOT EXISTS `{p}lifted` (
    digest BINARY(16) NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    until BIGINT,
    author LONGTEXT NOT NULL,
    reason LONGTEXT NOT NULL,
    KEY ends (until)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The number of uses of a token that are taken. The row stays when they are returned, to keep the
-- limit.
CREATE TABLE IF NOT EXISTS `{p}uses` (
    token BINARY(16) NOT NULL PRIMARY KEY,
    max_uses BIGINT NOT NULL,
    held BIGINT NOT NULL,
    until BIGINT,
    -- The id of the taken use of a single-use token.
    holder BINARY(16),
    KEY ends (until)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The taken uses of tokens with more than one use.
CREATE TABLE IF NOT EXISTS `{p}held` (
    token BINARY(16) NOT NULL,
    use_id BINARY(16) NOT NULL,
    PRIMARY KEY (token, use_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What issued tokens mean, each under the SHA-256 of the token. Written once, and changed by nothing.
CREATE TABLE IF NOT EXISTS `{p}issued_tokens` (
    hash BINARY(32) NOT NULL PRIMARY KEY,
    -- The digests of the keys of its subject and of its grant.
    of_subject BINARY(16),
    of_grant BINARY(16),
    until BIGINT,
    -- An object in JSON.
    body LONGTEXT NOT NULL,
    KEY of_subject (of_subject, hash),
    KEY of_grant (of_grant, hash),
    KEY ends (until)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The feed. what: 0 revoked, 1 used up, 2 lifted, 3 returned, 4 revoked as spent. Tokens that were
-- used up together share a row: seq is the number of its last event, and the others count down from
-- it. Events are numbered under the lock on the row of the table store. With AUTO_INCREMENT, a lower
-- number could be committed after a higher one, and readers would miss it.
CREATE TABLE IF NOT EXISTS `{p}events` (
    seq BIGINT NOT NULL PRIMARY KEY,
    mark BIGINT NOT NULL,
    written BIGINT NOT NULL,
    what BIGINT NOT NULL,
    digests MEDIUMBLOB NOT NULL,
    issued_at_or_before BIGINT,
    -- A list in brackets, with an expiry or NULL for each digest.
    untils MEDIUMBLOB NOT NULL,
    at BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- One row. Each writer holds a lock on it from its first statement to the commit.
CREATE TABLE IF NOT EXISTS `{p}store` (
    only_one BIGINT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    id BINARY(16) NOT NULL,
    -- The number of the last event, and the mark of its transaction.
    seq BIGINT NOT NULL,
    mark BIGINT NOT NULL,
    -- The same for the last event that was removed from the feed.
    trimmed BIGINT NOT NULL,
    trimmed_mark BIGINT NOT NULL,
    -- Entries that expired before this time may have been purged.
    purged_before BIGINT,
    -- Incremented when a write is acknowledged that finds everything in place, so that its commit
    -- flushes the log.
    repeats BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

INSERT INTO `{p}store` VALUES (1, 1, x'{store}', 0, 0, 0, 0, NULL, 0);
