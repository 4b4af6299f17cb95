#!/bin/bash
# What tests/packages.sh runs inside a bare Debian: the commands of docs/operations.md, one section
# after the other, and looks at what came of them. The plant and the ports are this machine's alone.
set -euo pipefail
cd /test

say() { printf '   %s\n' "$*"; }
fail() {
    printf 'error: %s\n' "$*" >&2
    tail -n 40 /run/played/*/log >&2 || true
    exit 1
}
# The commands of a section.
follow() {
    say "$1"
    # In one shell, as somebody would type them.
    bash -euo pipefail "/test/$1.sh" >"/test/$1.said" 2>&1 || { cat "/test/$1.said" >&2; fail "the commands of $1 failed"; }
}
# GET of the API as the firm's member.
ask() {
    exec 3<>/dev/tcp/127.0.0.1/7080
    printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer %s\r\n\r\n' "$1" "$(cat owner.token)" >&3
    cat <&3
    exec 3>&-
}
readings() {
    ask '/v1/readings?firm=hanbit-mould&asset=press-1&metric=press_force&from=now-1h&format=csv' | grep '^20[0-9][0-9]-' || true
}
# Waits until there are so many readings.
arrived() {
    local n
    for n in $(seq 600); do
        if [ "$(readings | wc -l)" -ge "$1" ]; then return; fi
        sleep 0.1
    done
    fail "fewer than $1 readings came in a minute"
}
owner() { stat -c '%U %a' "$1"; }
is() { [ "$1" = "$2" ] || fail "$3: \`$1\`, not \`$2\`"; }
runs_as() { is "$(stat -c %U "/proc/$(cat "/run/played/$1/pid")")" "$1" "the user of $1"; }

ip link set lo up
/test/plcsim run /test/plant.toml >plant.ready 2>plant.log &

# Not configured: installed, enabled, not started, and told what to do.
apt-get install ./sandan-gateway_1_*.deb >bare.said 2>&1 || { cat bare.said; fail "a bare install failed"; }
grep -q '1. write /etc/sandan-gateway/gateway.toml' bare.said || fail "a bare gateway does not say what to do"
systemctl is-enabled sandan-gateway >/dev/null || fail "a bare gateway is not enabled"
if systemctl is-active sandan-gateway; then fail "a bare gateway runs"; fi
sudo -u sandan-gateway sandan-gateway check /usr/share/doc/sandan-gateway/examples/gateway.toml >/dev/null
apt-get purge sandan-gateway >/dev/null 2>&1
is "$(ls -d /etc/sandan-gateway 2>&1 | grep -c cannot)" 1 "what a purge leaves of the configuration"

mkdir first second && mv sandan-*_1_*.deb first && mv sandan-*_2_*.deb second
cp first/*.deb .
follow install
arrived 3
runs_as sandan-gateway
runs_as sandan-ingest
for name in gateway ingest; do
    is "$(owner /var/lib/sandan-$name)" "sandan-$name 700" "/var/lib/sandan-$name"
    is "$(owner /etc/sandan-$name)" "root 750" "/etc/sandan-$name"
done
is "$(find /var/lib/sandan-* -perm /077 -type f | wc -l)" 0 "files of the services that others may read"
for program in sandan-gateway sandan-ingest; do
    bash -c "source /usr/share/bash-completion/completions/$program; complete -p $program" >/dev/null || fail "bash completes no $program"
done
oldest=$(readings | head -n 1)

rm ./*.deb && cp second/*.deb .
before=$(cat /run/played/sandan-ingest/pid)
follow upgrade
[ "$before" != "$(cat /run/played/sandan-ingest/pid)" ] || fail "an upgrade did not restart the service"
is "$(dpkg-query -W -f '${Version} ' sandan-gateway sandan-ingest)" "2 2 " "the versions after the upgrade"
arrived $(($(readings | wc -l) + 3))
is "$(readings | head -n 1)" "$oldest" "the oldest reading after the upgrade"

follow remove
if systemctl is-active sandan-gateway || systemctl is-active sandan-ingest; then fail "a removed service runs"; fi
[ ! -e /usr/bin/sandan-gateway ] && [ ! -e /usr/bin/sandan-ingest ] || fail "a program was not removed"
[ -e /etc/sandan-gateway/gateway.toml ] && [ -e /var/lib/sandan-ingest/inbox.db ] || fail "remove took what it should keep"

say "installed again"
apt-get install ./sandan-gateway_2_*.deb ./sandan-ingest_2_*.deb >again.said 2>&1 || { cat again.said; fail "not again"; }
arrived 6
is "$(readings | head -n 1)" "$oldest" "the oldest reading after a removal"

follow purge
if ls -d /etc/sandan-* /etc/default/sandan-* 2>/dev/null; then fail "a purge left configuration"; fi
[ -e /var/lib/sandan-ingest/inbox.db ] || fail "a purge took the data"
grep -q 'stays in /var/lib/sandan-ingest' purge.said || fail "a purge does not say what it leaves"

follow delete
if ls -d /var/lib/sandan-* 2>/dev/null || grep sandan /etc/passwd; then fail "the last commands left something"; fi
say "installed, enrolled, upgraded, removed, installed again, purged"
