#!/usr/bin/env bash
# What a gateway costs the box it stands on: resident memory and CPU per reading.
#
#   tests/bench/gateway.sh [DEVICES [SECONDS]]      10 devices of 50 signals, 60 s
#
# Each device is a simulated rack of 50 analogue channels, polled once a second; the
# ingest is away, so every reading goes to the spool and is synced. Release build.
set -euo pipefail
cd "$(dirname "$0")/../.."

devices=${1:-10}
seconds=${2:-60}
target=${CARGO_TARGET_DIR:-target}
dir=$(mktemp -d)
pids=()
cleanup() {
    if [ ${#pids[@]} -gt 0 ]; then kill "${pids[@]}" 2>/dev/null || true; fi
    rm -rf "$dir"
}
trap cleanup EXIT

cargo build --quiet --release -p sandan-gateway -p sandan-tests --bin sandan-gateway --bin plcsim

{
    echo 'seed = 7'
    for device in $(seq "$devices"); do
        printf '[[modbus]]\ndevice = [{ name = "rack-%s", unit = 1, machine = "rack" }]\n' "$device"
    done
} >"$dir/plant.toml"
"$target/release/plcsim" --scenario "$dir/plant.toml" </dev/null >"$dir/plant.json" &
pids+=($!)
until [ -s "$dir/plant.json" ]; do sleep 0.1; done

python3 - "$dir" <<'PYTHON'
import json, sys
dir = sys.argv[1]
plant = json.load(open(f"{dir}/plant.json"))
out = open(f"{dir}/gateway.toml", "w")
print('gateway = "bench/gateway"\nstate_dir = "state"\n[uplink]\nurl = "http://127.0.0.1:9"\n'
      'token_file = "gateway.token"\n[spool]\nmax_bytes = "64MiB"\n[http]\nlisten = "127.0.0.1:0"\n', file=out)
for device in plant["devices"]:
    name = device["name"]
    print(f'[[asset]]\nid = "{name}"\npath = "plant-1/{name}"\nname = {{ ko = "시험대", en = "Rack" }}\n'
          'time_zone = "Asia/Seoul"', file=out)
    signals = ",\n".join(
        f'  {{ name = "ch{n}", metric = "x_ch{n}", unit = "Cel", at = "holding:{100 + n}", type = "i16", scale = 0.1 }}'
        for n in range(50))
    print(f'[[modbus]]\naddress = "{device["address"]}"\n[[modbus.device]]\nname = "{name}"\nunit = 1\nasset = "{name}"\n'
          f'interval = "1s"\nsignals = [\n{signals}\n]', file=out)
PYTHON
(umask 077 && echo sgw_bench >"$dir/gateway.token")

"$target/release/sandan-gateway" run "$dir/gateway.toml" >"$dir/ready.json" 2>"$dir/gateway.log" &
gateway=$!
pids+=("$gateway")
until [ -s "$dir/ready.json" ]; do
    kill -0 "$gateway" 2>/dev/null || { cat "$dir/gateway.log" >&2; exit 1; }
    sleep 0.1
done

python3 - "$gateway" "$seconds" "$dir" <<'PYTHON'
import json, os, sys, time, urllib.request
pid, seconds, dir = sys.argv[1], int(sys.argv[2]), sys.argv[3]
http = json.load(open(f"{dir}/ready.json"))["http"]
tick = os.sysconf("SC_CLK_TCK")
def cpu():
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / tick
def readings():
    return json.load(urllib.request.urlopen(f"http://{http}/status"))["readings_total"]
def written():
    return int(next(l for l in open(f"/proc/{pid}/io") if l.startswith("write_bytes")).split()[1])
time.sleep(5)  # the start is not what is measured
before = cpu(), readings(), written()
time.sleep(seconds)
after = cpu(), readings(), written()
used, read, wrote = (b - a for a, b in zip(before, after))
rss = next(int(l.split()[1]) for l in open(f"/proc/{pid}/status") if l.startswith("VmRSS"))
print(f"{read / seconds:.0f} readings/s, resident {rss / 1024:.1f} MiB, "
      f"CPU {100 * used / seconds:.2f} % of a core, {1e6 * used / max(read, 1):.1f} µs a reading, "
      f"{wrote / max(read, 1):.1f} bytes to disk a reading")
PYTHON
