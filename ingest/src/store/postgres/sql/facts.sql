SELECT current_setting('server_version'),
    current_setting('server_version_num'),
    current_setting('fsync'),
    current_setting('synchronous_commit'),
    current_setting('full_page_writes'),
    pg_is_in_recovery(),
    current_setting('server_encoding'),
    (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
    current_setting('timescaledb.license', true)
