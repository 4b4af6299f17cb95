#!/usr/bin/env bash
# What a reading takes on disk once it is packed, times included, lossless.
#
#   tests/bench/bytes.sh [FOLDER…]      six hours of simulated machines, and recordings
#
# Machines are plcsim's, polled once a second by a gateway whose replies come 2 to 7 ms later and
# now and then 80. A folder holds recordings: `;`-separated files, packed with gzip or not, whose
# first column is a time. Beside it the same columns, raw, under zstd level 3.
# What was stored is read back and compared to the bit.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --quiet --release -p sandan-tests --bin storebench
exec "${CARGO_TARGET_DIR:-target}/release/storebench" bytes "$@"
