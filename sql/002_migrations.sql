-- 002_migrations.sql - the history knows plans for programs and the authors' migrations.

-- The highest migration of the module (ST_MIGRATION) that had run when this version was published.
ALTER TABLE spacetime.versions ADD COLUMN migration integer NOT NULL DEFAULT 0;
-- The plan for programs, as the preview gives it; NULL for versions from before this file, first publishes and resets.
ALTER TABLE spacetime.versions ADD COLUMN plan_json jsonb;
