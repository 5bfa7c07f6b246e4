"""What is shipped for systemd, containers and Kubernetes: checked by their own tools, and run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests
import yaml

from biomaj_download.settings import WorkerSettings, environment_names, load_settings
from tests.servers.process import free_port, poll
from tests.servers.systemd import Systemd

ROOT = Path(__file__).parents[1]
UNITS = ROOT / "deploy" / "systemd"
TOOLS = Path(sys.executable).parent
SERVICES = ("biomaj-download@.service", "biomaj-download-web.service")
#: What systemd-analyze gives a service that is hardened well enough; 10 is the worst.
MOST_EXPOSURE = 3.0


def run(*command: object, **environment: str) -> str:
    """Run a tool that must be content, and return what it says."""
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def systemd_analyze() -> str:
    path = shutil.which("systemd-analyze")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("systemd-analyze is missing; it comes with Debian's package systemd")
        pytest.skip("systemd-analyze is missing")
    return path


@pytest.fixture
def installed_units(tmp_path) -> Path:
    """The units where the program is installed elsewhere: in this environment."""
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/opt/biomaj_download/.venv/bin", str(TOOLS))
        name = unit.name.replace("@.", "@1.")
        (tmp_path / name).write_text(text.replace("User=biomaj", "User=root"))
    return tmp_path


def test_systemd_accepts_the_units(systemd_analyze, installed_units):
    units = sorted(installed_units.iterdir())

    said = run(systemd_analyze, "verify", "--man=no", *units)

    assert [line for line in said.splitlines() if "biomaj" in line] == []


@pytest.mark.parametrize("service", SERVICES)
def test_services_are_hardened(systemd_analyze, service):
    said = run(
        *(systemd_analyze, "security", "--offline=true", "--no-pager", "--json=off"),
        UNITS / service,
    )

    exposure = re.search(r"Overall exposure level.*: ([\d.]+)", said)
    assert exposure, said
    assert float(exposure[1]) < MOST_EXPOSURE


def command_of(service: str) -> list[str]:
    """Return what a service starts, here."""
    found = re.search(r"^ExecStart=(.+)$", (UNITS / service).read_text(), re.MULTILINE)
    assert found
    words = shlex.split(found[1])
    return [str(TOOLS / Path(words[0]).name), *words[1:]]


#: As ProtectSystem=strict, PrivateTmp and CapabilityBoundingSet= have it: a machine that can be
#: written nowhere but in one directory, by a root without its rights.
CONFINE = """
mount --make-rprivate /
mount --bind "$0" "$0"
mount -o remount,bind,ro /
exec setpriv --no-new-privs --bounding-set -all --inh-caps -all "$@"
"""


def confined(command: list[str], writable: Path) -> list[str]:
    """Return a command that runs it as its unit would, as far as can be had without systemd."""
    if os.geteuid() != 0:
        return command
    return ["unshare", "--mount", "sh", "-ec", CONFINE, str(writable), *command]


@contextmanager
def started(command: list[str], **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a service in a process group of its own, which ends with the context."""
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, start_new_session=True, cwd="/"
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def config(rabbitmq, redis_server, tmp_path) -> str:
    path = tmp_path / "download.yml"
    document = {
        "rabbitmq": {**rabbitmq.section, "queue": "deploy"},
        "redis": {"host": redis_server.host, "port": redis_server.port},
        "web": {"port": free_port()},
    }
    path.write_text(yaml.safe_dump(document))
    return str(path)


def test_the_consumers_unit_tells_that_it_is_ready_lives_and_stops(config, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    with (
        Systemd() as systemd,
        started(
            confined(command_of(SERVICES[0]), state),
            BIOMAJ_CONFIG=config,
            BIOMAJ_METRICS_LISTEN=f"127.0.0.1:{free_port()}",
            BIOMAJ_WORKER_PROCESSES="2",
            STATE_DIRECTORY=str(state),
            TMPDIR=str(state),
            **systemd.environment(watchdog_seconds=2),
        ) as process,
    ):
        systemd.wait_for("READY")
        systemd.wait_for("WATCHDOG")
        process.terminate()
        systemd.wait_for("STOPPING")
        assert process.wait(30) == 0


def test_the_webs_unit_takes_its_port_from_the_socket(config, tmp_path):
    activate = shutil.which("systemd-socket-activate")
    if activate is None:
        pytest.skip("systemd-socket-activate is missing")
    port = free_port()
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with Systemd() as systemd:
        environment = {
            **systemd.environment(),
            "BIOMAJ_CONFIG": config,
            "TMPDIR": str(temporary),
        }
        passed = [word for name, value in environment.items() for word in ("-E", f"{name}={value}")]
        activated = [activate, "-l", f"127.0.0.1:{port}", *passed, *command_of(SERVICES[1])]
        with started(confined(activated, temporary)) as process:
            for _ in poll(30):
                with suppress(requests.ConnectionError):
                    answer = requests.get(f"http://127.0.0.1:{port}/readyz", timeout=30)
                    break
            systemd.wait_for("READY")
            assert answer.json()["status"] == "ok"
            process.terminate()
            assert process.wait(40) == 0


def test_units_give_the_consumer_its_grace():
    grace = WorkerSettings().shutdown_grace_seconds
    unit = (UNITS / SERVICES[0]).read_text()
    stop = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    consumer = yaml.safe_load((ROOT / "compose.yml").read_text())["services"]["consumer"]
    pods = [
        document["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        for document in manifests()
        if document["kind"] == "Deployment"
    ]

    assert stop
    assert int(stop[1]) > grace
    assert int(consumer["stop_grace_period"].removesuffix("s")) > grace
    assert min(pods) > grace


def manifests() -> list[dict]:
    return list(yaml.safe_load_all((ROOT / "deploy/kubernetes/download.yaml").read_text()))


def test_container_file_and_compose_file_are_sound():
    run(TOOLS / "hadolint", ROOT / "Containerfile")
    run(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", ROOT / "compose.yml")


def test_kubernetes_would_take_the_manifests():
    run(
        *(TOOLS / "kubernetes-validate", "--strict", "--no-warn"),
        ROOT / "deploy/kubernetes/download.yaml",
    )


def test_kubernetes_mounts_the_password_where_the_settings_look_for_it():
    file = Path(manifests()[0]["data"]["BIOMAJ_RABBITMQ_PASSWORD_FILE"])

    pods = [
        document["spec"]["template"]["spec"]
        for document in manifests()
        if document["kind"] == "Deployment"
    ]

    for pod in pods:
        (secret,) = (volume["secret"] for volume in pod["volumes"] if "secret" in volume)
        assert [item["path"] for item in secret["items"]] == [file.name]
        assert secret["defaultMode"] & 0o007 == 0
        assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsUser"]
        (container,) = pod["containers"]
        assert str(file.parent) in [mount["mountPath"] for mount in container["volumeMounts"]]
        assert not any("valueFrom" in variable for variable in container.get("env", ()))


def test_kedas_objects_scale_what_is_there_on_the_queue_that_is_read(tmp_path):
    authentication, scaled = yaml.safe_load_all(
        (ROOT / "deploy/kubernetes/scaling.yaml").read_text()
    )
    deployments = [item["metadata"]["name"] for item in manifests() if item["kind"] != "Service"]
    trigger = scaled["spec"]["triggers"][0]

    assert scaled["spec"]["scaleTargetRef"]["name"] in deployments
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    (tmp_path / "empty.yml").touch()
    settings = load_settings(tmp_path / "empty.yml", {})
    assert trigger["metadata"]["queueName"] == settings.rabbitmq.queue


def test_containers_set_only_what_the_service_reads():
    services = yaml.safe_load((ROOT / "compose.yml").read_text())["services"]
    names = {*services["web"]["environment"], *services["consumer"]["environment"]}
    names |= set(manifests()[0]["data"])
    for document in manifests():
        if document["kind"] == "Deployment":
            (container,) = document["spec"]["template"]["spec"]["containers"]
            names |= {variable["name"] for variable in container.get("env", ())}

    assert names <= environment_names().keys()


def test_what_compose_mounts_is_there_and_prometheus_and_grafana_can_read_it(tmp_path):
    services = yaml.safe_load((ROOT / "compose.yml").read_text())["services"]
    mounted = [
        volume.split(":")[0]
        for service in services.values()
        for volume in service.get("volumes", ())
        if volume.startswith("./deploy")
    ]
    assert mounted
    assert [path for path in mounted if not (ROOT / path).exists()] == []
    json.loads((ROOT / "deploy/grafana/dashboard.json").read_text())
    promtool = shutil.which("promtool")
    if promtool is not None:
        for path in ("compose/prometheus.yml", "prometheus/alerts.yml"):
            shutil.copy(ROOT / "deploy" / path, tmp_path)
        run(promtool, "check", "config", tmp_path / "prometheus.yml")
