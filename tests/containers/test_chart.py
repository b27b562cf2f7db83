"""The Helm chart: rendered by Helm, checked against Kubernetes' own schemas."""

from __future__ import annotations

import json
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from referencing import Resource
from referencing.jsonschema import DRAFT4

jsonschema: Any = import_module("jsonschema")  # it has no stubs

CHART = Path(__file__).parents[2] / "docker" / "chart" / "groundswell"
_GROUPS = {"v1": "v1", "apps/v1": "apps-v1", "networking.k8s.io/v1": "networking-v1"}


def rendered(helm: Path, *settings: str) -> list[dict[str, Any]]:
    options = [option for setting in settings for option in ("--set", setting)]
    done = subprocess.run(
        [helm, "template", "test", CHART, *options], capture_output=True, text=True, check=True
    )
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def check(schemas: Path, document: dict[str, Any]) -> None:
    def retrieve(name: str) -> Resource[Any]:
        content = json.loads((schemas / name.split("#")[0].rsplit("/", 1)[-1]).read_text())
        return Resource.from_contents(content, default_specification=DRAFT4)

    # Through Any: attrs hides this argument from type checkers.
    registry_type: Any = vars(import_module("referencing"))["Registry"]
    registry = registry_type(retrieve=retrieve)
    name = f"{document['kind'].lower()}-{_GROUPS[document['apiVersion']]}.json"
    schema = json.loads((schemas / name).read_text())
    jsonschema.Draft4Validator(schema, registry=registry).validate(document)


@pytest.mark.parametrize("role", ["site", "coordinator"])
def test_every_document_fits_kubernetes_own_schema(
    helm: Path, kubernetes_schemas: Path, role: str
) -> None:
    documents = rendered(helm, f"role={role}", "coordinator.gateway.enabled=true")
    assert documents
    for document in documents:
        check(kubernetes_schemas, document)


def test_a_wrong_document_would_be_noticed(helm: Path, kubernetes_schemas: Path) -> None:
    document = next(each for each in rendered(helm) if each["kind"] == "StatefulSet")
    document["spec"]["replicas"] = "many"
    with pytest.raises(jsonschema.ValidationError):
        check(kubernetes_schemas, document)


def test_the_chart_passes_helms_own_lint(helm: Path) -> None:
    done = subprocess.run([helm, "lint", "--strict", CHART], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout


def test_an_unknown_role_is_refused(helm: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        rendered(helm, "role=both")


def test_the_vaults_policy_lets_nothing_in_or_out(helm: Path) -> None:
    documents = {each["metadata"]["name"]: each for each in rendered(helm)
                 if each["kind"] == "NetworkPolicy"}  # fmt: skip
    policy = documents["test-vault"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy
    assert "egress" not in policy


def test_the_relays_pod_mounts_no_data(helm: Path) -> None:
    (relay,) = (each for each in rendered(helm) if each["kind"] == "Deployment")
    mounts = relay["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert {each["name"] for each in mounts} == {"relay-socket", "relay-keys", "tmp"}


@pytest.mark.parametrize("role", ["site", "coordinator"])
def test_every_container_is_hardened(helm: Path, role: str) -> None:
    for document in rendered(helm, f"role={role}", "coordinator.gateway.enabled=true"):
        pod = document["spec"].get("template", {}).get("spec")
        for container in pod["containers"] if pod else ():
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["runAsNonRoot"] is True
            assert context["allowPrivilegeEscalation"] is False
