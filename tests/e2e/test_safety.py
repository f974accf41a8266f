"""What must never be deleted, and what must never stop in silence: inventories that somebody spoiled, specifications that cannot be read, things that go with others."""
import time

import pytest
import yaml

from cluster.kube import find_condition
from cluster.process import until
from cluster.workload import TENANT


def config(name, value="1", extra=""):
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n{extra}data:\n  k: \"{value}\"\n"


def entries(space):
    return (space.get("Kustomization")["status"].get("inventory") or {}).get("entries") or []


def ids(space):
    return [e["id"] for e in entries(space)]


def spoil(space, entries):
    """Somebody writes an inventory."""
    space.patch("Kustomization", "app", {"status": {"inventory": {"entries": entries}}}, subresource="status")


BAD = [{"id": "no-object-at-all", "v": "v1"}, {"id": "ns_a\0b__ConfigMap", "v": "v1"}, {"id": "ns_a/../b__ConfigMap", "v": "v1"}]


def test_lost_inventory_is_written_anew(space):
    """Nothing else changed: the run that would do nothing sees that the list of what is ours is not."""
    repository = space.deploy({"a.yaml": config("a"), "b.yaml": config("b")}, targetNamespace=space.name)
    good = entries(space)
    space.ready("Kustomization", handled=space.reconcile("Kustomization"))
    spoil(space, [])
    assert entries(space) == []
    space.ready("Kustomization", handled=space.reconcile("Kustomization"))
    assert entries(space) == good
    space.ready("Kustomization", revision=space.push(repository, delete=["b.yaml"]))
    space.gone("ConfigMap", "b")


def test_own_object_and_source_are_not_pruned(space):
    """A Kustomization that applies itself and its source, and a push that loses both files: what is declared stays, and the next push puts it right."""
    def ours(kind):
        o = space.get(kind)
        return yaml.safe_dump({"apiVersion": o["apiVersion"], "kind": kind, "metadata": {"name": "app", "namespace": space.name}, "spec": o["spec"]})

    repository = space.deploy({"app/a.yaml": config("a")}, targetNamespace=space.name, path="./app")
    files = {"app/own.yaml": ours("Kustomization"), "app/source.yaml": ours("GitRepository")}
    space.ready("Kustomization", revision=space.push(repository, files))
    assert len(ids(space)) == 3
    space.push(repository, delete=list(files))
    space.not_ready("Kustomization", reason="PruneFailed", message=f"Kustomization/{space.name}/app delete failed: {space.name}/app needs it")
    assert "deletionTimestamp" not in space.get("Kustomization")["metadata"] and "deletionTimestamp" not in space.get("GitRepository")["metadata"]
    assert space.get("ConfigMap", "a") is not None and len(ids(space)) == 3
    space.ready("Kustomization", revision=space.push(repository, files))
    space.delete("Kustomization")
    space.gone("Kustomization")
    assert space.get("ConfigMap", "a") is None


def test_entries_that_cannot_be_read(space):
    """They are kept and named; what can be read is applied, pruned and, at the end, deleted."""
    repository = space.deploy({"a.yaml": config("a"), "b.yaml": config("b")}, targetNamespace=space.name)
    spoil(space, BAD[:1] + entries(space) + BAD[1:])
    revision = space.push(repository, {"a.yaml": config("a", "2")}, delete=["b.yaml"])
    space.ready("Kustomization", revision=revision)
    space.gone("ConfigMap", "b")
    assert space.get("ConfigMap", "a")["data"] == {"k": "2"}
    assert ids(space) == [f"{space.name}_a__ConfigMap"] + [e["id"] for e in BAD]
    said = space.wait_event("Kustomization", "Progressing", "status.inventory.entries[0]")
    assert said["type"] == "Warning" and "no-object-at-all" in said["message"] and "it is kept and nothing is done about it" in said["message"]
    space.delete("Kustomization")
    space.gone("Kustomization")
    space.gone("ConfigMap", "a")
    left = until(lambda: [e for e in space.events("Kustomization") if "nothing was deleted for it" in e["message"]], 15, "the event about what is left", 0.1)[0]
    assert f"kustomize.toolkit.fluxcd.io/name=app,kustomize.toolkit.fluxcd.io/namespace={space.name}" in left["message"]


def test_namespace_of_what_stays_is_not_deleted(space):
    """A Namespace leaves the repository, and what lives in it stays: deleting it would delete that."""
    other = space.name + "-n"
    namespace = f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {other}\n"
    repository = space.deploy({"ns.yaml": namespace, "a.yaml": config("a", extra=f"  namespace: {other}\n")}, retryInterval="1s")
    space.push(repository, delete=["ns.yaml"])
    o = space.not_ready("Kustomization", reason="PruneFailed")
    assert f"Namespace/{other} delete failed: ConfigMap/{other}/a would be deleted with it, and is still declared" in find_condition(o)["message"]
    assert "deletionTimestamp" not in space.kube.get("Namespace", other)["metadata"] and space.kube.get("ConfigMap", "a", other)
    assert f"_{other}__Namespace" in ids(space)
    revision = space.push(repository, {"b.yaml": config("b", extra=f"  namespace: {space.name}\n")}, delete=["a.yaml"])
    space.ready("Kustomization", revision=revision)
    space.kube.wait("Namespace", other, None, lambda o: o is None or o["metadata"].get("deletionTimestamp"), 30)


EVENT = "apiVersion: {}\nkind: Event\nmetadata:\n  name: note\n{}"
OLD_EVENT = EVENT.format("v1", "involvedObject: {{kind: ConfigMap, name: a, namespace: {0}}}\nreason: Noted\nmessage: m\ntype: Normal\n")
NEW_EVENT = EVENT.format("events.k8s.io/v1", "regarding: {{kind: ConfigMap, name: a, namespace: {0}}}\nreason: Noted\nnote: m\ntype: Normal\n"
                         "action: Did\nreportingController: example.com/x\nreportingInstance: x\neventTime: \"2026-01-01T00:00:00.000001Z\"\n")


def test_object_of_two_groups(space):
    """An Event is served in two groups: writing it in the other one is no removal."""
    repository = space.deploy({"e.yaml": NEW_EVENT.format(space.name)}, targetNamespace=space.name)
    uid = space.kube.request("GET", f"/api/v1/namespaces/{space.name}/events/note")["metadata"]["uid"]
    old = OLD_EVENT.format(space.name) + "eventTime: \"2026-01-01T00:00:00.000001Z\"\naction: Did\nreportingComponent: example.com/x\nreportingInstance: x\n"
    revision = space.push(repository, {"e.yaml": old})
    space.ready("Kustomization", revision=revision)
    assert space.kube.request("GET", f"/api/v1/namespaces/{space.name}/events/note")["metadata"]["uid"] == uid
    assert ids(space) == [f"{space.name}_note__Event"]
    space.ready("Kustomization", revision=space.push(repository, {"a.yaml": config("a")}, delete=["e.yaml"]))
    status, _ = space.kube.call("GET", f"/api/v1/namespaces/{space.name}/events/note")
    assert status == 404


def test_deleted_object_that_cannot_be_decoded(own_stack, space_in):
    """
    The object is from before a rule of the CRD was made. Where what decides about the deletion can be read its owner gets what was asked for; where not, nothing
    is deleted, and it is said what to do.
    """
    stack = own_stack(spoils=True)
    space = space_in(stack)
    repository = space.repository({f"{name}/{name}.yaml": config(name) for name in ("clear", "odd")})
    space.source(repository)
    for name in ("clear", "odd"):
        space.kustomization(name, path=f"./{name}", targetNamespace=space.name)
        space.ready("Kustomization", name)
    crd = "kustomizations.kustomize.toolkit.fluxcd.io"
    versions = stack.kube.get("CustomResourceDefinition", crd)["spec"]["versions"]
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    stack.kube.patch("CustomResourceDefinition", crd, None, {"spec": {"versions": [{**v, "schema": {"openAPIV3Schema": anything}} for v in versions]}})

    def stored(name, spec):
        status, _ = stack.kube.call("PATCH", stack.kube.path("Kustomization", space.name, name) + "?fieldManager=user", {"spec": spec}, "application/merge-patch+json")
        return status < 300 and all(space.get("Kustomization", name)["spec"].get(k) == v for k, v in spec.items())
    until(lambda: stored("clear", {"interval": {"every": "hour"}}), 20, "the odd interval stored", 0.2)
    until(lambda: stored("odd", {"prune": "perhaps"}), 20, "the odd prune stored", 0.2)
    for name in ("clear", "odd"):
        space.wait("Kustomization", name, lambda o: (find_condition(o, "Stalled") or {}).get("reason") == "InvalidSpec", 20, "stalled")
        space.delete("Kustomization", name)
    space.gone("Kustomization", "clear")
    space.gone("ConfigMap", "clear")
    o = space.wait("Kustomization", "odd", lambda o: "spec.deletionPolicy to Orphan" in find_condition(o)["message"], 20)
    said = find_condition(o, "Stalled")["message"]
    assert "spec.prune" in said and "nothing is deleted" in said
    assert space.get("ConfigMap", "odd") is not None and o["metadata"]["finalizers"]
    space.spec("Kustomization", "odd", deletionPolicy="Orphan")
    space.gone("Kustomization", "odd")
    assert space.get("ConfigMap", "odd") is not None


def test_two_that_swap_their_objects(space):
    """Again and again, both at once: whoever declares an object has it in the end, and none is missing."""
    def tree(turn):
        return {f"{('one', 'two')[(i + turn) % 2]}/{i}.yaml": config(f"c{i}", str(turn)) for i in range(8)}
    repository = space.repository({**tree(0), "one/own.yaml": config("one"), "two/own.yaml": config("two")})
    space.source(repository)
    for name in ("one", "two"):
        space.kustomization(name, path=f"./{name}", targetNamespace=space.name, retryInterval="1s")
        space.ready("Kustomization", name)
    for turn in range(1, 7):
        revision = space.push(repository, tree(turn), delete=list(tree(turn - 1)))
        for name in ("one", "two"):
            space.ready("Kustomization", name, revision=revision)

    def settled():
        return all((o := space.get("ConfigMap", f"c{i}")) and o["data"] == {"k": "6"} and o["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"] == ("one", "two")[i % 2]
                   and "deletionTimestamp" not in o["metadata"] for i in range(8))
    until(settled, 20, "each object with its owner", 0.2)
    for n, name in enumerate(("one", "two")):
        inventory = {e["id"] for e in space.get("Kustomization", name)["status"]["inventory"]["entries"]}
        assert inventory == {f"{space.name}_{o}__ConfigMap" for o in [name] + [f"c{i}" for i in range(8) if i % 2 == n]}


def test_inventory_that_is_too_large(space):
    """An object of etcd holds a megabyte and a half, of which others may have taken the most: nothing is applied that would be forgotten, and it is said why."""
    many = "---\n".join(config(f"n{i:03}{'x' * 240}") for i in range(150))
    space.source(space.repository({"few/a.yaml": config("a"), "many/many.yaml": many}))
    space.kustomization(path="./few", targetNamespace=space.name, postBuild={"substitute": {"large": "x" * 1_540_000}})
    space.ready("Kustomization")
    space.spec("Kustomization", path="./many")
    said = find_condition(space.not_ready("Kustomization", reason="ReconciliationFailed"))["message"]
    assert "status.inventory of 151 objects is more than one object can hold: spread them over several Kustomizations" in said
    assert ids(space) == [f"{space.name}_a__ConfigMap"] and space.get("ConfigMap", "a")
    assert len(space.kube.list("ConfigMap", space.name, "kustomize.toolkit.fluxcd.io/name=app")) == 1
    space.spec("Kustomization", path="./few")
    space.ready("Kustomization")


@pytest.mark.parametrize("deed", ["deletion", "prune"])
def test_object_that_two_declare(space, deed):
    """It is of the one that applied it last. When that one goes, or gives it up, the other one makes it again, and does not wait for its interval."""
    space.source(space.repository({"a/a.yaml": config("a"), "b/b.yaml": config("b")}))
    for name in ("first", "second"):
        space.kustomization(name, path="./a", targetNamespace=space.name)
        space.ready("Kustomization", name)
    o = space.get("ConfigMap", "a")
    assert o["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"] == "second"
    if deed == "deletion":
        space.delete("Kustomization", "second")
    else:
        space.spec("Kustomization", "second", path="./b")
    space.wait("ConfigMap", "a", lambda now: now is not None and now["metadata"]["uid"] != o["metadata"]["uid"], 20)
    assert space.get("ConfigMap", "a")["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"] == "first"


def test_another_object_of_the_same_name(space):
    """
    Somebody takes the finalizer away, so that what was applied stays, and makes a new object of that name, while the last run of the old one waits for health. The
    new one does not wait for that, and knows nothing of what the old one applied.
    """
    files = {"old/web.yaml": DEPLOYMENT.replace("replicas: 0", "replicas: 1"), "old/a.yaml": config("a"), "new/b.yaml": config("b")}
    space.source(space.repository(files))
    space.kustomization(path="./old", targetNamespace=space.name, wait=True, timeout="10m")
    space.wait("Kustomization", "app", lambda o: "Running health checks" in (find_condition(o, "Reconciling") or {}).get("message", ""))
    space.patch("Kustomization", "app", {"metadata": {"finalizers": None}})
    space.delete("Kustomization")
    space.gone("Kustomization")
    space.kustomization(path="./new", targetNamespace=space.name)
    space.ready("Kustomization")
    assert ids(space) == [f"{space.name}_b__ConfigMap"]
    assert len(space.get("Kustomization")["status"]["history"]) == 1
    assert space.get("ConfigMap", "a") and space.get("Deployment", "web")


# -- what is asked of the API server

# It finds a new kind after half a minute, and then it asks about it too.
COLLECTOR = ["garbage-collector"]
SERVICE = "apiVersion: v1\nkind: Service\nmetadata:\n  name: {}\nspec:\n  selector: {{app: x}}\n  ports: [{{port: {}}}]\n"


def requests(stack):
    """How many requests the API server has answered, by resource and verb; a dry run is "DRY"."""
    counts = {}
    for labels, value in stack.kube.metric_samples("apiserver_request_total"):
        key = labels["resource"], "DRY" if labels.get("dry_run") else labels["verb"]
        counts[key] = counts.get(key, 0) + int(value)
    return counts


def asked(before, after, *resources):
    """What was asked about these resources in between."""
    return {key: count - before.get(key, 0) for key, count in after.items() if key[0] in resources and count > before.get(key, 0)}


def without_admin(stack, *rules):
    """The kustomize-controller has the rights of its own kinds and these, and no more."""
    for b in stack.kube.list("ClusterRoleBinding"):
        if b["roleRef"]["name"] == "cluster-admin" and any(s.get("name") == "kustomize-controller" for s in b.get("subjects") or []):
            stack.kube.delete("ClusterRoleBinding", b["metadata"]["name"])
    rbac = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "limited"}}
    stack.kube.apply([{**rbac, "kind": "ClusterRole", "rules": list(rules)},
                      {**rbac, "kind": "ClusterRoleBinding", "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "limited"},
                       "subjects": [{"kind": "ServiceAccount", "name": "kustomize-controller", "namespace": "flux-system"}]}])
    until(lambda: stack.may("kustomize-controller", "list", "", "services") and not stack.may("kustomize-controller", "watch", "", "services"), 30, "the rights changed")


def test_kinds_that_may_not_be_watched(own_stack, space_in):
    """Without the right to watch, one list of metadata for each kind and namespace tells what changed; and the log says so once."""
    stack = own_stack(start=False, without=COLLECTOR)
    without_admin(stack, {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "create", "patch", "update", "delete"]})
    stack.start()
    space = space_in(stack)
    space.deploy({f"{i}.yaml": SERVICE.format(f"s{i}", 80 + i) for i in range(5)}, targetNamespace=space.name)

    def reconcile():
        before = requests(stack)
        space.ready("Kustomization", handled=space.reconcile("Kustomization"))
        return asked(before, requests(stack), "services")
    space.begun()
    until(lambda: reconcile() == {("services", "LIST"): 1}, 20, "one list a run", 0.2)
    space.patch("Service", "s1", {"spec": {"selector": {"app": "edited"}}}, manager="kubectl-edit")
    space.kube.delete("Service", "s2", space.name)
    reconcile()
    assert space.get("Service", "s1")["spec"]["selector"] == {"app": "x"} and space.get("Service", "s2") is not None
    said = space.wait_event("Kustomization", "DriftCorrected", "Drift corrected")["message"]
    assert f"Service/{space.name}/s1 was changed by kubectl-edit: .spec.selector" in said and f"Service/{space.name}/s2 was deleted" in said
    assert reconcile() == {("services", "LIST"): 1}
    failures = [(r["kind"], r["level"]) for r in stack.kustomize.log() if r["msg"].startswith("Failed to watch")]
    for kind in ("Service", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "CustomResourceDefinition"):
        assert failures.count((kind, "error")) == 1, failures


CRD = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: widgets.{group}
spec:
  group: {group}
  scope: Namespaced
  names: {{kind: Widget, plural: widgets}}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {{openAPIV3Schema: {{type: object, properties: {{spec: {{type: object, properties: {{size: {{type: integer}}, color: {{type: string}}}}}}}}}}}}
"""
DEPLOYMENT = ("apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 0\n  selector:\n    matchLabels: {app: web}\n  template:\n    metadata:\n"
              "      labels: {app: web}\n    spec:\n      containers:\n      - {name: web, image: web}\n")
INGRESS = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: i\nspec:\n  defaultBackend: {service: {name: s0, port: {number: 80}}}\n"
KINDS = ("services", "deployments", "ingresses", "configmaps", "secrets", "serviceaccounts", "widgets")


def test_only_what_changed_is_asked_about(own_stack, space_in):
    """
    Four objects are touched in the four ways that there are, another one gets a hundred statuses: exactly the four are put right. Then the server itself changes,
    by a webhook and by a CRD: each object that this concerns is verified once, and nothing is written.
    """
    stack = own_stack(without=COLLECTOR)
    space = space_in(stack)
    group = f"{space.name.rpartition('-')[2]}.example.com"
    space.kube.apply(CRD.format(group=group))
    until(lambda: space.kube.call("GET", f"/apis/{group}/v1/widgets")[0] == 200, 20, "the kind served")
    space.kube.discover()
    files = {"web.yaml": DEPLOYMENT, "s.yaml": SERVICE.format("s0", 80), "i.yaml": INGRESS, "a.yaml": config("a"), "b.yaml": config("b"),
             "k.yaml": "apiVersion: v1\nkind: Secret\nmetadata:\n  name: k\nstringData:\n  x: y\n", "sa.yaml": "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: sa\n",
             "w.yaml": f"apiVersion: {group}/v1\nkind: Widget\nmetadata:\n  name: w\nspec:\n  size: 1\n"}
    space.deploy(files, targetNamespace=space.name)
    space.begun()

    def reconcile():
        before = requests(stack)
        space.ready("Kustomization", handled=space.reconcile("Kustomization"))
        return asked(before, requests(stack), *KINDS)

    def rests():
        """Nothing is asked about objects: the watches tell."""
        return reconcile() == {}
    until(rests, 20, "all as verified, by the watches", 0.2)

    names = (("Deployment", "web"), ("ConfigMap", "a"), ("ConfigMap", "b"), ("Ingress", "i"), ("ServiceAccount", "sa"), ("Widget", "w"))
    versions = {name: space.get(*name)["metadata"]["resourceVersion"] for name in names}
    service = space.get("Service", "s0")["metadata"]["uid"]
    for i in range(100):
        space.patch("Ingress", "i", {"status": {"loadBalancer": {"ingress": [{"ip": f"10.0.0.{i + 1}"}]}}}, manager="other", subresource="status")
    before = requests(stack)
    space.patch("Deployment", "web", {"spec": {"replicas": 3}}, manager="kubectl-scale")
    space.patch("ConfigMap", "a", {"data": {"k": "edited"}}, manager="kubectl-edit")
    space.patch("Secret", "k", {"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": None}}}, manager="kubectl-label")
    space.kube.delete("Service", "s0", space.name)
    until(lambda: (o := space.get("Service", "s0")) and o["metadata"]["uid"] != service and space.get("Deployment", "web")["spec"]["replicas"] == 0
          and space.get("ConfigMap", "a")["data"] == {"k": "1"} and "kustomize.toolkit.fluxcd.io/name" in space.get("Secret", "k")["metadata"]["labels"], 15, "all put right", 0.2)
    until(rests, 20, "all as verified again", 0.2)
    seen = asked(before, requests(stack), *KINDS)
    assert not [key for key in seen if key[0] in ("ingresses", "serviceaccounts", "widgets")], seen
    for untouched in (("ConfigMap", "b"), ("ServiceAccount", "sa"), ("Widget", "w")):
        assert space.get(*untouched)["metadata"]["resourceVersion"] == versions[untouched]

    # Asked for by hand: everything is asked about, and nothing is written.
    before = requests(stack)
    token = str(time.time_ns())
    stack.kube.annotate("Kustomization", "app", space.name, **{"reconcile.fluxcd.io/requestedAt": token, "reconcile.fluxcd.io/forceAt": token})
    space.ready("Kustomization", handled=token)
    seen = asked(before, requests(stack), *KINDS)
    assert {key[0] for key in seen if key[1] == "DRY"} == set(KINDS) and not [key for key in seen if key[1] in ("APPLY", "PATCH")], seen
    until(rests, 20, "all as verified once more", 0.2)

    # A webhook that concerns none of it: nobody knows that without asking.
    versions = {name: space.get(*name)["metadata"]["resourceVersion"] for name in names}
    space.kube.apply([{"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration", "metadata": {"name": space.name}, "webhooks": [
        {"name": "none.example.com", "clientConfig": {"url": "https://127.0.0.1:1/"}, "sideEffects": "None", "admissionReviewVersions": ["v1"],
         "rules": [{"apiGroups": ["none.example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["nothings"]}]}]}])
    before = requests(stack)
    until(lambda: asked(before, requests(stack), "widgets").get(("widgets", "DRY")) or (reconcile() and False), 20, "a verification", 0.2)
    until(rests, 20, "all as verified by the new server", 0.2)
    seen = asked(before, requests(stack), *KINDS)
    dry = {key[0]: count for key, count in seen.items() if key[1] == "DRY"}
    assert dry == {"services": 1, "deployments": 1, "ingresses": 1, "configmaps": 2, "secrets": 1, "serviceaccounts": 1, "widgets": 1}, seen
    assert not [key for key in seen if key[1] in ("APPLY", "PATCH")], seen
    assert versions == {name: space.get(*name)["metadata"]["resourceVersion"] for name in names}

    # A new schema of one kind: its objects alone.
    before = requests(stack)
    space.kube.apply(CRD.format(group=group).replace("color:", "colour:"))
    until(lambda: asked(before, requests(stack), "widgets").get(("widgets", "DRY")) or (reconcile() and False), 20, "a verification", 0.2)
    until(rests, 20, "all as verified by the new schema", 0.2)
    seen = asked(before, requests(stack), *KINDS)
    assert {key[0]: count for key, count in seen.items() if key[1] == "DRY"} == {"widgets": 1}, seen


def test_account_that_loses_its_rights(space):
    """Nothing changes in the repository and nothing in what was applied: that the account may do nothing any more is noticed all the same, within an interval."""
    space.apply(TENANT)
    space.deploy({"a.yaml": config("a")}, targetNamespace=space.name, serviceAccountName="tenant", interval="3s", retryInterval="1s")
    runs = lambda: space.get("Kustomization")["status"]["history"][0]["totalReconciliations"]
    before = runs()
    until(lambda: runs() > before + 1, 20, "a run that found nothing to do", 0.2)
    space.kube.delete("RoleBinding", "tenant", space.name)
    o = space.not_ready("Kustomization", reason="ReconciliationFailed", seconds=20)
    assert "orbidden" in find_condition(o)["message"] and f"system:serviceaccount:{space.name}:tenant" in find_condition(o)["message"]
    failed = lambda: sum(h["totalReconciliations"] for h in space.get("Kustomization")["status"]["history"] if h["lastReconciledStatus"] == "ReconciliationFailed")
    until(lambda: failed() > 2, 20, "it stays so until the rights are back", 0.2)
    assert find_condition(space.get("Kustomization"))["status"] != "True"
    space.apply(TENANT)
    space.ready("Kustomization", seconds=20)


def test_edit_that_no_apply_survives(space):
    """
    A port that somebody edits stays beside ours, and two ports without names are refused: what others hold is taken over first. With force, too, nothing is
    deleted for it.
    """
    space.deploy({"s.yaml": SERVICE.format("s", 80)}, targetNamespace=space.name, force=True, retryInterval="1s")
    uid = space.get("Service", "s")["metadata"]["uid"]
    space.patch("Service", "s", {"spec": {"ports": [{"port": 9999}]}}, manager="kubectl-edit")
    o = space.wait("Service", "s", lambda o: [p["port"] for p in o["spec"]["ports"]] == [80], 20)
    assert o["metadata"]["uid"] == uid
    space.ready("Kustomization")
