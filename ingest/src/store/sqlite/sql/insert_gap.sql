INSERT INTO gap
    (firm, gateway, lane, first_sequence, last_sequence, cause, from_us, to_us, readings, received_us, uncertain)
VALUES
    (:firm, :gateway, :lane, :first_sequence, :last_sequence, :cause, :from_us, :to_us, :readings, :received_us, :uncertain)
