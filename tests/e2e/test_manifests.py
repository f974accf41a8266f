"""The shipped manifests on a real API server: accepted without a warning, and the API that they make keeps, defaults and refuses what it should."""
import json

import pytest
import yaml

from cluster.cluster import ControlPlane
from cluster.controllers import ROOT, install
from cluster.kube import ApiError, Kube

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
