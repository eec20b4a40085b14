-- 004_claims.sql - a client that was lost with its host leaves with the claims that it came with.

DO $$
DECLARE d record;
BEGIN
    FOR d IN SELECT schema_name FROM spacetime.databases
    LOOP
        EXECUTE format('ALTER TABLE IF EXISTS %I.st_client ADD COLUMN claims text', d.schema_name);
    END LOOP;
END $$;
