"""The manifests for Kubernetes: valid, closed, and true to what the image and the flows expect."""

import asyncio
import json
import shutil
import subprocess
import uuid
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import pytest
from ruamel.yaml import YAML

from flows.schedules.plans import TRAIN_POOL
from flows.settings import Settings

FOLDER = Path(__file__).resolve().parents[2] / "infra" / "kubernetes"
Manifest = dict[str, Any]  # a document of YAML
KUBECTL = shutil.which("kubectl")
KUSTOMIZATION = YAML(typ="safe", pure=True).load(FOLDER / "kustomization.yaml")
# The oldest version that we stand for, and the newest that the validator knows.
OLDEST, NEWEST = "1.34.0", kubernetes_validate.latest_version()


@cache
def _files() -> list[Manifest]:
    names = KUSTOMIZATION["resources"]
    return [
        each
        for name in names
        for each in YAML(typ="safe", pure=True).load_all((FOLDER / name).read_text())
    ]


def _pods() -> dict[str, Manifest]:
    """Return the templates of every pod by name, that of a training as well."""
    found = {}
    for each in _files():
        spec = each.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            found[each["metadata"]["name"]] = spec["template"]
    job = json.loads((FOLDER / "train-pool.json").read_text())["job_configuration"]["job_manifest"]
    return {**found, "training": job["spec"]["template"]}


PODS = _pods()
CONTAINERS = {
    f"{name}/{each['name']}": each
    for name, pod in PODS.items()
    for each in [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]
}


def test_every_file_is_applied() -> None:
    """No manifest lies there that kustomize does not know of."""
    assert {*KUSTOMIZATION["resources"], "kustomization.yaml"} == {
        path.name for path in FOLDER.glob("*.yaml")
    }


def test_every_manifest_is_valid() -> None:
    """The schemas of Kubernetes know every key of every manifest."""
    for each in _files():
        kubernetes_validate.validate(each, OLDEST, strict=True)


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is not on this machine")
def test_kustomize_builds_it() -> None:
    """`kubectl apply -k` has one image everywhere, one namespace, and valid documents."""
    command = [str(KUBECTL), "kustomize", str(FOLDER)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    built = [*YAML(typ="safe", pure=True).load_all(done.stdout)]

    for each in built:
        kubernetes_validate.validate(each, NEWEST, strict=True)
        assert each["metadata"].get("namespace", "ganmill") == "ganmill"
    (worker,) = [each for each in built if each["metadata"]["name"] == "train-worker"][-1:]
    pod = worker["spec"]["template"]["spec"]
    (pool,), (container,) = pod["initContainers"], pod["containers"]
    assert container["image"] == "registry.example.com/ganmill:0.1.0"
    assert {"name": "IMAGE", "value": container["image"]} in pool["env"]


@pytest.mark.parametrize("name", PODS)
def test_a_pod_may_do_nothing_that_it_need_not(name: str) -> None:
    """Each pod is within Kubernetes' own standard `restricted`, and only one knows the cluster."""
    spec = PODS[name]["spec"]
    closed = spec["securityContext"]

    assert closed["runAsNonRoot"] is True
    assert (closed["runAsUser"], closed["runAsGroup"]) == (10001, 10001)
    assert closed["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is (name == "train-worker")
    assert spec["enableServiceLinks"] is False  # their variables look like settings
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert not [each for each in spec["volumes"] if "hostPath" in each]


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_writes_only_where_it_was_given_room(name: str) -> None:
    """The root is read-only, nothing gains rights, memory has a limit."""
    container = CONTAINERS[name]

    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    places = {each["mountPath"] for each in container["volumeMounts"]}
    assert "/tmp" in places  # noqa: S108  # HOME is there
    state = {"/workspace", "/opt/ganmill/.ganmill"}
    assert state & places or name == "train-worker/pool"


@pytest.mark.parametrize("name", PODS)
def test_volumes_and_mounts_belong_together(name: str) -> None:
    """Every mount has its volume, every volume is used, every claim and map is among the files."""
    spec = PODS[name]["spec"]
    volumes = {each["name"]: each for each in spec["volumes"]}
    containers = [*spec.get("initContainers", ()), *spec["containers"]]
    mounted = {mount["name"] for each in containers for mount in each["volumeMounts"]}
    claims = {e["metadata"]["name"] for e in _files() if e["kind"] == "PersistentVolumeClaim"}
    made = KUSTOMIZATION["configMapGenerator"]

    assert mounted == set(volumes)
    for volume in volumes.values():
        assert volume.get("persistentVolumeClaim", {}).get("claimName", "workspace") in claims
    for each in containers:
        asked = {source["configMapRef"]["name"] for source in each.get("envFrom", ())}
        assert asked <= {source["name"] for source in made}


def test_settings_are_settings() -> None:
    """Every GANMILL_ variable of the maps is one that the program reads, and none is a secret."""
    lines = (FOLDER / "shared.env").read_text() + (FOLDER / "clients.env").read_text()
    told = dict(line.split("=", 1) for line in lines.splitlines())
    ours = {name for name in told if name.startswith("GANMILL_")} - {"GANMILL_SECRETS"}

    assert {name.removeprefix("GANMILL_").lower() for name in ours} <= set(Settings.model_fields)
    assert not {"GANMILL_LOGIN", "GANMILL_PREFECT_DATABASE", "GANMILL_MLFLOW_DATABASE"} & ours
    assert told["GANMILL_SECRETS"] == "/run/secrets/ganmill"


def test_databases_are_known_to_servers_and_backups_alone() -> None:
    """A worker or a training, which runs code of the workspace, sees no database's password."""
    secrets = {
        name: {
            volume["secret"]["secretName"]
            for volume in pod["spec"]["volumes"]
            if "secret" in volume
        }
        for name, pod in PODS.items()
    }

    own = {name: {f"ganmill-{name}"} for name in ("prefect", "mlflow", "backup")}
    clients = ("worker", "train-worker", "monitor", "training")
    assert secrets == {**own, **{name: {"ganmill-clients"} for name in clients}}


def _selects(selector: Manifest, labels: Manifest) -> bool:
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(
        labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", ())
    )


def test_services_budgets_and_policies_select_pods_that_there_are() -> None:
    """A label that nobody has would leave a service empty and a policy without effect."""
    labels = [pod["metadata"]["labels"] for pod in PODS.values()]
    for each in _files():
        spec = each.get("spec", {})
        selector = {
            "Service": {"matchLabels": spec.get("selector")},
            "PodDisruptionBudget": spec.get("selector"),
            "NetworkPolicy": spec.get("podSelector"),
        }.get(each["kind"])
        if selector is not None:
            assert any(_selects(selector, each) for each in labels), each["metadata"]["name"]


def test_the_network_is_closed_but_for_what_is_named() -> None:
    """Everything is denied; only workers, trainings, monitor, backup and ingress reach a server."""
    policies = {
        each["metadata"]["name"]: each["spec"]
        for each in _files()
        if each["kind"] == "NetworkPolicy"
    }

    def of(policy: str) -> set[str]:
        selector = policies[policy]["podSelector"]
        return {n for n, pod in PODS.items() if _selects(selector, pod["metadata"]["labels"])}

    assert policies["nothing"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert of("clients") == {"worker", "train-worker", "monitor", "training", "backup"}
    assert of("servers") == {"prefect", "mlflow"}
    assert of("database") == {"prefect", "mlflow", "backup"}
    assert of("store") == {"mlflow", "worker", "monitor", "training", "backup"}
    assert of("cluster") == {"train-worker"}


def test_only_jobs_and_their_pods_may_be_touched() -> None:
    """The one account with rights makes jobs in its own namespace, and reads no secret."""
    (role,) = [each for each in _files() if each["kind"] == "Role"]
    allowed = {resource: rule["verbs"] for rule in role["rules"] for resource in rule["resources"]}

    assert allowed.keys() == {"jobs", "pods", "pods/log", "events"}
    assert {*allowed["pods"], *allowed["pods/log"], *allowed["events"]} == {"get", "list", "watch"}
    assert not [each for each in _files() if each["kind"].startswith("ClusterRole")]


def test_a_training_has_a_gpu_and_is_not_moved() -> None:
    """The pool's jobs ask for one GPU, tolerate its nodes, see the workspace, are not evicted."""
    template = json.loads((FOLDER / "train-pool.json").read_text())
    spec = PODS["training"]["spec"]
    (container,) = spec["containers"]
    budget = next(each for each in _files() if each["metadata"]["name"] == "trainings")

    assert container["resources"]["limits"]["nvidia.com/gpu"] == "{{ gpu }}"
    assert template["variables"]["properties"]["gpu"]["default"] == 1
    assert spec["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert container["workingDir"] == "/workspace"
    assert _selects(budget["spec"]["selector"], PODS["training"]["metadata"]["labels"])
    command = CONTAINERS["train-worker/pool"]["command"][-1]
    assert f"work-pool create {TRAIN_POOL} " in command
    assert f"--pool={TRAIN_POOL}" in CONTAINERS["train-worker/worker"]["command"]


def test_the_template_makes_a_valid_job() -> None:
    """Prefect's Kubernetes worker makes of it a job that Kubernetes takes, with no login in it."""
    worker = pytest.importorskip("prefect_kubernetes.worker", reason="needs the extra kubernetes")
    from prefect.client.schemas.objects import Flow, FlowRun
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    template = json.loads((FOLDER / "train-pool.json").read_text().replace("IMAGE", "ganmill:1"))
    values = {"gpu": 2, "node_selector": {"pool": "a100"}}

    async def job() -> Manifest:
        made = await worker.KubernetesWorkerJobConfiguration.from_template_and_values(
            base_job_template=template, values=values
        )
        made.prepare_for_flow_run(
            FlowRun(flow_id=uuid.uuid4()), None, Flow(name="retrain", labels={})
        )
        settings = {
            each["name"]: each["value"] for each in CONTAINERS["train-worker/worker"]["env"]
        }
        prefix = "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_"
        await worker.KubernetesWorker._replace_env_variable_with_secret(
            None,
            env_variable_name="PREFECT_API_AUTH_STRING",
            configuration=made,
            secret_name=settings[f"{prefix}NAME"],
            secret_key=settings[f"{prefix}KEY"],
        )
        return dict(made.job_manifest)

    with temporary_settings(
        {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_API_AUTH_STRING: "mill:canary"}
    ):
        made = asyncio.run(job())

    pod = made["spec"]["template"]
    for misplaced in ("parallelism", "completions"):  # Prefect asks for them there
        pod["spec"].pop(misplaced)
    kubernetes_validate.validate(made, NEWEST, strict=True)
    (container,) = pod["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert container["image"] == "ganmill:1"
    assert pod["spec"]["nodeSelector"] == {"pool": "a100"}
    assert pod["metadata"]["labels"]["ganmill/role"] == "training"
    assert "canary" not in json.dumps(made)
