"""The Kubernetes manifests and the Compose file: valid by their schemas, and agreeing with the product."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml

from server import drain
from tests.live import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
COMPOSE = ROOT / "docker-compose.yml"
VERSION = "1.34"
DESCRIBED = set(re.findall(r"^# ([A-Z_]+)=", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))
_OURS = re.compile(r"(?:SKILLGATE|ANTHROPIC|DATABASE|REDIS|CELERY)_[A-Z_]+")
# What Compose itself reads, to fill in the file.
_OF_COMPOSE = {"SKILLGATE_VERSION", "SKILLGATE_PUBLISH", "SKILLGATE_HEALTH_HOST"}
HADOLINT = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
Json = dict[str, Any]


def documents() -> Iterator[tuple[str, Json]]:
    for file in sorted(KUBERNETES.glob("*.yaml")):
        if file.name not in {"kustomization.yaml", "adapter-rule.example.yaml"}:
            for document in yaml.safe_load_all(file.read_text()):
                yield f"{file.name}:{document['kind']}/{document['metadata']['name']}", document


OBJECTS = dict(documents())
PODS = {name: one["spec"]["template"] for name, one in OBJECTS.items() if one["kind"] in {"Deployment", "Job"}}


def of_kind(kind: str) -> dict[str, Json]:
    return {one["metadata"]["name"]: one for one in OBJECTS.values() if one["kind"] == kind}


def services() -> dict[str, Json]:
    found: dict[str, Json] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


def of_ours() -> dict[str, Json]:
    return {name: one for name, one in services().items() if one["image"].startswith("skillgate:")}


# --- Kubernetes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OBJECTS)
def test_a_manifest_fits_its_schema(name: str) -> None:
    kubernetes_validate.validate(OBJECTS[name], VERSION, strict=True)


def test_the_schema_is_not_blind() -> None:
    wrong = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"ports": [{"port": "many"}]}}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


def test_every_manifest_is_applied() -> None:
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    files = {file.name for file in KUBERNETES.glob("*.yaml") if ".example." not in file.name}

    assert set(kustomization["resources"]) == files - {"kustomization.yaml"}


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_no_rights_and_is_bounded(name: str) -> None:
    spec = PODS[name]["spec"]

    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    for container in spec["containers"]:
        rights = container["securityContext"]
        assert rights["allowPrivilegeEscalation"] is False
        assert rights["readOnlyRootFilesystem"] is True
        assert rights["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]
        assert container["resources"]["requests"]["cpu"]
        assert container["image"] == "skillgate"
    mounted = {mount["name"] for container in spec["containers"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}


def test_what_is_selected_exists() -> None:
    deployments = of_kind("Deployment")
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in deployments.values()]

    for name, one in deployments.items():
        selector = one["spec"]["selector"]["matchLabels"]
        assert selector.items() <= one["spec"]["template"]["metadata"]["labels"].items(), name
    for one in (*of_kind("Service").values(), *of_kind("PodDisruptionBudget").values()):
        selector = one["spec"]["selector"].get("matchLabels", one["spec"]["selector"])
        assert [pod for pod in labels if selector.items() <= pod.items()], one["metadata"]["name"]
    for name, one in of_kind("HorizontalPodAutoscaler").items():
        assert one["spec"]["scaleTargetRef"]["name"] in deployments, name
        assert "replicas" not in deployments[one["spec"]["scaleTargetRef"]["name"]]["spec"], name


def test_the_web_is_probed_by_a_name_that_it_answers_to() -> None:
    (container,) = of_kind("Deployment")["web"]["spec"]["template"]["spec"]["containers"]
    hosts = of_kind("ConfigMap")["skillgate"]["data"]["SKILLGATE_ALLOWED_HOSTS"].split(",")

    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        (header,) = container[probe]["httpGet"]["httpHeaders"]
        assert header["name"] == "Host"
        assert header["value"] in hosts


def test_a_web_pod_may_take_as_long_to_stop_as_the_server_does() -> None:
    spec = of_kind("Deployment")["web"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])

    assert spec["terminationGracePeriodSeconds"] > pause + drain.FORCED_SECONDS


def test_only_one_beat_runs_even_during_a_rollout() -> None:
    beat = of_kind("Deployment")["beat"]["spec"]

    assert (beat["replicas"], beat["strategy"]["type"]) == (1, "Recreate")


def test_every_setting_in_the_manifests_is_described() -> None:
    given = set(of_kind("ConfigMap")["skillgate"]["data"]) | set(of_kind("Secret")["skillgate"]["stringData"])
    given |= {
        variable["name"]
        for pod in PODS.values()
        for container in pod["spec"]["containers"]
        for variable in container.get("env", ())
    }

    assert {name for name in given if _OURS.fullmatch(name)} - DESCRIBED == set()


def test_no_secret_but_the_example_is_in_the_manifests() -> None:
    assert [name for name, one in OBJECTS.items() if one["kind"] == "Secret"] == [
        "secret.example.yaml:Secret/skillgate"
    ]


# --- Compose -------------------------------------------------------------------------------------------------------------


def test_everything_waits_for_the_health_of_what_it_needs() -> None:
    all_of_them = services()

    for name, service in all_of_them.items():
        for needed, how in service.get("depends_on", {}).items():
            assert how["condition"] != "service_started", (name, needed)
            if how["condition"] == "service_healthy" and needed not in of_ours():
                assert all_of_them[needed]["healthcheck"]["test"], needed


def test_the_migration_is_over_before_anything_runs() -> None:
    for name, service in of_ours().items():
        if name != "migrate":
            assert service["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}, name


def test_the_broker_keeps_its_tasks_and_the_limits_are_never_written() -> None:
    broker, limits = (" ".join(services()[name]["command"]) for name in ("broker", "limits"))

    assert "--appendonly yes" in broker
    assert "--maxmemory-policy noeviction" in broker
    assert "--appendonly no" in limits


def test_containers_of_ours_have_no_rights_and_time_to_stop() -> None:
    for name, service in of_ours().items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"] is True, name
        assert int(service["stop_grace_period"].rstrip("s")) > drain.FORCED_SECONDS, name


def test_only_the_proxy_is_published() -> None:
    assert [name for name, service in services().items() if "ports" in service] == ["proxy"]


def test_every_setting_in_compose_is_described() -> None:
    given = {name for service in services().values() for name in service.get("environment", {})}
    filled_in = set(re.findall(r"\$\{([A-Z_]+)", COMPOSE.read_text()))

    assert {name for name in given | filled_in if _OURS.fullmatch(name)} - DESCRIBED - _OF_COMPOSE == set()


@pytest.mark.parametrize("queue", ["default", "analyses"])
def test_a_worker_takes_each_queue(queue: str) -> None:
    in_compose = [one for one in of_ours().values() if queue in one.get("command", ())]
    in_kubernetes = [one for one in PODS.values() if queue in one["spec"]["containers"][0].get("command", ())]

    assert len(in_compose) == len(in_kubernetes) == 1


# --- The image -----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
def test_the_dockerfile_passes_its_linter() -> None:
    checked = subprocess.run([str(HADOLINT), "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout


def test_the_image_runs_as_nobody_in_particular_and_has_a_health_check() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()

    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users == ["10001:10001"]
    assert [line for line in lines if line.startswith("HEALTHCHECK ")]
    assert [line for line in lines if line.startswith("FROM ") and ":latest" in line] == []


def test_the_image_is_given_everything_it_copies() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    sources = {source for line in copied for source in line.split()}
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source in let_in or str(Path(source).parent) in let_in, source
