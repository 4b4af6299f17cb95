#!/usr/bin/env bash
# How a store of very many readings starts and reads beside one of ten million.
#
#   tests/bench/big-store.sh [READINGS [FOLDER]]      20,000,000 unless it is said otherwise
#   tests/bench/big-store.sh 1000000000 /srv/bench    the figures of the README; needs 3 GB
#
# Both stores have 2,000 series of 20 firms, one reading a second each, and are built straight
# through the store. What is asked: the start, one firm's series, and a day of one series, raw
# and in hours; the middle of 21 times, over ten series.
set -euo pipefail
cd "$(dirname "$0")/../.."
readings=${1:-20000000}
folder=${2:-$(mktemp -d)}
cargo build --quiet --release -p sandan-tests --bin storebench
bench="${CARGO_TARGET_DIR:-target}/release/storebench"
for size in 10000000 "$readings"; do
    dir="$folder/store-$size"
    [ -d "$dir" ] || { mkdir -p "$dir"; "$bench" build "$dir" --readings "$size"; }
    sync
    echo "{\"store\":$size}"
    "$bench" ask "$dir"
done
