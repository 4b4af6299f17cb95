#!/usr/bin/env bash
# What a gateway costs the box it stands on: resident memory and CPU per reading.
#
#   tests/bench/gateway.sh [DEVICES [SECONDS]]      10 devices of 50 signals, 60 s
#   tests/bench/gateway.sh 20                       1,000 readings a second
#
# Each device is a simulated rack of 50 analogue channels behind its own Modbus TCP
# connection, polled once a second. Every reading is spooled, synced, sent to an ingest
# on this machine and acknowledged. Release build; the first lines are the gateway's
# cost, the last the ingest's.
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

# Apart: what is built together shares its features, and the tests turn failpoints on.
cargo build --quiet --release -p sandan-gateway -p sandan-ingest
cargo build --quiet --release -p sandan-tests --bin plcsim

{
    echo 'seed = 7'
    for device in $(seq "$devices"); do
        printf '[[modbus]]\ndevice = [{ name = "rack-%s", unit = 1, machine = "rack" }]\n' "$device"
    done
} >"$dir/plant.toml"
"$target/release/plcsim" run "$dir/plant.toml" </dev/null >"$dir/plant.json" &
pids+=($!)
until [ -s "$dir/plant.json" ]; do sleep 0.1; done

cat >"$dir/ingest.toml" <<'TOML'
complex = "bench"
data_dir = "data"
[uplink]
listen = "127.0.0.1:0"
[http]
listen = "127.0.0.1:0"
TOML
ingest_command() { "$target/release/sandan-ingest" --config "$dir/ingest.toml" "$@"; }
ingest_command firm add bench --name-ko 시험 --name-en Bench
"$target/release/sandan-ingest" --config "$dir/ingest.toml" serve >"$dir/ingest.json" 2>"$dir/ingest.log" &
ingest=$!
pids+=("$ingest")
until [ -s "$dir/ingest.json" ]; do
    kill -0 "$ingest" 2>/dev/null || { cat "$dir/ingest.log" >&2; exit 1; }
    sleep 0.1
done

python3 - "$dir" <<'PYTHON'
import json, sys
dir = sys.argv[1]
plant = json.load(open(f"{dir}/plant.json"))
out = open(f"{dir}/gateway.toml", "w")
print('gateway = "bench/gateway"\nstate_dir = "state"\n'
      '[spool]\nmax_bytes = "64MiB"\n[http]\nlisten = "127.0.0.1:0"\n', file=out)
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

ingest_command gateway invite bench/gateway | "$target/release/sandan-gateway" enroll "$dir/gateway.toml"
"$target/release/sandan-gateway" run "$dir/gateway.toml" >"$dir/ready.json" 2>"$dir/gateway.log" &
gateway=$!
pids+=("$gateway")
until [ -s "$dir/ready.json" ]; do
    kill -0 "$gateway" 2>/dev/null || { cat "$dir/gateway.log" >&2; exit 1; }
    sleep 0.1
done

python3 - "$gateway" "$ingest" "$seconds" "$dir" <<'PYTHON'
import json, os, sys, time, urllib.request
gateway, ingest, seconds, dir = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
http = json.load(open(f"{dir}/ready.json"))["http"]
tick = os.sysconf("SC_CLK_TCK")
def status():
    return json.load(urllib.request.urlopen(f"http://{http}/status"))
def cost(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    written = next(line for line in open(f"/proc/{pid}/io") if line.startswith("write_bytes"))
    return (int(fields[11]) + int(fields[12])) / tick, int(written.split()[1])
def resident(pid, of="VmRSS"):
    return next(int(line.split()[1]) for line in open(f"/proc/{pid}/status") if line.startswith(of)) / 1024
def spooled():
    metrics = urllib.request.urlopen(f"http://{http}/metrics").read().decode().splitlines()
    return next(float(line.split()[1]) for line in metrics
                if line.startswith("sandan_gateway_spool_written_bytes") and not line.startswith("#"))
time.sleep(5)  # the start is not what is measured
before, spooled_before = (status(), cost(gateway), cost(ingest)), spooled()
time.sleep(seconds)
after, spooled_after = (status(), cost(gateway), cost(ingest)), spooled()
read = after[0]["readings_total"] - before[0]["readings_total"]
acked = after[0]["uplink"]["acked_total"] - before[0]["uplink"]["acked_total"]
print(f"{read / seconds:.0f} readings/s read, {acked / seconds:.0f} readings/s acknowledged")
for name, pid, at in (("gateway", gateway, 1), ("ingest", ingest, 2)):
    used, wrote = (b - a for a, b in zip(before[at], after[at]))
    print(f"{name}: resident {resident(pid):.1f} MiB (peak {resident(pid, 'VmHWM'):.1f}), CPU {100 * used / seconds:.2f} % of a core, "
          f"{1e6 * used / max(read, 1):.1f} µs a reading, {wrote / max(read, 1):.1f} bytes to disk a reading")
print(f"spool: {(spooled_after - spooled_before) / max(read, 1):.1f} bytes written to its files a reading")
PYTHON
