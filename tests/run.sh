#!/usr/bin/env bash
# Everything that CI runs: formatting, lints, all tests, doc tests.
#
#   tests/run.sh          all of it
#   tests/run.sh NAME     only the tests whose name holds NAME
#
# Needs Rust, a C compiler and Python. What else the tests talk to (mosquitto, faketime,
# PostgreSQL, node and mmdebstrap from Debian, pymodbus, pysparkplug, schemathesis and aiosmtpd from PyPI, TimescaleDB in WASM from
# npm) is installed first where it is missing, as root or with sudo. Every server that a test starts has its own directory
# and its own port.
set -euo pipefail
cd "$(dirname "$0")/.."

# What the tests talk to in Python: each a server or client that is not ours.
PEERS=(pymodbus==3.11.3 pysparkplug==0.6.1 schemathesis==4.32.5 aiosmtpd==1.4.6)
VENV=target/interop-venv
LOG=target/run-install.log

mkdir -p target
started=$SECONDS

say() { printf '\n── %s\n' "$*"; }

# Runs quietly; shows what it said only when it fails.
quietly() {
    if ! "$@" >"$LOG" 2>&1; then
        cat "$LOG" >&2
        printf 'error: %s failed\n' "$*" >&2
        exit 1
    fi
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Debian puts the mosquitto server where an ordinary user's PATH does not look.
export PATH="$PATH:/usr/sbin:/sbin"

install_debian() {
    say "installing $* (Debian)"
    quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
    # The service that the package would start has no part in this.
    quietly as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -q -y --no-install-recommends "$@"
}

install_what_is_missing() {
    local missing=()
    command -v cc >/dev/null || missing+=(gcc libc6-dev)
    command -v mosquitto >/dev/null || missing+=(mosquitto)
    # Of it only promtool.
    command -v promtool >/dev/null || missing+=(prometheus)
    ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || missing+=(faketime)
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql)
    command -v node >/dev/null || missing+=(nodejs)
    command -v npm >/dev/null || missing+=(npm)
    # Looks at the console, with a font that has Korean letters.
    command -v chromium >/dev/null || missing+=(chromium)
    ls /usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc /usr/share/fonts/truetype/nanum/NanumGothic.ttf 2>/dev/null |
        grep -q . || missing+=(fonts-nanum)
    command -v openssl >/dev/null || missing+=(openssl)
    if [ ${#missing[@]} -gt 0 ]; then install_debian "${missing[@]}"; fi

    for part in rustfmt clippy; do
        cargo "${part/rust/}" --version >/dev/null 2>&1 || quietly rustup component add "$part"
    done

    if [ "$(cat "$VENV/peers" 2>/dev/null)" != "${PEERS[*]}" ]; then
        say "installing ${PEERS[*]} (PyPI) into $VENV"
        rm -rf "$VENV"
        quietly python3 -m venv "$VENV"
        quietly "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "${PEERS[@]}"
        echo "${PEERS[*]}" >"$VENV/peers"
    fi
    # The lock file holds what was tested, with its checksum.
    if ! cmp -s tests/timescale-wasm/package-lock.json tests/timescale-wasm/node_modules/.installed; then
        say "installing TimescaleDB in WASM (npm) into tests/timescale-wasm"
        quietly npm ci --ignore-scripts --no-audit --no-fund --prefix tests/timescale-wasm
        cp tests/timescale-wasm/package-lock.json tests/timescale-wasm/node_modules/.installed
    fi
    if ! cmp -s tests/browser/package-lock.json tests/browser/node_modules/.installed; then
        say "installing what drives Chromium (npm) into tests/browser"
        quietly npm ci --ignore-scripts --no-audit --no-fund --prefix tests/browser
        cp tests/browser/package-lock.json tests/browser/node_modules/.installed
    fi
    SANDAN_INTEROP_PYTHON="$PWD/$VENV/bin/python"
    export SANDAN_INTEROP_PYTHON
}

install_what_is_missing

if [ $# -gt 0 ]; then
    say "tests named $*"
    cargo test --quiet --workspace -- "$@"
    exit
fi

say "cargo fmt --check"
cargo fmt --all -- --check

say "cargo clippy, warnings denied"
cargo clippy --quiet --workspace --all-targets -- -D warnings

say "cargo test, doc tests with them"
cargo test --workspace --no-fail-fast 2>&1 | tee target/run-tests.log

say "the Debian packages, in a bare Debian"
# What the tests were built of: only the two programs are linked.
cargo build --quiet --workspace --bins --test e2e
tests/packages.sh target/debug

read -r passed failed ignored < <(
    awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 } END { print passed + 0, failed + 0, ignored + 0 }' \
        target/run-tests.log
)
say "done in $((SECONDS - started)) s"
printf '%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$ignored"
