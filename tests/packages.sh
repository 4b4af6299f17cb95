#!/usr/bin/env bash
# The Debian packages in a bare Debian: installed, enrolled, upgraded, removed and purged by the
# commands of docs/operations.md; and the systemd units, as far as they can be judged unstarted.
#
#   tests/packages.sh DIR    DIR holds sandan-gateway, sandan-ingest and plcsim
#
# As root or with sudo, on Debian. No systemd runs in that Debian: tests/packages/systemctl starts
# what a unit says, as its user. The bare Debian is kept in target/ for the next run.
set -euo pipefail
cd "$(dirname "$0")/.."

# What `systemd-analyze security` may find at most, of ten.
EXPOSURE=2.0

programs=$(realpath "$1")
. /etc/os-release
base=$PWD/target/packages-$VERSION_CODENAME.tar
work=$PWD/target/packages-test
started=$SECONDS

say() { printf '   %s\n' "$*"; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}
# The commands of a section of the page: `commands HEADING [NUMBER]` is its block of that number.
commands() {
    awk -v heading="## $1" -v wanted="${2:-0}" '
        /^## / { here = $0 == heading }
        here && /^```sh$/ { open = 1; block++; next }
        /^```$/ { open = 0 }
        open && (wanted == 0 || wanted == block)' docs/operations.md
}

missing=()
command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
command -v systemd-analyze >/dev/null || missing+=(systemd)
command -v strip >/dev/null || missing+=(binutils)
command -v ip >/dev/null || missing+=(iproute2)
# Debian's own Python, whatever else this machine has.
/usr/bin/python3 -c 'import yaml' 2>/dev/null || missing+=(python3-yaml)
if [ ${#missing[@]} -gt 0 ]; then
    as_root apt-get update -q >/dev/null
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" >/dev/null
fi
if [ ! -e "$base" ]; then
    say "a bare Debian, once"
    as_root mmdebstrap --quiet --skip=chroot/mount --format=tar --variant=apt \
        --include=systemd-standalone-sysusers,systemd-standalone-tmpfiles,iproute2 \
        --aptopt='APT::Get::Assume-Yes "true"' "$VERSION_CODENAME" "$base.part" http://deb.debian.org/debian
    as_root mv "$base.part" "$base"
fi

say "licences"
python3 -m doctest configs/packaging/licences.py
python3 configs/packaging/licences.py check

say "files for containers"
/usr/bin/python3 tests/packages/docker.py "$programs"

as_root rm -rf "$work"
mkdir -p "$work/programs" "$work/units" "$work/root"
say "units"
for unit in configs/systemd/*.service; do
    sed "s|=/usr/bin/sandan-|=$programs/sandan-|" "$unit" >"$work/units/$(basename "$unit")"
done
systemd-analyze verify --man=no "$work"/units/*.service
judge() {
    local said
    said=$(systemd-analyze security --offline=yes --no-pager --threshold="$(printf '%.0f' "${EXPOSURE/./}")" "$@") ||
        { printf '%s\n' "$said" >&2; fail "$(basename "$1") is exposed by more than $EXPOSURE"; }
    say "$(printf '%s\n' "$said" | grep -o 'Overall.*')"
}
for unit in "$work"/units/*.service; do judge "$unit"; done
for drop in configs/systemd/drop-ins/*.conf; do
    name=$(grep -o 'system/sandan-[a-z]*\.service' "$drop" | head -n 1 | cut -d/ -f2)
    install -Dm644 "$drop" "$work/units/$name.d/$(basename "$drop")"
    systemd-analyze verify --man=no "$work/units/$name"
    say "with $(basename "$drop"):"
    judge "$work/units/$name"
    rm -r "$work/units/$name.d"
done

say "packages"
for name in sandan-gateway sandan-ingest; do strip -o "$work/programs/$name" "$programs/$name"; done
pack() { configs/packaging/build.sh --programs "$work/programs" --out "$1" --version "$2" --fast >/dev/null; }
pack "$work/packages" 1
pack "$work/again" 1
for package in "$work"/packages/*; do
    cmp "$package" "$work/again/$(basename "$package")" || fail "two builds of one package differ"
done
pack "$work/packages" 2

say "a bare Debian"
as_root tar -C "$work/root" -xf "$base"
inside=$work/root/test
as_root install -d "$inside"
as_root cp "$work"/packages/*.deb tests/packages/*.toml tests/packages/inside.sh "$programs/plcsim" "$inside"
for name in systemctl sudo; do as_root install "tests/packages/$name" "$work/root/usr/bin/$name"; done
# Scripts of packages ask by it whether a systemd runs.
as_root install -d "$work/root/run/systemd/system"
# The press of the test in the place of the one in the example.
commands Install | sed 's|/usr/share/doc/sandan-gateway/examples/gateway.toml|/test/gateway.toml|' >"$work/install.sh"
commands Upgrade >"$work/upgrade.sh"
commands Remove 1 >"$work/remove.sh"
commands Remove 2 >"$work/purge.sh"
commands Remove 3 >"$work/delete.sh"
for page in install upgrade remove purge delete; do
    [ -s "$work/$page.sh" ] || fail "docs/operations.md has no commands for $page"
    as_root cp "$work/$page.sh" "$inside"
done
# A network, processes and mounts of its own: nothing of it meets this machine's, and all of it ends with it.
as_root env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 unshare --net --mount --pid --fork --kill-child \
    --mount-proc="$work/root/proc" chroot "$work/root" /bin/bash /test/inside.sh
as_root rm -rf "$work"
say "packages: done in $((SECONDS - started)) s"
