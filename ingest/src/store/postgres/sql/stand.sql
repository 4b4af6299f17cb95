SELECT timeline, (SELECT coalesce(sum(commits), 0)::bigint FROM readings.firm) FROM readings.store
