DELETE FROM readings.lane
WHERE (gateway, lane) IN (
    SELECT gateway, lane FROM readings.lane
    WHERE stored_us < $1 AND named_us < $1 AND coalesce(newest_us, stored_us) < $1
      -- A gateway that was away as long may still hold what follows in it.
      AND gateway IN (SELECT gateway FROM readings.lane WHERE stored_us >= $1 OR named_us >= $1)
    LIMIT $2)
