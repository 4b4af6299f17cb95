#!/usr/bin/env bash
# How the service and its page *Now* bear very many gateways.
#
#   tests/bench/fleet.sh [GATEWAYS [DEVICES]]      2,000 with 10 devices each unless it is said otherwise
#
# Real sessions over TLS, each of which reports every 10 s; the page is fetched 500 times as a browser
# does, and one is open while devices fail and come back. Two sockets a gateway: raise `ulimit -n`
# where it is below 5,000.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --quiet --release -p sandan-tests --bin loadgen
"${CARGO_TARGET_DIR:-target}/release/loadgen" fleet --gateways "${1:-2000}" --devices "${2:-10}"
