#!/usr/bin/env bash
# What a reading takes on disk once it is packed, times included, lossless.
#
#   tests/bench/bytes.sh [FOLDER…]      a day of simulated machines, and recordings
#
# Machines are plcsim's, polled once a second by a gateway whose replies come 2 to 7 ms later and
# now and then 80; first with all values rounded to 0.1, then as their registers say. Beside each
# figure stands the entropy of the values or of their steps, below which no coder comes. A folder holds recordings: `;`-separated files, packed with gzip or not, whose
# first column is a time. Beside it the same columns, raw, under zstd level 3.
# What was stored is read back and compared to the bit.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --quiet --release -p sandan-tests --bin storebench
exec "${CARGO_TARGET_DIR:-target}/release/storebench" bytes "$@"
