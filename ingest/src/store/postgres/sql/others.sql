SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name <> $1 AND application_name LIKE $2
