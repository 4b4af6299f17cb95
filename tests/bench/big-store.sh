#!/usr/bin/env bash
# How a store of very many readings starts and reads beside one of ten million.
#
#   tests/bench/big-store.sh [READINGS [FOLDER]]      200,000,000 unless it is said otherwise
#   tests/bench/big-store.sh 1000000000 /srv/bench    the figures of the README; needs 3 GB
#
# Built straight through the store, one reading a second and series: the great one of 2,000 series
# of 20 firms, the other of one firm with 100, so that both hold whole days. What is asked: the
# start, one firm's 100 series, and the same 24 hours of one series, raw, in hours and in minutes;
# the middle of 21 times, over ten series.
set -euo pipefail
cd "$(dirname "$0")/../.."
readings=${1:-200000000}
folder=${2:-$(mktemp -d)}
cargo build --quiet --release -p sandan-tests --bin storebench
bench="${CARGO_TARGET_DIR:-target}/release/storebench"
one() { # READINGS SERIES
    local dir="$folder/store-$1"
    [ -d "$dir" ] || { mkdir -p "$dir"; "$bench" build "$dir" --readings "$1" --series "$2"; }
    sync
    echo "{\"store\":$1}"
    "$bench" ask "$dir"
}
one 10000000 100
[ "$readings" = 10000000 ] || one "$readings" 2000
