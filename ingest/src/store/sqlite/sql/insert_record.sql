INSERT INTO record
    (firm, gateway, lane, sequence, births, boot, offset_us, cumulative, commit_no, received_us,
     first_us, last_us, readings, dead_columns, uncertain, crc, payload)
VALUES
    (:firm, :gateway, :lane, :sequence, :births, :boot, :offset_us, :cumulative, :commit_no, :received_us,
     :first_us, :last_us, :readings, :dead_columns, :uncertain, :crc, :payload)
