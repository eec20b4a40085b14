-- 001_catalog.sql - the catalog of spacetime-pg. Applied once, recorded in spacetime.applied, never edited after its release.
-- Everything here is ordinary SQL: no extension, no superuser.

COMMENT ON SCHEMA spacetime IS 'spacetime-pg: catalog';

CREATE TABLE spacetime.databases (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    identity       bytea NOT NULL UNIQUE CHECK (octet_length(identity) = 32),  -- in text order (most significant byte first)
    owner          bytea NOT NULL CHECK (octet_length(owner) = 32),
    schema_name    text COLLATE "C" NOT NULL UNIQUE,
    schema_oid     oid NOT NULL,
    schema_version integer NOT NULL,
    mapping        integer NOT NULL DEFAULT 1,                                  -- edition of the type mapping
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON spacetime.databases (owner);

CREATE TABLE spacetime.names (
    name        text COLLATE "C" PRIMARY KEY,
    database_id bigint NOT NULL REFERENCES spacetime.databases ON DELETE CASCADE,
    position    bigint GENERATED ALWAYS AS IDENTITY
);
CREATE INDEX ON spacetime.names (database_id);

CREATE TABLE spacetime.programs (
    hash    bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
    program bytea NOT NULL
);
ALTER TABLE spacetime.programs ALTER COLUMN program SET STORAGE EXTERNAL;

-- The migration history: one row for each publish.
CREATE TABLE spacetime.versions (
    database_id    bigint NOT NULL REFERENCES spacetime.databases ON DELETE CASCADE,
    schema_version integer NOT NULL,
    program_hash   bytea NOT NULL REFERENCES spacetime.programs,
    definition     bytea NOT NULL,                                              -- RawModuleDef V10, BSATN
    publisher      bytea NOT NULL,
    published_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    duration       interval,
    reset          boolean NOT NULL DEFAULT false,
    plan           text NOT NULL DEFAULT '',
    ddl            text NOT NULL DEFAULT '',
    PRIMARY KEY (database_id, schema_version)
);

CREATE TABLE spacetime.tables (
    id            bigint PRIMARY KEY,
    database_id   bigint NOT NULL REFERENCES spacetime.databases ON DELETE CASCADE,
    name          text COLLATE "C" NOT NULL,                                    -- as the module says
    physical_name text COLLATE "C",                                             -- NULL: an event table, not stored
    relation      oid,
    physical_key  text COLLATE "C",
    columns       jsonb NOT NULL,                                               -- {"module column": "physical column"}
    is_public     boolean NOT NULL,
    UNIQUE (database_id, name)
);

CREATE TABLE spacetime.settings (
    key   text COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL
);

CREATE TABLE spacetime.counters (
    name  text COLLATE "C" PRIMARY KEY,
    value bigint NOT NULL
);
INSERT INTO spacetime.counters VALUES ('table_id', 4096);

-- Who may write a database: every storage transaction locks this row first and fails when the epoch is another.
CREATE TABLE spacetime.fence (
    database_id bigint PRIMARY KEY REFERENCES spacetime.databases ON DELETE CASCADE,
    epoch       bigint NOT NULL
);

-- Hosts and their heartbeats: apart from the fence, so that a beat never waits for a batch.
CREATE TABLE spacetime.hosts (
    id         text COLLATE "C" PRIMARY KEY,
    machine    text NOT NULL,         -- boot id and pid namespace
    pid        integer NOT NULL,
    pid_start  bigint NOT NULL,
    beat       timestamptz NOT NULL,
    ttl        interval NOT NULL
);
CREATE TABLE spacetime.leases (
    database_id bigint PRIMARY KEY REFERENCES spacetime.databases ON DELETE CASCADE,
    host_id     text COLLATE "C" NOT NULL,
    epoch       bigint NOT NULL,
    since       timestamptz NOT NULL DEFAULT clock_timestamp(),
    doubts      bigint NOT NULL DEFAULT 0   -- batches re-sent after a lost connection
);

-- What holds a materialiser up; written by its host as far as it can.
CREATE TABLE spacetime.blockers (
    database_id bigint PRIMARY KEY REFERENCES spacetime.databases ON DELETE CASCADE,
    since       timestamptz NOT NULL DEFAULT clock_timestamp(),
    sqlstate    text NOT NULL,
    reason      text NOT NULL
);

-- Carriers: unnest of an array of arrays flattens it, of an array of these it does not.
CREATE TYPE spacetime.a_bool AS (v boolean[]);
CREATE TYPE spacetime.a_int2 AS (v smallint[]);
CREATE TYPE spacetime.a_int4 AS (v integer[]);
CREATE TYPE spacetime.a_int8 AS (v bigint[]);
CREATE TYPE spacetime.a_numeric AS (v numeric[]);
CREATE TYPE spacetime.a_float4 AS (v real[]);
CREATE TYPE spacetime.a_float8 AS (v double precision[]);
CREATE TYPE spacetime.a_text AS (v text[]);
CREATE TYPE spacetime.a_bytea AS (v bytea[]);
CREATE TYPE spacetime.a_uuid AS (v uuid[]);
CREATE TYPE spacetime.a_timestamptz AS (v timestamptz[]);

-- Statement trigger of our tables; its WHEN clause lets the host pass.
CREATE FUNCTION spacetime.guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on %.% refused: this table belongs to a spacetime database and its host holds the truth in memory',
        lower(TG_OP), quote_ident(TG_TABLE_SCHEMA), quote_ident(TG_TABLE_NAME)
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Call a reducer of the module, or use "spacetime sql". Reading, indexing and granting are free.';
END $$;

-- Offsets of one database: the tables', and the log's last.
CREATE FUNCTION spacetime.offsets(schema_name text, OUT materialised bigint, OUT durable bigint)
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    EXECUTE format('SELECT s.materialised, greatest(s.materialised,
                        (SELECT max(last_offset) FROM %1$I.st_log_0),
                        (SELECT max(last_offset) FROM %1$I.st_log_1),
                        (SELECT max(last_offset) FROM %1$I.st_log_2)) FROM %1$I.st_state s', schema_name)
        INTO materialised, durable;
END $$;

CREATE FUNCTION spacetime.status_rows()
RETURNS TABLE (database text, identity text, schema_version integer, durable bigint, materialised bigint, lag bigint,
               blocked_by text, blocked_since timestamptz, host text)
LANGUAGE plpgsql STABLE AS $$
DECLARE d record;
BEGIN
    FOR d IN SELECT db.*, b.reason, b.sqlstate, b.since, l.host_id,
                    (SELECT n.name FROM spacetime.names n WHERE n.database_id = db.id ORDER BY n.position LIMIT 1) AS name
             FROM spacetime.databases db LEFT JOIN spacetime.blockers b ON b.database_id = db.id
                  LEFT JOIN spacetime.leases l ON l.database_id = db.id ORDER BY db.id
    LOOP
        database := coalesce(d.name, d.schema_name);
        identity := encode(d.identity, 'hex');
        schema_version := d.schema_version;
        blocked_by := d.reason;
        blocked_since := d.since;
        host := d.host_id;
        BEGIN
            EXECUTE format('SELECT s.materialised, greatest(s.materialised,
                                (SELECT max(last_offset) FROM %1$I.st_log_0),
                                (SELECT max(last_offset) FROM %1$I.st_log_1),
                                (SELECT max(last_offset) FROM %1$I.st_log_2)) FROM %1$I.st_state s', d.schema_name)
                INTO materialised, durable;
        EXCEPTION WHEN undefined_table OR invalid_schema_name OR insufficient_privilege THEN
            materialised := NULL;
            durable := NULL;
            blocked_by := SQLERRM;
        END;
        lag := durable - materialised;
        RETURN NEXT;
    END LOOP;
END $$;

CREATE VIEW spacetime.status AS SELECT * FROM spacetime.status_rows();
COMMENT ON VIEW spacetime.status IS
    'Per database: last durable offset, offset that the tables show, lag in transactions, and what holds the tables up';

-- Wait until the tables show everything that was acknowledged before the call. Returns that offset. While it waits it holds
-- a shared advisory lock (class 1398032455) that tells the host to try a blocked table again at once.
CREATE FUNCTION spacetime.settle(name text, timeout interval DEFAULT '30 s') RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    d record;
    o record;
    target bigint;
    reason text;
    deadline timestamptz := clock_timestamp() + timeout;
    nap double precision := 0.001;
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION 'spacetime.settle cannot work in a % transaction: its snapshot would never show what arrives while it waits',
            current_setting('transaction_isolation')
            USING ERRCODE = 'active_sql_transaction',
                  HINT = 'Call spacetime.settle before the transaction begins, or use READ COMMITTED.';
    END IF;
    SELECT db.id, db.schema_name INTO d FROM spacetime.databases db
        WHERE db.id = (SELECT n.database_id FROM spacetime.names n WHERE n.name = settle.name)
           OR encode(db.identity, 'hex') = lower(settle.name) OR db.schema_name = settle.name
        ORDER BY (db.schema_name = settle.name) LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no database is called "%"', settle.name
            USING ERRCODE = 'undefined_object', HINT = 'SELECT database FROM spacetime.status lists them.';
    END IF;
    o := spacetime.offsets(d.schema_name);
    target := o.durable;
    IF o.materialised >= target THEN
        RETURN target;
    END IF;
    PERFORM pg_advisory_lock_shared(1398032455, d.id::integer);
    LOOP
        PERFORM pg_sleep(nap);
        nap := least(nap * 2, 0.05);
        o := spacetime.offsets(d.schema_name);
        EXIT WHEN o.materialised >= target;
        IF clock_timestamp() > deadline THEN
            PERFORM pg_advisory_unlock_shared(1398032455, d.id::integer);
            SELECT b.reason INTO reason FROM spacetime.blockers b WHERE b.database_id = d.id;
            RAISE EXCEPTION 'the tables of "%" show offset %, not yet % after %: %', settle.name, o.materialised, target, timeout,
                coalesce(reason, 'is its host running?')
                USING ERRCODE = 'query_canceled', HINT = 'SELECT * FROM spacetime.status shows what holds it up.';
        END IF;
    END LOOP;
    PERFORM pg_advisory_unlock_shared(1398032455, d.id::integer);
    RETURN target;
END $$;
