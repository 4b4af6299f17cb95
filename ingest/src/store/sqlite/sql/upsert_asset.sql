INSERT INTO asset (firm, id, path, name_ko, name_en, time_zone)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (firm, id) DO UPDATE SET
    path = excluded.path, name_ko = excluded.name_ko, name_en = excluded.name_en, time_zone = excluded.time_zone
WHERE (path, name_ko, name_en, time_zone)
   IS NOT (excluded.path, excluded.name_ko, excluded.name_en, excluded.time_zone)
