"""What must never be deleted, and what must never stop in silence: inventories that somebody spoiled, specifications that cannot be read, things that go with others."""
from cluster.kube import find_condition
from cluster.process import until


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
    stack = own_stack()
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
