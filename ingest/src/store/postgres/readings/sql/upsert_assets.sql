INSERT INTO readings.asset (firm, id, path, name_ko, name_en, time_zone)
SELECT $1::bigint, id, path, name_ko, name_en, time_zone
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[]) AS told (id, path, name_ko, name_en, time_zone)
ON CONFLICT (firm, id) DO UPDATE SET
    path = excluded.path, name_ko = excluded.name_ko, name_en = excluded.name_en, time_zone = excluded.time_zone
WHERE (asset.path, asset.name_ko, asset.name_en, asset.time_zone)
   IS DISTINCT FROM (excluded.path, excluded.name_ko, excluded.name_en, excluded.time_zone)
