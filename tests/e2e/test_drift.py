"""Drift: what somebody else changes or removes comes back at once, and it is said who did it and where."""
import json
import time

import pytest

from cluster.kube import APPLY, JSON_PATCH
from cluster.process import until
from cluster.workload import deployment

DEPLOYMENT = deployment("web:v1")
FILES = {"web.yaml": DEPLOYMENT, "a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: one\n  l: two\n",
         "s.yaml": "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\nstringData:\n  password: of-git\n"}


def deploy(space, **spec):
    return space.deploy(FILES, targetNamespace=space.name, **spec)


def image(o):
    return o["spec"]["template"]["spec"]["containers"][0]["image"]


def said_who(space, manager, *parts):
    """The event that names the field manager of an edit, and these parts."""
    return until(lambda: [e for e in space.events("Kustomization") if manager in e["message"] and all(part in e["message"] for part in parts)], 15,
                 lambda: f"an event about {manager} {parts} in {[e['message'] for e in space.events('Kustomization')]}", 0.1)[0]


# A label that was removed belongs to nobody afterwards: the API server does not record who took it away.
@pytest.mark.parametrize("patch, field", [([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "web:evil"}], "image"),
                                          ([{"op": "replace", "path": "/spec/replicas", "value": 4}], "replicas"),
                                          ([{"op": "remove", "path": "/metadata/labels/kustomize.toolkit.fluxcd.io~1name"}], "labels")], ids=["image", "replicas", "owner-label"])
def test_edit_is_undone(space, patch, field):
    deploy(space)
    good = space.get("Deployment", "web")
    seen = space.kube.observe("Deployment", space.name, "web")
    space.patch("Deployment", "web", patch, manager="kubectl-edit", content_type=JSON_PATCH)

    def back():
        o = space.get("Deployment", "web")
        return seen and image(o) == image(good) and o["spec"]["replicas"] == 0 and o["metadata"]["labels"] == good["metadata"]["labels"]
    until(back, 10, "the edit undone")
    said = said_who(space, "" if field == "labels" else "kubectl-edit", "Drift corrected", "web", field)
    lines = said["message"].splitlines()
    assert said["reason"] == "DriftCorrected"  # many edits make no combined event of what was applied
    assert lines[0] == "Drift corrected:" and len(set(lines)) == len(lines) and all(line.startswith("Deployment/") for line in lines[1:]), lines
    assert space.condition("Kustomization")["status"] == "True"


def test_ways_to_edit(space):
    """kubectl label, scale, edit and both kinds of apply: each is undone, and of who did it nothing is left on the object."""
    deploy(space)
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web", "namespace": space.name}, "spec": {"replicas": 2}}
    image = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:evil"}]}}}}
    last_applied = {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}, "spec": {"paused": True}}
    ways = (("kubectl-label", {"metadata": {"labels": {"theirs": "x"}}}, {}), ("kubectl", scale, {"subresource": "scale"}), ("kubectl-edit", {"spec": {"replicas": 3}}, {}),
            ("kubectl", {"apiVersion": "apps/v1", "kind": "Deployment", **image}, {"content_type": APPLY}), ("kubectl-client-side-apply", last_applied, {}))
    good = space.get("Deployment", "web")

    def fields(o):
        """Without what the API server counts and what it knows by itself."""
        known = {key: o["metadata"].get(key) for key in ("labels", "annotations")}
        return known["labels"], {k: v for k, v in (known["annotations"] or {}).items() if "deployment.kubernetes.io" not in k}, o["spec"]

    def managers(o):
        return {entry["manager"] for entry in o["metadata"]["managedFields"] if not entry.get("subresource") and entry["manager"] != "kube-controller-manager"}
    for manager, edit, options in ways:
        version = space.get("Deployment", "web")["metadata"]["resourceVersion"]
        space.patch("Deployment", "web", edit, manager=manager, **options)
        space.wait("Deployment", "web", lambda o: fields(o) == fields(good) and o["metadata"]["resourceVersion"] != version and managers(o) == {"kustomize-controller"}, 15,
                   f"as it was before {manager}")


def test_deleted_object_comes_back(space):
    deploy(space)
    uid = space.get("ConfigMap", "a")["metadata"]["uid"]
    space.delete("ConfigMap", "a")
    space.wait("ConfigMap", "a", lambda o: o is not None and o["metadata"]["uid"] != uid, 10, "made anew")


def test_edit_is_undone_while_health_is_awaited(space):
    """A Deployment that never has its replica is waited for; that holds up nothing."""
    space.source(space.repository({**FILES, "web.yaml": DEPLOYMENT.replace("replicas: 0", "replicas: 1")}))
    space.kustomization(targetNamespace=space.name, wait=True, timeout="10m")
    space.wait("Kustomization", "app", lambda o: "Running health checks" in json.dumps(o.get("status", {})), 15, "it waits")
    space.patch("ConfigMap", "a", {"data": {"k": "changed"}}, manager="kubectl-edit")
    space.data("a", {"k": "one", "l": "two"}, 10)
    said_who(space, "kubectl-edit", "Drift corrected", "a")


def test_added_key_of_an_edit_is_removed(space):
    deploy(space)
    space.patch("ConfigMap", "a", {"data": {"k": "changed", "extra": "x"}}, manager="kubectl-edit")
    space.data("a", {"k": "one", "l": "two"}, 10)


def test_fields_of_an_edit_are_taken_over(space):
    """What was verified before is put right by one apply; who edited it holds nothing afterwards, not even what the apply did not want."""
    deploy(space)
    edit = {"metadata": {"annotations": {"by-hand": "yes"}}, "spec": {"replicas": 3, "minReadySeconds": 7}}
    space.patch("Deployment", "web", edit, manager="kubectl-edit")

    def ours():
        o = space.get("Deployment", "web")
        managers = {(f["manager"], f["operation"]) for f in o["metadata"]["managedFields"] if f.get("subresource") != "status"}
        return managers == {("kustomize-controller", "Apply")} and o["spec"]["replicas"] == 0 and "by-hand" not in o["metadata"]["annotations"]
    until(ours, 10, lambda: f"ours alone: {space.get('Deployment', 'web')['metadata']}")
    assert "minReadySeconds" not in space.get("Deployment", "web")["spec"]


def test_secret_is_restored_and_never_shown(space):
    deploy(space)
    good = space.get("Secret", "s")["data"]
    space.patch("Secret", "s", {"stringData": {"password": "known-to-nobody"}}, manager="kubectl-edit")
    space.wait("Secret", "s", lambda o: o["data"] == good, 10)
    said_who(space, "kubectl-edit", "s")
    texts = [e["message"] for e in space.events("Kustomization")] + [c.process.output() for c in space.stack.controllers.values()]
    for word in ("known-to-nobody", "of-git", good["password"]):
        assert not any(word in text for text in texts)


def test_finalizer_that_somebody_removed_comes_back(space):
    """So does an owner: metadata that Git asks for is as good as any other field."""
    deploy(space)
    owner = f"{{apiVersion: v1, kind: ConfigMap, name: a, uid: {space.get('ConfigMap', 'a')['metadata']['uid']}}}"
    held = f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: held\n  finalizers: [example.com/hold]\n  ownerReferences: [{owner}]\n"
    space.source(space.repository({"held.yaml": held}), "held")
    space.kustomization("held", sourceRef={"kind": "GitRepository", "name": "held"}, targetNamespace=space.name)
    space.ready("Kustomization", "held")
    good = space.get("ConfigMap", "held")["metadata"]
    for field in ("finalizers", "ownerReferences"):
        assert good[field]
        version = space.get("ConfigMap", "held")["metadata"]["resourceVersion"]
        space.patch("ConfigMap", "held", {"metadata": {field: None}}, manager="kubectl-edit")
        space.wait("ConfigMap", "held", lambda o: o["metadata"].get(field) == good[field] and o["metadata"]["resourceVersion"] != version, 15, f"{field} as they were")
    space.spec("Kustomization", "held", suspend=True)
    space.patch("ConfigMap", "held", {"metadata": {"finalizers": None}})


def test_ten_edits_in_a_row(space):
    """Whoever goes on editing goes on losing, and the last word is Git's."""
    deploy(space)
    for i in range(10):
        space.patch("ConfigMap", "a", {"data": {"k": f"edit-{i}"}}, manager="kubectl-edit")
    space.data("a", {"k": "one", "l": "two"}, 10)


def test_status_and_foreign_fields_are_no_drift(space):
    """The status of another controller and the fields that another manager applied for itself wake nobody."""
    deploy(space)
    space.patch("Deployment", "web", {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"annotations": {"theirs": "1"}}}, manager="other", content_type=APPLY)
    space.patch("Deployment", "web", {"status": {"observedGeneration": 1}}, manager="other", subresource="status")
    # Something that is drift, done afterwards: when it was undone, what came before was seen too.
    space.patch("ConfigMap", "a", {"data": {"k": "changed"}}, manager="kubectl-edit")
    space.data("a", {"k": "one", "l": "two"}, 10)
    assert space.get("Deployment", "web")["metadata"]["annotations"]["theirs"] == "1"
    woken = [r["msg"] for r in space.stack.kustomize.log() if r["msg"].startswith("drift detected: ") and space.name in r["msg"]]
    assert woken and all(f"ConfigMap/{space.name}/a " in text for text in woken), woken
    assert not [e for e in space.events("Kustomization") if "Deployment" in e["message"] and "configured" in e["message"]]


def test_suspended_owner_leaves_edits(space):
    deploy(space)
    space.spec("Kustomization", suspend=True)
    token = space.reconcile("Kustomization")
    space.wait("Kustomization", "app", lambda o: o["status"].get("lastHandledReconcileAt") == token, 15)
    space.patch("ConfigMap", "a", {"data": {"k": "changed"}}, manager="kubectl-edit")
    # The next thing that it does, it does after it had every chance to see the edit.
    token = space.reconcile("Kustomization")
    space.wait("Kustomization", "app", lambda o: o["status"].get("lastHandledReconcileAt") == token, 15)
    assert space.get("ConfigMap", "a")["data"]["k"] == "changed"
    space.spec("Kustomization", suspend=None)
    space.data("a", {"k": "one", "l": "two"}, 10)


def test_annotation_that_switches_it_off(space):
    """An object that somebody marks as theirs in the cluster is left alone."""
    deploy(space)
    space.patch("ConfigMap", "a", {"metadata": {"annotations": {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}}, "data": {"k": "changed"}}, manager="kubectl-edit")
    space.ready("Kustomization", handled=space.reconcile("Kustomization"))
    assert space.get("ConfigMap", "a")["data"]["k"] == "changed"
    space.patch("ConfigMap", "a", {"metadata": {"annotations": {"kustomize.toolkit.fluxcd.io/reconcile": None}}}, manager="kubectl-edit")
    space.reconcile("Kustomization")
    space.data("a", {"k": "one", "l": "two"})


def test_object_that_is_switched_off_is_nobodys(space):
    """It is neither waited for nor pruned, and the log says that it was skipped."""
    annotation = {"kustomize.toolkit.fluxcd.io/reconcile": "Disabled"}
    repository = deploy(space)
    space.patch("Deployment", "web", {"metadata": {"annotations": annotation}, "spec": {"replicas": 1}}, manager="kubectl-edit")
    space.spec("Kustomization", wait=True)   # for a Deployment that never has its replica
    space.ready("Kustomization")
    id = f"Deployment/{space.name}/web"
    assert [r for r in space.stack.kustomize.log() if r["msg"] == "server-side apply completed" and r["output"].get(id) == "skipped"]
    space.ready("Kustomization", revision=space.push(repository, delete=["web.yaml"]))
    assert space.get("Deployment", "web")["spec"]["replicas"] == 1


def test_object_made_once_is_made_again(space):
    """ssa: IfNotPresent: what is left alone while it is there comes back when it is gone."""
    files = {"a.yaml": FILES["a.yaml"].replace("  name: a\n", "  name: a\n  annotations:\n    kustomize.toolkit.fluxcd.io/ssa: IfNotPresent\n")}
    space.deploy(files, targetNamespace=space.name)
    space.ready("Kustomization", handled=space.reconcile("Kustomization"))   # finds it there
    space.kube.delete("ConfigMap", "a", space.name)
    space.reconcile("Kustomization")
    space.kube.wait("ConfigMap", "a", space.name, lambda o: o and o["data"]["k"] == "one")


def test_edit_while_the_controller_is_away(own_stack, space_in):
    """Drift that nobody watched is found at start."""
    stack = own_stack()
    space = space_in(stack)
    deploy(space)
    stack.kustomize.process.stop()
    space.patch("ConfigMap", "a", {"data": {"k": "changed"}}, manager="kubectl-edit")
    start = time.monotonic()
    stack.kustomize.start()
    space.data("a", {"k": "one", "l": "two"}, 15)
    assert time.monotonic() - start < 15


def test_deep_kind(space):
    """A kind whose schema is nested forty levels, as some have, is applied, watched and restored like any other."""
    group = f"{space.name.rpartition('-')[2]}.example.com"
    schema, value = {"type": "string"}, "bottom"
    for level in range(40):
        schema, value = {"type": "object", "properties": {f"l{level}": schema}}, {f"l{level}": value}
    crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"wells.{group}"},
           "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Well", "plural": "wells"},
                    "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": schema}}}}]}}
    well = {"apiVersion": f"{group}/v1", "kind": "Well", "metadata": {"name": "w"}, "spec": value}
    space.deploy({"crd.yaml": json.dumps(crd), "w.yaml": json.dumps(well)}, targetNamespace=space.name)
    path = f"/apis/{group}/v1/namespaces/{space.name}/wells/w"
    assert space.kube.request("GET", path)["spec"] == value
    pointer = "/spec/" + "/".join(f"l{level}" for level in reversed(range(40)))
    space.kube.request("PATCH", f"{path}?fieldManager=kubectl-edit", [{"op": "replace", "path": pointer, "value": "edited"}], JSON_PATCH)
    until(lambda: space.kube.request("GET", path)["spec"] == value, 10, "the edit undone")
    said_who(space, "kubectl-edit", "l0")
