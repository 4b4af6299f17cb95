UPDATE dead_total SET
    letters   = max(letters - ?3, 0),
    readings  = max(readings - ?4, 0),
    recovered = min(recovered + ?5, 9000000000000000000)
WHERE gateway = ?1 AND reason = ?2
