DELETE FROM lane
WHERE (gateway, lane) IN (
    SELECT gateway, lane FROM lane
    WHERE stored_us < ?1 AND named_us < ?1 AND coalesce(newest_us, stored_us) < ?1
      AND opened_us < (SELECT max(opened_us) FROM lane AS newer WHERE newer.gateway = lane.gateway)
    LIMIT ?2)
