#!/usr/bin/env bash
# The packages of a release: both programs for each architecture, then their Debian packages.
#
#   configs/packaging/release.sh [amd64] [arm64] [armhf]      all three without arguments
#
# Needs rustup and, for another architecture than this machine's, Debian's cross compiler; both are
# installed where they are missing, as root or with sudo. Packages come to target/packages. They need a
# C library as new as this machine's at most: build on the oldest Debian that has to take them.
set -euo pipefail
cd "$(dirname "$0")/../.."

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

[ $# -gt 0 ] || set -- amd64 arm64 armhf
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
# No path of this machine stands in the programs.
export RUSTFLAGS="--remap-path-prefix=$PWD=/sandan --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"

for arch in "$@"; do
    case "$arch" in
    amd64) triple=x86_64-unknown-linux-gnu gnu=x86_64-linux-gnu ;;
    arm64) triple=aarch64-unknown-linux-gnu gnu=aarch64-linux-gnu ;;
    armhf) triple=armv7-unknown-linux-gnueabihf gnu=arm-linux-gnueabihf ;;
    *) echo "error: $arch is none of amd64, arm64, armhf" >&2; exit 2 ;;
    esac
    if ! command -v "$gnu-gcc" >/dev/null; then
        as_root apt-get install -q -y --no-install-recommends "gcc-${gnu//_/-}" "libc6-dev-$arch-cross"
    fi
    rustup target list --installed | grep -qx "$triple" || rustup target add "$triple"
    upper=${triple^^}
    export "CARGO_TARGET_${upper//-/_}_LINKER=$gnu-gcc" "CC_${triple//-/_}=$gnu-gcc" "AR_${triple//-/_}=$gnu-ar"
    # Nothing of the tests in one command with them: features would be united.
    cargo build --locked --profile dist --target "$triple" -p sandan-gateway -p sandan-ingest
    configs/packaging/build.sh --programs "target/$triple/dist" --arch "$arch"
done
