#!/usr/bin/env python3
"""Renders and validates what deploy/ has for Kubernetes. dev/check-deploy calls it.

    check_manifests.py TOOLS

TOOLS is a folder with the Python packages pykustomize and helm-python-sdk, and the npm packages
@kubernetes-models/keda and @kubernetes-models/prometheus-operator. They contain the real Kustomize, Helm and schemas.

STREAMGAUGE_CRDS=DIR adds custom resource definitions (YAML files) from which further kinds are validated.
"""

import ctypes
import json
import os
import pathlib
import platform
import re
import subprocess
import sys

import jsonschema
import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
KUSTOMIZE = ROOT / "deploy/kustomize"
CHART = ROOT / "deploy/helm/streamgauge"
# Kinds that are validated by an npm package: API version and kind, and the module that exports the kind.
NPM_MODULES = {
    ("keda.sh/v1alpha1", "ScaledObject"): "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject",
    ("monitoring.coreos.com/v1", "PodMonitor"): "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor",
}
NPM_VALIDATE = """
const [module, kind] = process.argv.slice(1);
const document = JSON.parse(require("fs").readFileSync(0, "utf8"));
import(module).then((models) => new models[kind](document).validate());
"""


class Kustomize:
    """Kustomize, as a library that the package pykustomize contains."""

    def __init__(self, tools):
        machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
        self.library = ctypes.CDLL(str(tools / f"pykustomize/_lib/linux-{machine}/libpykustomize.so"))
        self.library.pykustomize_last_error.restype = ctypes.c_char_p

    def build(self, folder):
        """Returns the objects that `kustomize build` prints."""
        result = ctypes.c_char_p()
        if self.library.pykustomize_build(str(folder).encode(), b"{}", ctypes.byref(result)) != 0:
            raise ValueError(self.library.pykustomize_last_error().decode())
        return list(yaml.safe_load_all(result.value))


class Validator:
    """Validates objects against the schema of their kind, and remembers the kinds without one."""

    def __init__(self, tools, crds):
        self.tools = tools
        self.schemas = {}
        self.without_schema = set()
        for file in sorted(pathlib.Path(crds).glob("**/*.yaml")) if crds else []:
            for crd in yaml.safe_load_all(file.read_text()):
                if crd and crd.get("kind") == "CustomResourceDefinition":
                    for version in crd["spec"]["versions"]:
                        kind = f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"]
                        self.schemas[kind] = strict(version["schema"]["openAPIV3Schema"])

    def validate(self, document):
        """Raises an error if the object does not match the schema of its kind."""
        kind = document["apiVersion"], document["kind"]
        if kind in self.schemas:
            jsonschema.validate(document, self.schemas[kind])
        elif kind in NPM_MODULES and (self.tools / "node_modules" / NPM_MODULES[kind]).parent.is_dir():
            command = ["node", "-e", NPM_VALIDATE, NPM_MODULES[kind], kind[1]]
            done = subprocess.run(command, input=json.dumps(document), capture_output=True, text=True, cwd=self.tools)
            if done.returncode != 0:
                raise ValueError(done.stderr)
        else:
            try:
                kubernetes_validate.validate(document, "1.37", strict=True)
            except kubernetes_validate.SchemaNotFoundError:
                self.without_schema.add(" ".join(kind))


def strict(schema):
    """The schema, in which objects have no fields but the listed ones."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        if "apiVersion" not in schema["properties"] or "metadata" in schema["properties"]:
            schema.setdefault("additionalProperties", False)
    if schema.get("properties", {}).get("metadata") == {"type": "object", "additionalProperties": False}:
        schema["properties"]["metadata"] = {"type": "object"}
    return schema


def sidecars(document):
    """The containers named streamgauge of an object, with their lists."""
    spec = document.get("spec", {})
    pod = spec.get("template", {}).get("spec") or spec.get("predictor") or {}
    for name in ("initContainers", "containers"):
        for container in pod.get(name) or []:
            if container["name"] == "streamgauge":
                yield pod, name, container


def check_pod(documents, is_classic):
    """Checks what no schema knows: that one sidecar is there, hardened, and in the way of the Service."""
    found = [entry for document in documents for entry in sidecars(document)]
    assert len(found) == 1, f"{len(found)} sidecars instead of one"
    pod, place, sidecar = found[0]
    assert place == ("containers" if is_classic else "initContainers"), place
    assert (sidecar.get("restartPolicy") == "Always") != is_classic
    security = sidecar["securityContext"]
    assert security["runAsNonRoot"] and security["readOnlyRootFilesystem"], security
    assert security["capabilities"]["drop"] == ["ALL"] and not security["allowPrivilegeEscalation"], security
    assert "admin" in [port["name"] for port in sidecar["ports"]]
    names = [variable["name"] for variable in sidecar["env"]]
    assert len(names) == len(set(names)), f"a variable is set twice: {names}"
    upstream = next(variable["value"] for variable in sidecar["env"] if variable["name"] == "STREAMGAUGE__UPSTREAM")
    ports = [port["containerPort"] for container in pod["containers"] for port in container.get("ports", [])]
    arguments = " ".join(str(a) for container in pod["containers"] for a in container.get("args", []))
    assert int(upstream.rsplit(":", 1)[1]) in ports or f"--port={upstream.rsplit(':', 1)[1]}" in arguments, upstream
    for service in (document for document in documents if document["kind"] == "Service"):
        assert [port["targetPort"] for port in service["spec"]["ports"]] == [8080], service["spec"]["ports"]
    assert pod["terminationGracePeriodSeconds"] >= 60


def main():
    tools = pathlib.Path(sys.argv[1]).resolve()
    sys.path.insert(0, str(tools))
    validator = Validator(tools, os.environ.get("STREAMGAUGE_CRDS"))
    kustomize = Kustomize(tools)
    version = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    for folder in sorted((KUSTOMIZE / "examples").iterdir()):
        documents = kustomize.build(folder)
        for document in documents:
            validator.validate(document)
        check_pod(documents, is_classic=False)
        images = re.findall(r"streamgauge:([0-9.]+)", json.dumps(documents))
        assert images == [version], f"{images} instead of version {version}"
        print(f"kustomize {folder.relative_to(ROOT)}: {len(documents)} objects are valid")
    classic = ROOT / "target/check-deploy/classic"
    classic.mkdir(parents=True, exist_ok=True)
    (classic / "kustomization.yaml").write_text(
        "resources: [../../../deploy/kustomize/base]\n"
        "components: [../../../deploy/kustomize/components/sidecar-classic]\n"
    )
    documents = kustomize.build(classic)
    for document in documents:
        validator.validate(document)
    check_pod(documents, is_classic=True)
    print("kustomize components/sidecar-classic on the base: valid")

    from helm_python import chart as helm

    chart = helm.Chart.load(CHART)
    assert (chart.version, chart.metadata["appVersion"]) == (version, version), "the chart has the version of Cargo.toml"
    for file in [None, *sorted((CHART / "ci").glob("*.yaml"))]:
        values = yaml.safe_load(file.read_text()) if file else {}
        report = helm.lint(CHART, values, strict=True)
        assert not report["errors"], report["errors"]
        chart.validate_schema(values)
        rendered = chart.render(values, name="llm", namespace="default")
        documents = [
            document
            for name, text in rendered.items() if name.endswith(".yaml")
            for document in yaml.safe_load_all(text) if document
        ]
        for document in documents:
            validator.validate(document)
        check_pod(documents, is_classic=values.get("streamgauge", {}).get("form") == "classic")
        print(f"helm lint and template, {file.name if file else 'default values'}: {len(documents)} objects are valid")
    for wrong in ({"server": {"port": 8080}}, {"streamgauge": {"form": "other"}}, {"servr": {}}):
        try:
            chart.validate_schema(wrong)
        except Exception:
            continue
        raise AssertionError(f"the schema of the values accepts {wrong}")
    print("helm values.schema.json rejects wrong values")
    for kind in sorted(validator.without_schema):
        print(f"skipped: the schema of {kind}, which no package registry has (STREAMGAUGE_CRDS=DIR adds it)")


main()
