SELECT timeline, (SELECT coalesce(sum(commits), 0)::bigint FROM readings.firm) + erased_commits FROM readings.store
