#!/usr/bin/env bash
# What the ingest takes with each store, from gateways' sessions to the acknowledgement.
#
#   tests/bench/stores.sh                       three runs each, some minutes
#   tests/bench/stores.sh --store sqlite        one store only; --help lists the rest
#
# Four simulated gateways with 250 series each send batches of ten readings a column as fast as
# the ingest's credits allow, over TLS, from the same machine; what they send was sealed before.
# Everything is synced before it is acknowledged. With a database the same rows are copied once
# more by psql, into the same emptied table, in the same transactions. PostgreSQL is a server of
# this run's own, as initdb sets it up; TimescaleDB comes in where TEST_TIMESCALE_DSN names a
# native one. Release build; the figures are CPU seconds a million readings, and readings a second.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --quiet --release -p sandan-tests --bin commitbench
"${CARGO_TARGET_DIR:-target}/release/commitbench" "$@"
