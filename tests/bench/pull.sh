#!/usr/bin/env bash
# What consent costs a read: processor time beside the bare store, the wait for the owner's log, and decisions.
#
#   tests/bench/pull.sh              all of it, about two minutes once it is built
#   tests/bench/pull.sh cpu sqlite   a part: cpu, wait; sqlite, postgres
#   tests/bench/pull.sh decide       the percentiles of decisions with 10,000 consents alone
#
# A day of one series at 1 Hz (86,400 readings) is read raw, from the bare store with a permit and through the
# door under another firm's consent, in turns; and 1, 8 and 64 readers wait for the log at once. What is
# compared stands in the head of ingest/benches/pull.rs and consent.rs. PostgreSQL is a server of this run's own,
# as initdb sets it up. Release build; run it on a machine that does nothing else.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ "${1:-}" != decide ]; then
    cargo bench --quiet -p sandan-ingest --bench pull -- "$@"
fi
case "${1:-decide}" in
decide) cargo bench --quiet -p sandan-ingest --bench consent -- percentiles 2>&1 >/dev/null | grep p99 ;;
esac
