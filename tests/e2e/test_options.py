"""What an operator sets for all: flags and feature gates that change what a Kustomization may do, and how. All at once, on one stack of their own."""
import pytest

from artifact import artifact_of
from cluster.kube import find_condition
from cluster.workload import TENANT
from peers.artifacts import archive

EXTERNAL = "externalartifacts.source.toolkit.fluxcd.io"
EXTERNAL_CRD = f"""\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: {EXTERNAL}}}
spec:
  group: source.toolkit.fluxcd.io
  scope: Namespaced
  names: {{kind: ExternalArtifact, plural: externalartifacts}}
  versions: [{{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}}}]
"""
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {k: '1'}\n"
SCALER = "apiVersion: autoscaling/%s\nkind: HorizontalPodAutoscaler\nmetadata: {name: h}\nspec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: d}}\n"
NAME = "source-controller.flux-system.svc.cluster.local."
FLAGS = {"source-controller": [f"--storage-adv-addr={NAME}", "--artifact-digest-algo=sha512"],
         "kustomize-controller": ["--no-cross-namespace-refs", "--default-service-account=tenant", "--override-manager=robot", "--requeue-dependency=2s",
                                  "--feature-gates=GroupChangeLog=true,DirectSourceFetch=true,ExternalArtifact=true,MigrateAPIVersion=true,StrictPostBuildSubstitutions=false"]}


@pytest.fixture
def stack(own_stack, artifacts):
    stack = own_stack(start=False, flags=FLAGS)
    stack.kube.apply(EXTERNAL_CRD)
    stack.kube.wait_condition("CustomResourceDefinition", EXTERNAL, None, type="Established", current=False)
    # The addresses that artifacts are advertised at are those of a cluster.
    stack.kustomize.process.env["SOURCE_CONTROLLER_LOCALHOST"] = stack.source.storage_address
    stack.kustomize.process.env["SOURCE_WATCHER_LOCALHOST"] = artifacts.url.split("/")[2]
    yield stack.start()
    stack.kube.delete("CustomResourceDefinition", EXTERNAL)
    stack.kube.wait_gone("CustomResourceDefinition", EXTERNAL)


def message(o):
    return find_condition(o)["message"]


def test_options_of_an_operator(stack, space_in, artifacts, sink):
    space, other = space_in(stack), space_in(stack)
    space.apply(TENANT)
    role = f"apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {space.name}}}\nrules: []\n"
    repository = space.repository({"c/c.yaml": CONFIG, "c/h.yaml": SCALER % "v1", "role/role.yaml": role, "unset/c.yaml": CONFIG.replace("'1'", "'x${unset}'").replace("name: c", "name: u")})
    space.source(repository)
    space.kustomization(path="./c", targetNamespace=space.name)
    o = space.ready("Kustomization", revision=repository.head())

    # Artifacts: where they are said to be, and by what they are known.
    artifact = artifact_of(space.get("GitRepository"))
    assert artifact["url"] == f"http://{NAME}/{artifact['path']}" and artifact["digest"].startswith("sha512:") and len(artifact["digest"]) == 7 + 128
    assert o["status"]["inventory"]["entries"] == [{"id": f"{space.name}_c__ConfigMap", "v": "v1"}, {"id": f"{space.name}_h_autoscaling_HorizontalPodAutoscaler", "v": "v1"}]
    applied = [r["output"] for r in stack.kustomize.log() if r["msg"] == "server-side apply completed" and r["namespace"] == space.name]
    assert applied == [{"created": [f"ConfigMap/{space.name}/c", f"HorizontalPodAutoscaler/{space.name}/h"]}]

    # Whoever names no account has the default one, and where that is not there nothing may be done.
    space.kustomization("role", path="./role", retryInterval="1h")
    assert f'User "system:serviceaccount:{space.name}:tenant" cannot' in message(space.not_ready("Kustomization", "role", reason="ReconciliationFailed"))
    other.source(repository.url)
    other.kustomization(path="./c", targetNamespace=other.name, retryInterval="1h")
    assert f'User "system:serviceaccount:{other.name}:tenant" cannot' in message(other.not_ready("Kustomization", reason="ReconciliationFailed"))
    assert not stack.kube.get("ClusterRole", space.name) and not other.get("ConfigMap", "c")

    # Nobody takes the sources of another namespace.
    space.kustomization("foreign", sourceRef={"kind": "GitRepository", "name": "app", "namespace": other.name}, path="./c", targetNamespace=space.name)
    o = space.not_ready("Kustomization", "foreign", reason="AccessDenied")
    said = f"can't access 'GitRepository/{other.name}/app', cross-namespace references have been blocked"
    assert message(o) == find_condition(o, "Stalled")["message"] == said and o["status"]["observedGeneration"] == -1
    assert space.wait_event("Kustomization", "AccessDenied", name="foreign")["message"] == said

    # Variables that nobody set are empty.
    space.kustomization("unset", path="./unset", targetNamespace=space.name, postBuild={"substitute": {"some": "x"}})
    space.ready("Kustomization", "unset")
    assert space.get("ConfigMap", "u")["data"] == {"k": "x"}

    # What a robot of the operator's edits is taken over, fields that only it has included; and all managers of an object move to its new API version.
    space.patch("ConfigMap", "c", {"data": {"extra": "x"}}, manager="robot")
    space.reconcile("Kustomization")
    space.data("c", {"k": "1"})
    path = f"/apis/autoscaling/v1/namespaces/{space.name}/horizontalpodautoscalers/h?fieldManager=somebody"
    stack.kube.request("PATCH", path, {"metadata": {"annotations": {"theirs": "x"}}}, "application/merge-patch+json")
    space.ready("Kustomization", revision=space.push(repository, {"c/h.yaml": SCALER % "v2"}))
    versions = {entry["manager"]: entry["apiVersion"] for entry in space.get("HorizontalPodAutoscaler", "h")["metadata"]["managedFields"]}
    assert versions == {"kustomize-controller": "autoscaling/v2", "somebody": "autoscaling/v2"}

    # Third parties make artifacts too, and may say what they made them of.
    data = artifacts.serve(archive(CONFIG.replace("name: c", "name: e").encode(), "e.yaml"))
    space.advertise("http://source-watcher.flux-system.svc.cluster.local./e.tar.gz", data, "template", size=len(data), metadata={"org.opencontainers.image.revision": "main@sha1:0123"})
    external = {**space.get("GitRepository", "template")["status"]["artifact"]}
    space.apply([{"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "ExternalArtifact", "metadata": {"name": "e"}, "status": {"artifact": external}}])
    space.kustomization("external", sourceRef={"kind": "ExternalArtifact", "name": "e"}, targetNamespace=space.name)
    o = space.ready("Kustomization", "external")
    assert o["status"]["lastAppliedOriginRevision"] == "main@sha1:0123" and o["status"]["history"][0]["metadata"]["originRevision"] == "main@sha1:0123"
    finished = sink.wait(kind="Kustomization", name="external", namespace=space.name, reason="ReconciliationSucceeded")
    group = "kustomize.toolkit.fluxcd.io"
    assert finished["metadata"] == {f"{group}/revision": external["revision"], f"{group}/originRevision": "main@sha1:0123", f"{group}/commit_status": "update"}
    newer = artifacts.serve(archive(CONFIG.replace("name: c", "name: f").encode(), "f.yaml"))
    space.advertise("http://source-watcher.flux-system.svc.cluster.local./e.tar.gz", newer, "template", size=len(newer))
    space.patch("ExternalArtifact", "e", {"status": {"artifact": space.get("GitRepository", "template")["status"]["artifact"]}})
    space.exists("ConfigMap", "f")
