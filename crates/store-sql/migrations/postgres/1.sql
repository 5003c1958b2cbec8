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
    said_by text NOT NULL,
    reason text NOT NULL
);
CREATE INDEX revoked_ends ON {schema}.revoked (until) WHERE until IS NOT NULL;

-- The last lift of each key, retained for as long as the revocation would have been.
CREATE TABLE {schema}.lifted (
    digest bytea PRIMARY KEY CHECK (octet_length(digest) = 16),
    at bigint NOT NULL,
    until bigint,
    said_by text NOT NULL,
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
-- committed in the order of their numbers, and each later statement of the function sees all that
-- was written before. It is an advisory lock: a table lock would cancel autovacuum, and a row lock
-- would have to be written to the row.
CREATE FUNCTION {schema}.take_turn() RETURNS void LANGUAGE sql VOLATILE AS $$
    SELECT pg_advisory_xact_lock(1953656434, '{schema}.events'::regclass::oid::integer)
$$;

-- Applies operations in the order of the arrays, in one transaction.
-- kinds: 0 revoke, 1 lift, 2 take a use, 3 return a use, 4 restore a revocation, 5 restore a lift.
-- Returns a row for each operation of kind 1, 2 or 3. outcome: 0 no, 1 yes, 2 limit mismatch,
-- 3 expired; number: the uses that are left, or the stored limit on a mismatch.
CREATE FUNCTION {schema}.apply(
    our_mark bigint,
    kinds smallint[], digests bytea[], ids bytea[], limits bigint[], issued bigint[],
    untils bigint[], ats bigint[], spents boolean[], issuers text[], claims text[], vals text[],
    bys text[], reasons text[]
) RETURNS TABLE (n bigint, outcome smallint, number bigint) LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    op record;
    s record;
    r record;
    u record;
    l record;
    next_seq bigint;
    is_held boolean;
    now_held bigint;
    new_issued bigint;
    new_until bigint;
    new_at bigint;
    new_spent boolean;
    says_nothing boolean;
    is_new boolean;
    told smallint;
    told_issued bigint;
    told_until bigint;
    told_at bigint;
BEGIN
    -- With off, COMMIT would return before the log is flushed. Whatever the default of the server
    -- or of the role, an acknowledged write must be durable; this holds for the transaction.
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    PERFORM {schema}.take_turn();
    SELECT seq, purged_before INTO STRICT s FROM {schema}.state;
    next_seq := s.seq;
    FOR op IN
        SELECT * FROM unnest(kinds, digests, ids, limits, issued, untils, ats, spents, issuers,
            claims, vals, bys, reasons) WITH ORDINALITY AS asked (kind, digest, id, max_uses,
            issued, until, at, spent, issuer, claim, value, said_by, reason, place)
    LOOP
        told := NULL;
        told_issued := NULL;
        told_at := 0;
        IF op.kind = 0 OR op.kind = 4 THEN
            new_at := op.at;
            SELECT at INTO l FROM {schema}.lifted WHERE digest = op.digest;
            IF FOUND AND l.at > new_at THEN
                CONTINUE WHEN op.kind = 4;
                -- A new revocation is newer than every lift before it, even if clocks differ.
                new_at := l.at;
            END IF;
            new_issued := op.issued;
            new_until := op.until;
            new_spent := op.spent;
            SELECT * INTO r FROM {schema}.revoked WHERE digest = op.digest;
            IF FOUND THEN
                IF (r.issued_at_or_before IS NULL) = (op.issued IS NULL) THEN
                    -- A revocation is never shortened.
                    new_issued := greatest(r.issued_at_or_before, op.issued);
                    IF r.until IS NULL OR op.until IS NULL THEN
                        new_until := NULL;
                    ELSE
                        new_until := greatest(r.until, op.until);
                    END IF;
                ELSE
                    new_issued := r.issued_at_or_before;
                    new_until := r.until;
                END IF;
                new_at := greatest(r.at, new_at);
                -- Revoked takes precedence over spent, and keeps its author and reason.
                new_spent := r.spent AND op.spent;
                is_new := (r.issued_at_or_before, r.until, r.at, r.spent)
                    IS DISTINCT FROM (new_issued, new_until, new_at, new_spent);
                says_nothing := op.issuer IS NULL AND op.said_by = '' AND op.reason = ''
                    OR op.spent AND NOT r.spent;
                IF NOT says_nothing THEN
                    IF is_new OR (r.issuer, r.claim, r.value, r.said_by, r.reason)
                        IS DISTINCT FROM (op.issuer, op.claim, op.value, op.said_by, op.reason) THEN
                        UPDATE {schema}.revoked SET issued_at_or_before = new_issued,
                            until = new_until, at = new_at, spent = new_spent, issuer = op.issuer,
                            claim = op.claim, value = op.value, said_by = op.said_by,
                            reason = op.reason WHERE digest = op.digest;
                    END IF;
                ELSIF is_new THEN
                    UPDATE {schema}.revoked SET issued_at_or_before = new_issued,
                        until = new_until, at = new_at, spent = new_spent WHERE digest = op.digest;
                END IF;
            ELSE
                is_new := true;
                INSERT INTO {schema}.revoked VALUES (op.digest, new_issued, new_until, new_at,
                    new_spent, op.issuer, op.claim, op.value, op.said_by, op.reason);
            END IF;
            IF is_new THEN
                told := CASE WHEN new_spent THEN 4 ELSE 0 END;
            END IF;
            told_issued := new_issued;
            told_until := new_until;
            told_at := new_at;
        ELSIF op.kind = 1 THEN
            DELETE FROM {schema}.revoked WHERE digest = op.digest RETURNING * INTO r;
            n := op.place;
            number := 0;
            outcome := 0;
            IF FOUND THEN
                outcome := 1;
                told := 2;
                told_until := r.until;
                told_at := greatest(op.at, least(r.at, 9223372036854775806) + 1);
                INSERT INTO {schema}.lifted AS old
                    VALUES (op.digest, told_at, r.until, op.said_by, op.reason)
                    ON CONFLICT (digest) DO UPDATE SET
                        at = greatest(old.at, excluded.at),
                        until = CASE WHEN old.until IS NULL OR excluded.until IS NULL THEN NULL
                            ELSE greatest(old.until, excluded.until) END,
                        said_by = excluded.said_by, reason = excluded.reason;
            END IF;
            RETURN NEXT;
        ELSIF op.kind = 5 THEN
            SELECT at INTO l FROM {schema}.lifted WHERE digest = op.digest;
            is_held := NOT FOUND OR l.at < op.at;
            INSERT INTO {schema}.lifted AS old VALUES (op.digest, op.at, op.until, '', '')
                ON CONFLICT (digest) DO UPDATE SET
                    at = greatest(old.at, excluded.at),
                    until = CASE WHEN old.until IS NULL OR excluded.until IS NULL THEN NULL
                        ELSE greatest(old.until, excluded.until) END;
            IF is_held THEN
                DELETE FROM {schema}.revoked WHERE digest = op.digest AND at < op.at;
                IF FOUND THEN
                    told := 2;
                    told_until := op.until;
                    told_at := op.at;
                END IF;
            END IF;
        ELSIF op.kind = 2 THEN
            n := op.place;
            SELECT * INTO u FROM {schema}.uses WHERE token = op.digest;
            -- The taken uses of such a token may have been purged. A wall clock that was set back
            -- since must not make them available again.
            IF op.until < s.purged_before THEN
                outcome := 3;
                number := 0;
            ELSIF u.token IS NULL THEN
                INSERT INTO {schema}.uses VALUES (op.digest, op.max_uses, 1, op.until,
                    CASE WHEN op.max_uses = 1 THEN op.id END);
                IF op.max_uses = 1 THEN
                    told := 1;
                    told_until := op.until;
                ELSE
                    INSERT INTO {schema}.held VALUES (op.digest, op.id);
                END IF;
                outcome := 1;
                number := op.max_uses - 1;
            ELSIF u.max_uses <> op.max_uses THEN
                outcome := 2;
                number := u.max_uses;
            ELSE
                IF u.max_uses = 1 THEN
                    is_held := u.holder IS NOT DISTINCT FROM op.id;
                ELSE
                    is_held := EXISTS (SELECT FROM {schema}.held
                        WHERE token = op.digest AND use_id = op.id);
                END IF;
                IF NOT is_held AND u.held >= u.max_uses THEN
                    outcome := 0;
                    number := 0;
                ELSE
                    now_held := u.held;
                    new_until := NULL;
                    IF u.until IS NOT NULL AND op.until IS NOT NULL THEN
                        new_until := greatest(u.until, op.until);
                    END IF;
                    IF NOT is_held THEN
                        now_held := u.held + 1;
                        IF u.max_uses > 1 THEN
                            INSERT INTO {schema}.held VALUES (op.digest, op.id);
                        END IF;
                    END IF;
                    IF NOT is_held OR u.until IS DISTINCT FROM new_until THEN
                        UPDATE {schema}.uses SET held = now_held, until = new_until,
                            holder = CASE WHEN op.max_uses = 1 THEN op.id END
                            WHERE token = op.digest;
                        IF now_held >= u.max_uses THEN
                            told := 1;
                            told_until := new_until;
                        END IF;
                    END IF;
                    outcome := 1;
                    number := u.max_uses - now_held;
                END IF;
            END IF;
            RETURN NEXT;
        ELSIF op.kind = 3 THEN
            n := op.place;
            number := 0;
            outcome := 0;
            SELECT * INTO u FROM {schema}.uses WHERE token = op.digest;
            IF FOUND THEN
                IF u.max_uses = 1 THEN
                    is_held := u.holder IS NOT DISTINCT FROM op.id;
                ELSE
                    DELETE FROM {schema}.held WHERE token = op.digest AND use_id = op.id;
                    is_held := FOUND;
                END IF;
                IF is_held THEN
                    UPDATE {schema}.uses SET held = u.held - 1, holder = NULL
                        WHERE token = op.digest;
                    outcome := 1;
                    IF u.held >= u.max_uses THEN
                        told := 3;
                        told_until := NULL;
                    END IF;
                END IF;
            END IF;
            RETURN NEXT;
        END IF;
        IF told IS NOT NULL THEN
            next_seq := next_seq + 1;
            INSERT INTO {schema}.events VALUES (next_seq, our_mark, DEFAULT, told, op.digest,
                told_issued, ARRAY[told_until], told_at);
        END IF;
    END LOOP;
    IF next_seq > s.seq THEN
        -- Named by the id of the store: the name of a channel may have 63 bytes, as many as the
        -- name of the schema, so a prefix might not fit.
        PERFORM pg_notify('tower-revoke-{store}', next_seq::text);
    END IF;
END
$$;

-- Takes uses of single-use tokens that have not been used before; a token must not be given twice.
-- Returns the digests of the tokens whose use was taken, concatenated, or NULL. About the others it
-- decides nothing: that is left to apply.
CREATE FUNCTION {schema}.take_new(
    our_mark bigint, digests bytea[], ids bytea[], untils bigint[]
) RETURNS bytea LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    s record;
    won record;
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
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
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    PERFORM {schema}.take_turn();
    -- Recorded by every purge: apply and take_new reject a use that expired before this time, since
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
