-- Version 1 of the schema. {schema} is replaced by its name, {store} by the id of the store in hex.

CREATE TABLE {schema}.store (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    version integer NOT NULL,
    id bytea NOT NULL CHECK (octet_length(id) = 16),
    -- The number of the last event that was removed from the feed, and the mark of its transaction.
    trimmed bigint NOT NULL DEFAULT 0,
    trimmed_mark bigint NOT NULL DEFAULT 0,
    -- Entries that expired before this time may have been purged.
    purged_before bigint
);

INSERT INTO {schema}.store (version, id) VALUES (1, decode('{store}', 'hex'));

-- Times are seconds since 1970; an entry without an expiry has NULL. In texts a backslash is
-- doubled, and NUL, which PostgreSQL cannot store, is written as \0.
CREATE TABLE {schema}.revoked (
    digest bytea PRIMARY KEY CHECK (octet_length(digest) = 16),
    -- Set for a rule; NULL for the revocation of one token.
    issued_at_or_before bigint,
    until bigint,
    at bigint NOT NULL,
    -- Whether one token is revoked as spent.
    spent boolean NOT NULL,
    -- The key of a rule, if it is known.
    issuer text,
    claim text,
    value text,
    author text NOT NULL,
    reason text NOT NULL
);
CREATE INDEX revoked_ends ON {schema}.revoked (until) WHERE until IS NOT NULL;

-- The last lift of each key, retained for as long as the revocation would have been.
CREATE TABLE {schema}.lifted (
    digest bytea PRIMARY KEY CHECK (octet_length(digest) = 16),
    at bigint NOT NULL,
    until bigint,
    author text NOT NULL,
    reason text NOT NULL
);
CREATE INDEX lifted_ends ON {schema}.lifted (until) WHERE until IS NOT NULL;

-- The number of uses of a token that are taken. The row stays when they are returned, to keep the
-- limit.
CREATE TABLE {schema}.uses (
    token bytea PRIMARY KEY CHECK (octet_length(token) = 16),
    max_uses bigint NOT NULL,
    held bigint NOT NULL,
    until bigint,
    -- The id of the taken use of a single-use token.
    holder bytea CHECK (octet_length(holder) = 16)
);
CREATE INDEX uses_end ON {schema}.uses (until) WHERE until IS NOT NULL;

-- The taken uses of tokens with more than one use.
CREATE TABLE {schema}.held (
    token bytea NOT NULL CHECK (octet_length(token) = 16),
    use_id bytea NOT NULL CHECK (octet_length(use_id) = 16),
    PRIMARY KEY (token, use_id)
);

-- What issued tokens mean, each under the SHA-256 of the token. Written once, and changed by nothing.
CREATE TABLE {schema}.issued_tokens (
    hash bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
    -- The digests of the keys of its subject and of its grant.
    of_subject bytea CHECK (octet_length(of_subject) = 16),
    of_grant bytea CHECK (octet_length(of_grant) = 16),
    until bigint,
    -- An object in JSON.
    body text NOT NULL
);
CREATE INDEX issued_of_subject ON {schema}.issued_tokens (of_subject, hash)
    WHERE of_subject IS NOT NULL;
CREATE INDEX issued_of_grant ON {schema}.issued_tokens (of_grant, hash) WHERE of_grant IS NOT NULL;
CREATE INDEX issued_ends ON {schema}.issued_tokens (until) WHERE until IS NOT NULL;

-- The feed. what: 0 revoked, 1 used up, 2 lifted, 3 returned, 4 revoked as spent. Tokens that were
-- used up by one call of take_new share a row: seq is the number of its last event, and the others
-- count down from it.
CREATE TABLE {schema}.events (
    seq bigint PRIMARY KEY,
    mark bigint NOT NULL,
    -- By the clock of the server. That of a node may be wrong, and would trim too much.
    written bigint NOT NULL DEFAULT extract(epoch FROM statement_timestamp()),
    what smallint NOT NULL,
    digests bytea NOT NULL CHECK (octet_length(digests) = 16 * cardinality(untils)),
    issued_at_or_before bigint,
    untils bigint[] NOT NULL,
    at bigint NOT NULL
);

-- The state of the feed: seq and mark are those of the last event. No row keeps them: it would be
-- updated by every write, and while any snapshot is held, vacuum can't remove its old versions.
-- seq > trimmed: the scan doesn't step over entries of events that are removed and not vacuumed.
CREATE VIEW {schema}.state AS
    SELECT s.*, coalesce(e.seq, s.trimmed) AS seq, coalesce(e.mark, s.trimmed_mark) AS mark
    FROM {schema}.store s LEFT JOIN LATERAL (
        SELECT seq, mark FROM {schema}.events WHERE seq > s.trimmed ORDER BY seq DESC LIMIT 1
    ) e ON true;

-- Takes the lock of writers, which is held until the end of the transaction. Events are therefore
-- committed in the order of their numbers, and each later statement sees all that was written
-- before. It is an advisory lock: a table lock would cancel autovacuum, and a row lock would have to
-- be written to the row.
-- With synchronous_commit = off, COMMIT would return before the log is flushed. Whatever the default
-- of the server or of the role, an acknowledged write must be durable.
-- In PL/pgSQL, which keeps plans: a function in SQL would be planned at each call.
CREATE FUNCTION {schema}.take_turn() RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    PERFORM pg_advisory_xact_lock(1953656434, '{schema}.events'::regclass::oid::integer);
END
$$;

-- Takes uses of single-use tokens that have not been used before; a token must not be given twice.
-- Returns the digests of the tokens whose use was taken, concatenated, or NULL. About the others it
-- decides nothing.
CREATE FUNCTION {schema}.take_new(
    our_mark bigint, digests bytea[], ids bytea[], untils bigint[]
) RETURNS bytea LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    s record;
    won record;
BEGIN
    PERFORM {schema}.take_turn();
    SELECT seq, purged_before INTO STRICT s FROM {schema}.state;
    WITH new AS (
        INSERT INTO {schema}.uses
            SELECT digest, 1, 1, until, id
            FROM unnest(digests, ids, untils) AS asked (digest, id, until)
            WHERE until IS NULL OR s.purged_before IS NULL OR until >= s.purged_before
            ON CONFLICT DO NOTHING RETURNING token, until
    )
    SELECT string_agg(token, '') AS tokens, array_agg(until) AS untils, count(*) AS number
        INTO STRICT won FROM new;
    IF won.number > 0 THEN
        INSERT INTO {schema}.events VALUES (s.seq + won.number, our_mark, DEFAULT, 1, won.tokens,
            NULL, won.untils, 0);
        PERFORM pg_notify('tower-revoke-{store}', (s.seq + won.number)::text);
    END IF;
    RETURN won.tokens;
END
$$;

-- Removes up to at_once rows of each table that expired before a time. Returns the number of
-- entries removed, and whether there may be more.
CREATE FUNCTION {schema}.purge(before bigint, at_once bigint)
RETURNS TABLE (dropped bigint, more boolean) LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    rows_gone bigint;
    is_full boolean;
BEGIN
    PERFORM {schema}.take_turn();
    -- Recorded by every purge: a use that expired before this time is rejected, since
    -- its token may have been purged.
    UPDATE {schema}.store SET purged_before = before
        WHERE purged_before IS NULL OR purged_before < before;
    WITH due AS (SELECT digest FROM {schema}.revoked WHERE until < before LIMIT at_once)
    DELETE FROM {schema}.revoked AS t USING due WHERE t.digest = due.digest;
    GET DIAGNOSTICS rows_gone = ROW_COUNT;
    dropped := rows_gone;
    more := rows_gone = at_once;
    WITH due AS (SELECT digest FROM {schema}.lifted WHERE until < before LIMIT at_once)
    DELETE FROM {schema}.lifted AS t USING due WHERE t.digest = due.digest;
    GET DIAGNOSTICS rows_gone = ROW_COUNT;
    more := more OR rows_gone = at_once;
    WITH due AS (
        SELECT token FROM {schema}.uses WHERE until < before LIMIT at_once
    ), gone AS (
        DELETE FROM {schema}.uses AS t USING due WHERE t.token = due.token RETURNING t.*
    ), taken AS (
        DELETE FROM {schema}.held AS t USING gone
            WHERE gone.max_uses > 1 AND t.token = gone.token
    )
    SELECT count(*) = at_once, dropped + coalesce(sum(greatest(held, 1)), 0)::bigint
        FROM gone INTO is_full, dropped;
    more := more OR is_full;
    WITH due AS (SELECT hash FROM {schema}.issued_tokens WHERE until < before LIMIT at_once)
    DELETE FROM {schema}.issued_tokens AS t USING due WHERE t.hash = due.hash;
    GET DIAGNOSTICS rows_gone = ROW_COUNT;
    dropped := dropped + rows_gone;
    more := more OR rows_gone = at_once;
    RETURN NEXT;
END
$$;

-- Removes the oldest events: those beyond the capacity of the feed and those past its retention in
-- seconds, but at most at_once events. Returns the number of rows removed.
CREATE FUNCTION {schema}.trim_feed(kept bigint, retention bigint, at_once bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    s record;
    cut bigint;
    last record;
    rows_gone bigint;
BEGIN
    PERFORM {schema}.take_turn();
    SELECT * INTO STRICT s FROM {schema}.state;
    SELECT min(seq) - 1 INTO cut FROM {schema}.events
        WHERE seq > s.trimmed AND seq <= s.trimmed + at_once
        AND written >= extract(epoch FROM statement_timestamp()) - retention;
    IF cut IS NULL THEN
        cut := s.seq;
    END IF;
    cut := least(greatest(cut, s.seq - kept), s.trimmed + at_once, s.seq);
    -- Only whole rows are removed, so the cut moves back to the last event of one.
    SELECT coalesce(max(seq), s.trimmed) INTO STRICT cut FROM {schema}.events
        WHERE seq > s.trimmed AND seq <= cut;
    IF cut <= s.trimmed THEN
        RETURN 0;
    END IF;
    SELECT mark INTO STRICT last FROM {schema}.events WHERE seq = cut;
    DELETE FROM {schema}.events WHERE seq > s.trimmed AND seq <= cut;
    GET DIAGNOSTICS rows_gone = ROW_COUNT;
    UPDATE {schema}.store SET trimmed = cut, trimmed_mark = last.mark;
    RETURN rows_gone;
END
$$;
