#!/usr/bin/env bash
# The long tests. Each has a short, seeded form among the tests that CI runs.
#
#   tests/soak.sh faults --runs 500 [--write]     seeded runs of one or two faults each
#   tests/soak.sh faults --minutes 30             as many as there is time for
#   tests/soak.sh store --runs 100                the ingest is killed at each step of what it does to its files
#   tests/soak.sh outage --minutes 10             an outage at 5,000 readings a second
#   tests/soak.sh api --minutes 10                schemathesis against the OpenAPI document
#   tests/soak.sh sharing --minutes 10            reads, agreements and revocations against a plain reference
#   tests/soak.sh sharing --minutes 10 --processes  the same at two processes on one PostgreSQL database
#   tests/soak.sh plant --minutes 60              a plant in which everything goes wrong
#
# SANDAN_SEED=N begins at a seed of yours; a run that fails prints its own, and
# `SANDAN_SEED=N tests/soak.sh faults --runs 1 --notes` repeats it. `--write` puts the
# table into docs/reliability.md and its Korean page.
#
# Needs what tests/run.sh needs, and faketime from Debian.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1; then
    echo 'error: libfaketime is missing' >&2
    echo 'hint: apt-get install faketime, or run tests/run.sh once' >&2
    exit 1
fi
cargo build --quiet --release -p sandan-tests --bin soak
exec "${CARGO_TARGET_DIR:-target}/release/soak" "$@"
