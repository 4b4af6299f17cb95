#!/usr/bin/env bash
# Debian packages of sandan-gateway and sandan-ingest out of programs that were built before.
#
#   configs/packaging/build.sh --programs DIR [--out DIR] [--arch amd64|arm64|armhf] [--version V] [--fast]
#
# DIR holds sandan-gateway, sandan-ingest or both: each that is there becomes a package. --fast packs
# quickly rather than small. Needs dpkg-deb, python3 and cargo (for the list of licences), and no
# network. The same programs at the same SOURCE_DATE_EPOCH (else: the last commit's time) give the same bytes.
set -euo pipefail

programs='' out=target/packages arch='' version='' compression=-Zxz
while [ $# -gt 0 ]; do
    case "$1" in
    --programs) programs=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --arch) arch=$2; shift 2 ;;
    --version) version=$2; shift 2 ;;
    --fast) compression='-Zgzip -z1'; shift ;;
    *) echo "error: $1 is not an argument: see the head of $0" >&2; exit 2 ;;
    esac
done
[ -n "$programs" ] || { echo "error: --programs DIR is missing" >&2; exit 2; }
programs=$(realpath "$programs")
mkdir -p "$out"
out=$(realpath "$out")
cd "$(dirname "$0")/../.."

arch=${arch:-$(dpkg --print-architecture)}
case "$arch" in
amd64) triple=x86_64-unknown-linux-gnu ;;
arm64) triple=aarch64-unknown-linux-gnu ;;
armhf) triple=armv7-unknown-linux-gnueabihf ;;
*) echo "error: $arch is none of amd64, arm64, armhf" >&2; exit 2 ;;
esac
version=${version:-$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
umask 022

# The newest symbol of the C library that a program asks for says which one it needs.
glibc() { grep -ao 'GLIBC_2\.[0-9]*' "$1" | sort -uV | tail -n 1 | cut -d_ -f2; }

# One package: its name, its configuration, the example beside it, how it is checked.
build() {
    local package=$1 config=$2 example=$3 check=$4 root
    root=$(mktemp -d)
    local doc=$root/usr/share/doc/$package
    install -D "$programs/$package" "$root/usr/bin/$package"
    install -Dm644 "configs/systemd/$package.service" "$root/usr/lib/systemd/system/$package.service"
    install -Dm644 "configs/systemd/sysusers.d/$package.conf" "$root/usr/lib/sysusers.d/$package.conf"
    install -Dm644 "configs/systemd/tmpfiles.d/$package.conf" "$root/usr/lib/tmpfiles.d/$package.conf"
    install -Dm644 "configs/packaging/default/$package" "$root/etc/default/$package"
    install -Dm644 "configs/$example" "$doc/examples/$example"
    # The program itself says how its commands are completed: it may be of another machine than this one.
    mkdir -p "$root"/usr/share/{bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d}
    echo "source <($package completions bash)" >"$root/usr/share/bash-completion/completions/$package"
    printf '#compdef %s\nsource <(%s completions zsh)\n' "$package" "$package" >"$root/usr/share/zsh/vendor-completions/_$package"
    echo "$package completions fish | source" >"$root/usr/share/fish/vendor_completions.d/$package.fish"
    local page
    for page in docs/*.md; do install -Dm644 "$page" "$doc/$(basename "$page")"; done
    for page in configs/systemd/drop-ins/*.conf; do
        if grep -q "$package" "$page"; then install -Dm644 "$page" "$doc/examples/$(basename "$page")"; fi
    done
    python3 configs/packaging/licences.py copyright "$package" "$triple" >"$doc/copyright"

    local control=$root/DEBIAN
    mkdir "$control"
    echo "/etc/default/$package" >"$control/conffiles"
    local script
    for script in postinst prerm postrm; do
        sed -e "s|@PACKAGE@|$package|g; s|@CONFIG@|$config|g; s|@EXAMPLE@|$example|g; s|@CHECK@|$check|g" \
            "configs/packaging/debian/$script" >"$control/$script"
        chmod 755 "$control/$script"
    done
    sed -e "s|@VERSION@|$version|; s|@ARCH@|$arch|; s|@GLIBC@|$(glibc "$programs/$package")|" \
        -e "s|@SIZE@|$(du -sk --apparent-size "$root/usr" | cut -f1)|" \
        "configs/packaging/debian/$package.control" >"$control/control"
    (cd "$root" && find usr etc -type f | LC_ALL=C sort | xargs md5sum >DEBIAN/md5sums)
    chmod -R go=u-w "$root"
    find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    # shellcheck disable=SC2086 # two words
    dpkg-deb $compression --root-owner-group --build "$root" "$out/${package}_${version}_${arch}.deb" >/dev/null
    rm -rf "$root"
    echo "$out/${package}_${version}_${arch}.deb"
}

built=0
if [ -e "$programs/sandan-gateway" ]; then
    config=/etc/sandan-gateway/gateway.toml
    build sandan-gateway $config gateway.toml "sudo -u sandan-gateway sandan-gateway check $config --plan"
    built=1
fi
if [ -e "$programs/sandan-ingest" ]; then
    config=/etc/sandan-ingest/ingest.toml
    build sandan-ingest $config ingest.toml "sudo -u sandan-ingest sandan-ingest --config $config check"
    built=1
fi
[ $built = 1 ] || { echo "error: there is no sandan-gateway and no sandan-ingest in $programs" >&2; exit 1; }
