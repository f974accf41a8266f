"""
A Kustomization that Flux looked after until now, in the state that Flux leaves behind, and what goes back to Flux. The real thing, with Flux's own controllers,
is long_swap.py, which takes a build of them.
"""
OWNER = "kustomize.toolkit.fluxcd.io"
NAMES = [f"app-{i:02}" for i in range(12)]
# As in Git.
APP = """\
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {name}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: {name}}}
stringData: {{password: hunter2}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: {name}}}, ports: [{{port: 80}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: 0
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{containers: [{{name: web, image: "example.com/app:{version}", ports: [{{containerPort: 80}}]}}]}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}, annotations: {{example.com/empty: ""}}}}
spec: {{defaultBackend: {{service: {{name: {name}, port: {{number: 80}}}}}}}}
"""


def as_flux_sends(space, name, version):
    """The same after Flux's normalization and its way through the structs of Go, which write some zeros."""
    metadata = {"name": name, "namespace": space.name, "labels": {f"{OWNER}/name": "app", f"{OWNER}/namespace": space.name}}
    container = {"name": "web", "image": f"example.com/app:{version}", "ports": [{"containerPort": 80, "protocol": "TCP"}], "resources": {}}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"password": "aHVudGVyMg=="}},
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"selector": {"app": name}, "ports": [{"port": 80, "protocol": "TCP", "targetPort": 0}]}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
         "spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "strategy": {}, "template": template}},
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {**metadata, "annotations": {"example.com/empty": ""}},
         "spec": {"defaultBackend": {"service": {"name": name, "port": {"number": 80}}}}},
    ]


def written(o):
    """What no longer is the same when somebody has written to the object. The controller of Deployments goes on writing to its own: there it is the fields, and when."""
    ours = [entry for entry in o["metadata"]["managedFields"] if entry["manager"] != "kube-controller-manager"]
    return ours if o["kind"] == "Deployment" else o["metadata"]["resourceVersion"]


def flux_applies(space, version):
    """(kind, name) -> what was written, of everything, after Flux applied it."""
    return {(o["kind"], name): written(o) for name in NAMES for o in space.apply(as_flux_sends(space, name, version), manager="kustomize-controller")}


def present(space):
    kinds = ("ServiceAccount", "Secret", "Service", "Deployment", "Ingress")
    return {(kind, o["metadata"]["name"]): written(o) for kind in kinds for o in space.kube.list(kind, space.name, f"{OWNER}/name=app")}


def test_there_and_back(space):
    """Nothing is written that Flux had applied, nor, when Flux is back, anything that was applied meanwhile; what left the repository meanwhile is pruned."""
    tree = lambda version: {f"{name}.yaml": APP.format(name=name, version=version) for name in NAMES}
    repository = space.repository(tree("1"))
    space.source(repository)
    revision = space.ready("GitRepository")["status"]["artifact"]["revision"]
    before = flux_applies(space, "1")
    groups = {"Deployment": "apps", "Ingress": "networking.k8s.io"}
    entries = [{"id": f"{space.name}_{name}_{groups.get(kind, '')}_{kind}", "v": "v1"} for kind, name in before]
    entries.append({"id": f"{space.name}_old__ConfigMap", "v": "v1"})
    space.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "old", "labels": {f"{OWNER}/name": "app", f"{OWNER}/namespace": space.name}}}],
                manager="kustomize-controller")
    generation = space.kustomization(metadata={"finalizers": ["finalizers.fluxcd.io"]}, suspend=True, targetNamespace=space.name)["metadata"]["generation"]
    snapshot = {"digest": "sha256:" + "0" * 64, "firstReconciled": "2026-01-01T00:00:00Z", "lastReconciled": "2026-01-01T00:00:00Z", "lastReconciledDuration": "1s",
                "lastReconciledStatus": "ReconciliationSucceeded", "totalReconciliations": 7, "metadata": {"revision": revision}}
    ready = {"type": "Ready", "status": "True", "reason": "ReconciliationSucceeded", "message": f"Applied revision: {revision}", "observedGeneration": generation,
             "lastTransitionTime": "2026-01-01T00:00:00Z"}
    status = {"observedGeneration": generation, "lastAppliedRevision": revision, "lastAttemptedRevision": revision, "conditions": [ready], "history": [snapshot],
              "inventory": {"entries": entries}}
    space.patch("Kustomization", "app", {"status": status}, manager="gotk-kustomize-controller", subresource="status")

    space.spec("Kustomization", suspend=None)
    o = space.ready("Kustomization", revision=revision)
    assert present(space) == before
    outputs = {id: deed for r in space.stack.kustomize.log() if r["msg"] == "server-side apply completed" and r["namespace"] == space.name for id, deed in r["output"].items()}
    assert len(outputs) == len(before) and set(outputs.values()) == {"unchanged"}, outputs
    assert {e["id"] for e in o["status"]["inventory"]["entries"]} == {e["id"] for e in entries[:-1]}
    space.gone("ConfigMap", "old")
    assert [h["totalReconciliations"] for h in o["status"]["history"]] == [1, 7] and o["metadata"]["finalizers"] == ["finalizers.fluxcd.io"]

    space.ready("Kustomization", revision=space.push(repository, tree("2")))
    space.spec("Kustomization", suspend=True)
    ours = present(space)
    assert flux_applies(space, "2") == ours
