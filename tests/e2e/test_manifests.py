"""The shipped manifests on a real API server: accepted without a warning, and the API that they make keeps, defaults and refuses what it should."""
import json
import os
import subprocess

import pytest
import yaml

from cluster.cluster import ControlPlane
from cluster.controllers import ROOT, install
from cluster.kube import ApiError, Kube

BINARIES = os.environ.get("WEIR_BINARIES", f"{ROOT}/build/bin")
GIT = {
    "url": "https://example.com/app.git", "interval": "1m30s", "timeout": "20s", "secretRef": {"name": "credentials"}, "proxySecretRef": {"name": "proxy"},
    "provider": "azure", "serviceAccountName": "identity", "ref": {"branch": "main", "tag": "v1", "semver": ">=1", "name": "refs/heads/main", "commit": "abc"},
    "verify": {"mode": "TagAndHEAD", "secretRef": {"name": "keys"}}, "ignore": "*.md", "suspend": True, "recurseSubmodules": True,
    "include": [{"repository": {"name": "other"}, "fromPath": "a", "toPath": "b"}], "sparseCheckout": ["deploy", "charts"],
}
TARGET = {"group": "apps", "version": "v1", "kind": "Deployment", "namespace": "a", "name": "web.*", "labelSelector": "a=b", "annotationSelector": "c"}
KUSTOMIZATION = {
    "interval": "10m", "retryInterval": "1m", "timeout": "2m", "prune": True, "path": "./deploy", "targetNamespace": "apps", "namePrefix": "a-", "nameSuffix": "-b",
    "sourceRef": {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "name": "app", "namespace": "other"},
    "commonMetadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}, "patches": [{"patch": "- op: remove\n  path: /a\n", "target": TARGET}],
    "images": [{"name": "a", "newName": "b", "newTag": "c", "digest": "sha256:00"}], "components": ["../c"], "ignoreMissingComponents": True,
    "buildMetadata": ["originAnnotations", "transformerAnnotations"],
    "postBuild": {"substituteStrategy": "Always", "substitute": {"a": "b"}, "substituteFrom": [{"kind": "Secret", "name": "vars", "optional": True}]},
    "decryption": {"provider": "sops", "serviceAccountName": "kms", "secretRef": {"name": "keys"}},
    "dependsOn": [{"name": "base", "namespace": "other", "readyExpr": "true"}],
    "healthChecks": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": "apps"}],
    "healthCheckExprs": [{"apiVersion": "a.b/v1", "kind": "C", "current": "true", "inProgress": "false", "failed": "false"}],
    "wait": True, "force": True, "ignore": [{"paths": ["/spec/replicas"], "target": TARGET}], "deletionPolicy": "WaitForTermination",
    "serviceAccountName": "applier", "kubeConfig": {"secretRef": {"name": "kubeconfig", "key": "value"}}, "suspend": True,
}
SPECS = {"GitRepository": ("source.toolkit.fluxcd.io/v1", GIT), "Kustomization": ("kustomize.toolkit.fluxcd.io/v1", KUSTOMIZATION)}
COLUMNS = {"GitRepository": ["Name", "URL", "Age", "Ready", "Status"], "Kustomization": ["Name", "Age", "Ready", "Status"]}


@pytest.fixture(scope="module")
def kube():
    with ControlPlane() as plane:
        kube = Kube(plane.admin)
        install(kube)
        kube.create_namespace("apps")
        yield kube


def make(kube, kind, spec, name="app"):
    return kube.apply([{"apiVersion": SPECS[kind][0], "kind": kind, "metadata": {"name": name}, "spec": spec}], "apps")[0]


def raw(kube, method, path, body=None, content_type="application/json", accept="application/json"):
    connection = kube.connect()
    connection.request(method, path, body, {**kube.headers(content_type), "Accept": accept})
    response = connection.getresponse()
    return response, json.loads(response.read())


def test_installing_gives_no_warning(kube):
    with open(f"{ROOT}/manifests/install.yaml") as f:
        objects = [o for o in yaml.safe_load_all(f) if o]
    for o in objects:
        path = kube.path(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"], o["apiVersion"])
        response, body = raw(kube, "PATCH", f"{path}?fieldManager=install&force=true&dryRun=All&fieldValidation=Strict", json.dumps(o), "application/apply-patch+yaml")
        assert response.status == 200, body
        assert response.getheader("Warning") is None, (o["kind"], o["metadata"]["name"], response.getheader("Warning"))


@pytest.mark.parametrize("kind", SPECS)
def test_every_field_is_kept(kube, kind):
    spec = SPECS[kind][1]
    made = make(kube, kind, spec, "full")
    assert made["spec"] == spec
    assert made["status"] == {"observedGeneration": -1}


@pytest.mark.parametrize("kind, spec, defaults", [
    ("GitRepository", {"url": "ssh://git@example.com/a", "interval": "1h", "verify": {"secretRef": {"name": "k"}}},
     {"timeout": "60s", "verify": {"mode": "HEAD", "secretRef": {"name": "k"}}}),
    ("Kustomization", {"interval": "1h", "prune": False, "sourceRef": {"kind": "Bucket", "name": "b"}, "postBuild": {"substituteFrom": [{"kind": "ConfigMap", "name": "v"}]}},
     {"force": False, "postBuild": {"substituteFrom": [{"kind": "ConfigMap", "name": "v", "optional": False}]}}),
])
def test_defaults(kube, kind, spec, defaults):
    assert make(kube, kind, spec, "defaults")["spec"] == {**spec, **defaults}


@pytest.mark.parametrize("kind, change, message", [
    ("GitRepository", {"provider": "github"}, "serviceAccountName can only be set when provider is"),
    ("GitRepository", {"url": "git@example.com:a"}, "spec.url in body should match"),
    ("GitRepository", {"interval": "1y"}, "spec.interval in body should match"),
    ("GitRepository", {"timeout": "1h"}, "spec.timeout in body should match"),
    ("GitRepository", {"verify": {"mode": "tag", "secretRef": {"name": "a"}}}, "spec.verify.mode: Unsupported value"),
    ("GitRepository", {"verify": {"mode": "Tag"}}, "spec.verify.secretRef: Required value"),
    ("Kustomization", {"kubeConfig": {}}, "exactly one of spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef must be specified"),
    ("Kustomization", {"kubeConfig": {"secretRef": {"name": "a"}, "configMapRef": {"name": "b"}}}, "exactly one of spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef"),
    ("Kustomization", {"prune": None}, "spec.prune: Required value"),
    ("Kustomization", {"deletionPolicy": "Never"}, "spec.deletionPolicy: Unsupported value"),
    ("Kustomization", {"targetNamespace": "a" * 64}, "spec.targetNamespace: Too long"),
    ("Kustomization", {"namePrefix": ""}, "spec.namePrefix in body should be at least 1 chars long"),
])
def test_what_is_wrong_is_refused(kube, kind, change, message):
    spec = {k: v for k, v in {**SPECS[kind][1], **change}.items() if v is not None}
    with pytest.raises(ApiError) as refused:
        make(kube, kind, spec, "wrong")
    assert message in str(refused.value)


@pytest.mark.parametrize("kind", SPECS)
def test_columns(kube, kind):
    make(kube, kind, SPECS[kind][1], "columns")
    _, table = raw(kube, "GET", kube.path(kind, "apps"), accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert [column["name"] for column in table["columnDefinitions"]] == COLUMNS[kind]


# -- what users write over the manifests, as they did over Flux's: by position, by name and by label

BOTH, POD = "(source-controller|kustomize-controller)", "/spec/template/spec"
TENANTS = [("Deployment", "kustomize-controller", [
    {"op": "add", "path": f"{POD}/containers/0/args/-", "value": flag}
    for flag in ("--no-cross-namespace-refs=true", "--no-remote-bases=true", "--default-service-account=default")])]
SHARD = [
    ("(Namespace|CustomResourceDefinition|ClusterRole|ClusterRoleBinding|ServiceAccount|NetworkPolicy|ResourceQuota)", None, {"$patch": "delete"}),
    ("Service", "source-controller", [{"op": "replace", "path": "/spec/selector/app", "value": "source-controller-one"}]),
    ("Deployment", "source-controller", [
        {"op": "replace", "path": f"{POD}/containers/0/args/6", "value": "--storage-adv-addr=source-controller-one.$(RUNTIME_NAMESPACE).svc.cluster.local."}]),
    *[("Deployment", name, [{"op": "replace", "path": path, "value": f"{name}-one"} for path in ("/spec/selector/matchLabels/app", "/spec/template/metadata/labels/app")])
      for name in ("source-controller", "kustomize-controller")],
    ("Deployment", BOTH, [{"op": "add", "path": f"{POD}/containers/0/args/0", "value": "--watch-label-selector=sharding.fluxcd.io/key=one"}]),
]
PATCHES = {
    "tenants": TENANTS,
    "shard": SHARD,
    "more at a time": [
        ("Deployment", BOTH, [{"op": "add", "path": f"{POD}/containers/0/args/-", "value": f"--{flag}"} for flag in ("concurrent=10", "requeue-dependency=5s")]),
        ("Deployment", BOTH, {"spec": {"template": {"spec": {"containers": [{"name": "manager", "resources": {"limits": {"cpu": "2", "memory": "2Gi"}}}]}}}})],
    "temporary files in memory": [("Deployment", "kustomize-controller", [
        {"op": "replace", "path": f"{POD}/volumes/0", "value": {"name": "temp", "emptyDir": {"medium": "Memory"}}}])],
    "artifacts on a disk": [("Deployment", "source-controller", [
        {"op": "add", "path": f"{POD}/volumes/-", "value": {"name": "disk", "persistentVolumeClaim": {"claimName": "artifacts"}}},
        {"op": "replace", "path": f"{POD}/containers/0/volumeMounts/0", "value": {"name": "disk", "mountPath": "/data"}}])],
    "authorities": [("Deployment", "source-controller", [
        {"op": "add", "path": f"{POD}/volumes/-", "value": {"name": "ca", "configMap": {"name": "ca"}}},
        {"op": "add", "path": f"{POD}/containers/0/volumeMounts/-", "value": {"name": "ca", "mountPath": "/etc/ssl/own", "readOnly": True}},
        {"op": "add", "path": f"{POD}/containers/0/env/-", "value": {"name": "SSL_CERT_DIR", "value": "/etc/ssl/own"}}])],
    "nodes of its own": [("Deployment", None, {"spec": {"template": {
        "metadata": {"annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}},
        "spec": {"tolerations": [{"key": "role", "operator": "Equal", "value": "flux", "effect": "NoSchedule"}], "priorityClassName": "system-node-critical"}}}})],
    "a proxy": [("Deployment", None, {"spec": {"template": {"spec": {"containers": [
        {"name": "manager", "env": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.com"}, {"name": "NO_PROXY", "value": ".cluster.local.,.svc"}]}]}}}})],
    "openshift": [
        ("Deployment", None, {"spec": {"template": {"spec": {"securityContext": {"$patch": "delete"}, "containers": [
            {"name": "manager", "securityContext": {"runAsUser": 65534, "seccompProfile": {"$patch": "delete"}}}]}}}}),
        ("Namespace", None, [{"op": "remove", "path": f"/metadata/labels/pod-security.kubernetes.io~1{label}"} for label in ("warn", "warn-version")])],
    "no tokens": [("ClusterRole", "crd-controller-flux-system", [
        {"op": "test", "path": "/rules/11/resources/0", "value": "serviceaccounts/token"}, {"op": "remove", "path": "/rules/11"}])],
}


def patched(folder, patches, suffix=None):
    """What install.yaml is under those patches: (kind, name or none for what is labelled as Flux's, patch)."""
    with open(f"{ROOT}/manifests/install.yaml") as f:
        (folder / "install.yaml").write_text(f.read())
    entries = []
    for kind, name, patch in patches:
        target = {"kind": kind, **({"name": name} if name else {"labelSelector": "app.kubernetes.io/part-of=flux"})}
        if isinstance(patch, dict):
            patch = {"apiVersion": "v1", "kind": "all", "metadata": {"name": "all"}, **patch}
        entries.append({"target": target, "patch": yaml.safe_dump(patch)})
    suffix = {"nameSuffix": suffix} if suffix else {}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump({"namespace": "flux-system", "resources": ["install.yaml"], "patches": entries, **suffix}))
    done = subprocess.run([f"{BINARIES}/kustomize-controller", "build", str(folder)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [o for o in yaml.safe_load_all(done.stdout) if o]


def says(deployment, folder):
    """What a controller says that is given a Deployment's arguments, and no API server: it ends there, or at an argument that it does not know."""
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    name = container["image"].split("/")[-1].split(":")[0]
    flags = [arg.replace("$(RUNTIME_NAMESPACE)", "flux-system").replace("=/data", f"={folder}") for arg in container["args"]]
    done = subprocess.run([f"{BINARIES}/{name}", *flags], env={"RUNTIME_NAMESPACE": "flux-system"}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", PATCHES)
def test_patches_of_users(kube, tmp_path, name):
    """They can be built and applied, and the controllers take the arguments. What they say at which place, the unit tests hold."""
    objects = patched(tmp_path, PATCHES[name], "-one" if name == "shard" else None)
    deployments = [o for o in objects if o["kind"] == "Deployment"]
    assert len(deployments) == 2
    for o in [o for o in objects if o["kind"] in {kind for kind, _, _ in PATCHES[name]}]:
        path = kube.path(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"], o["apiVersion"])
        response, body = raw(kube, "PATCH", f"{path}?fieldManager=install&force=true&dryRun=All&fieldValidation=Strict", json.dumps(o), "application/apply-patch+yaml")
        assert response.status in (200, 201), (o["kind"], o["metadata"]["name"], body)
    for deployment in deployments:
        assert "no configuration has been provided" in says(deployment, tmp_path)
    if name == "shard":
        assert [o["kind"] for o in objects] == ["Service", "Deployment", "Deployment"]
        assert all("flux-system" == o["metadata"]["namespace"] and o["metadata"]["name"].endswith("-one") for o in objects)
