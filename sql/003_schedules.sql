-- 003_schedules.sql - a host that starts knows which databases must be opened although nobody asks for them.

-- Has this version scheduled tables? NULL for versions from before this file: not known.
ALTER TABLE spacetime.versions ADD COLUMN scheduled boolean;
