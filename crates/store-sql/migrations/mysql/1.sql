-- The first version of the tables. {p} stands for the prefix of their names, {store} for 32 hex
-- digits. There are no transactions around it: what was cut off is begun again, and each statement
-- must bear that. The row of the table store, with which the version appears, comes last.

-- Times are seconds since 1970; no end is NULL. In texts a backslash stands for itself when it is
-- doubled, and \0 for the character of that number.
CREATE TABLE IF NOT EXISTS `{p}revoked` (
    digest BINARY(16) NOT NULL PRIMARY KEY,
    -- Of a rule; NULL: one token is revoked.
    issued_at_or_before BIGINT,
    until BIGINT,
    at BIGINT NOT NULL,
    -- The key of a rule, where it is known.
    issuer LONGTEXT,
    claim LONGTEXT,
    value LONGTEXT,
    said_by LONGTEXT NOT NULL,
    reason LONGTEXT NOT NULL,
    KEY ends (until)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The last lift of each key, kept for as long as what it lifted would have been.
CREATE TABLE IF NOT EXISTS `{p}lifted` (
    digest BINARY(16) NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    until BIGINT,
    said_by LONGTEXT NOT NULL,
    reason LONGTEXT NOT NULL,
    KEY ends (until)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- How many uses of a token are held. A row stays when they are returned: the limit stays known.
CREATE TABLE IF NOT EXISTS `{p}uses` (
    token BINARY(16) NOT NULL PRIMARY KEY,
    max_uses BIGINT NOT NULL,
    held BIGINT NOT NULL,
    until BIGINT,
    -- The use that was taken, of a token with one use.
    holder BINARY(16),
    KEY ends (until)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Which uses were taken, of tokens with more than one use.
CREATE TABLE IF NOT EXISTS `{p}held` (
    token BINARY(16) NOT NULL,
    use_id BINARY(16) NOT NULL,
    PRIMARY KEY (token, use_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The feed. what: 0 revoked, 1 spent, 2 lifted, 3 returned. Its numbers are given out under the lock of
-- the row of the table store, not by the server: those would be committed in another order.
CREATE TABLE IF NOT EXISTS `{p}events` (
    seq BIGINT NOT NULL PRIMARY KEY,
    mark BIGINT NOT NULL,
    written BIGINT NOT NULL,
    what BIGINT NOT NULL,
    digest BINARY(16) NOT NULL,
    issued_at_or_before BIGINT,
    until BIGINT,
    at BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- One row, locked by whoever writes, from the first statement to the commit.
CREATE TABLE IF NOT EXISTS `{p}store` (
    only_one BIGINT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    id BINARY(16) NOT NULL,
    -- The last event, and the mark of the transaction that made it.
    seq BIGINT NOT NULL,
    mark BIGINT NOT NULL,
    -- The same of the last event that was forgotten.
    trimmed BIGINT NOT NULL,
    trimmed_mark BIGINT NOT NULL,
    -- What ended before this may have been forgotten.
    purged_before BIGINT,
    -- How often something was acknowledged that was found there already.
    repeats BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

INSERT INTO `{p}store` VALUES (1, 1, x'{store}', 0, 0, 0, 0, NULL, 0);
