"""The files for containers, read without an engine: they parse, and what they name is there.

    tests/packages/docker.py PROGRAMS
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCKER = ROOT / "configs/docker"
SYSTEMD = ROOT / "configs/systemd"


def unit(name):
    """By key: the values of a unit, in order."""
    found = {}
    for line in (SYSTEMD / f"{name}.service").read_text().splitlines():
        if line and line[0] not in "#[":
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


def ports(configuration):
    """The ports on which a configuration of the ingest listens."""
    table = tomllib.loads(configuration.read_text())
    return {int(table[side]["listen"].rsplit(":", 1)[1]) for side in ("uplink", "http")}


def instructions(path):
    text = path.read_text().replace("\\\n", " ")
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return [line.split(maxsplit=1) for line in lines]


def check_dockerfile(name):
    path = DOCKER / f"{name.removeprefix('sandan-')}.Dockerfile"
    said = instructions(path)
    first = dict(reversed(said))
    its = unit(name)
    program, verb = its["ExecStart"][0].split()
    assert first["ENTRYPOINT"] == f'["{program}"]', path
    assert first["CMD"] == f'["{verb}"]', path
    assert first["USER"] == its["User"][0], path
    assert first["VOLUME"] == f"/var/lib/{its['StateDirectory'][0]}", path
    assert first["COPY"].split()[0] == f"{name}_*.deb", path
    environment = set(first["ENV"].split())
    assert environment == set(its["Environment"]), f"{path}: {environment} is not as in the unit"
    if "EXPOSE" in first:
        assert {int(port) for port in first["EXPOSE"].split()} == ports(ROOT / "configs/ingest.toml"), path


def check_compose():
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    services = compose["services"]
    assert {"ingest", "timescale", "grafana"} <= set(services)
    its = unit("sandan-ingest")
    for name, service in services.items():
        for other in service.get("depends_on", {}):
            assert other in services, f"{name} waits for {other}"
        for secret in service.get("secrets", []):
            assert secret in compose["secrets"], f"{name} has no {secret}"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DOCKER / source).is_file(), f"{name} mounts {source}"
            else:
                assert source in compose["volumes"], f"{name} mounts {source}"
    for service in services.values():
        for value in service.get("environment", {}).values():
            if str(value).startswith("/run/secrets/"):
                assert value.rsplit("/", 1)[1] in service["secrets"], value

    ingest = services["ingest"]
    inside = {volume.split(":")[1] for volume in ingest["volumes"]}
    (configuration,) = [it.split("=")[1] for it in its["Environment"] if it.startswith("SANDAN_INGEST_CONFIG")]
    assert configuration in inside and f"/var/lib/{its['StateDirectory'][0]}" in inside
    listening = ports(DOCKER / "ingest.toml")
    assert {int(port.rsplit(":", 1)[1]) for port in ingest["ports"]} == listening
    assert int(ingest["stop_grace_period"].rstrip("s")) >= int(its["TimeoutStopSec"][0])
    store = tomllib.loads((DOCKER / "ingest.toml").read_text())["store"]
    assert store["password_file"].rsplit("/", 1)[1] in ingest["secrets"]
    socket = re.search(r"host=(\S+)", store["url"])[1]
    assert socket in inside
    database = services["timescale"]
    given = database["environment"]
    assert f"user={given['POSTGRES_USER']} " in store["url"] and store["url"].endswith(f"dbname={given['POSTGRES_DB']}")
    # The same volume in both, where each looks for the socket.
    shared = {volume.split(":")[0] for volume in database["volumes"]} & {v.split(":")[0] for v in ingest["volumes"]}
    assert shared == {"socket"}

    scraped = yaml.safe_load((DOCKER / "prometheus.yml").read_text())["scrape_configs"]
    for target in (target for job in scraped for them in job["static_configs"] for target in them["targets"]):
        host, port = target.split(":")
        assert host in services and int(port) in listening, target
    for source in yaml.safe_load((DOCKER / "grafana-datasources.yaml").read_text())["datasources"]:
        assert re.fullmatch(r"http://(\w+):\d+", source["url"])[1] in services, source["url"]


def check_configuration(programs):
    """Its mistakes would be told with exit code 2; that the database is away, with 1."""
    with tempfile.TemporaryDirectory() as folder:
        password = pathlib.Path(folder, "database_password")
        password.write_text("secret\n")
        password.chmod(0o600)
        text = (DOCKER / "ingest.toml").read_text()
        text = text.replace("/run/secrets/database_password", str(password))
        text = text.replace("/var/lib/sandan-ingest", folder).replace("host=/run/postgresql", f"host={folder}")
        file = pathlib.Path(folder, "ingest.toml")
        file.write_text(text)
        ended = subprocess.run(
            [pathlib.Path(programs, "sandan-ingest"), "--config", file, "check"], capture_output=True, text=True
        )
        assert ended.returncode == 1 and "database" in ended.stderr, ended.stderr


check_dockerfile("sandan-gateway")
check_dockerfile("sandan-ingest")
check_compose()
check_configuration(sys.argv[1])
