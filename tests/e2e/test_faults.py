"""
What breaks around the controllers, and what must still be true afterwards. The control plane is nobody else's: test after test breaks and mends it. The interval
of what they make is short, because the events that were lost meanwhile are made up for at the interval.
"""
import os
import random
import shutil
import subprocess
import threading
import time

import pytest

from artifact import artifact_of, download
from cluster.controllers import CONTROLLERS
from cluster.kube import find_condition, metric
from cluster.process import until

RETRY = ["--min-retry-delay=100ms", "--max-retry-delay=2s"]
FLAGS = {"source-controller": RETRY, "kustomize-controller": [*RETRY, "--requeue-dependency=1s"]}
# How long the random kills go on: a minute here, longer where the variable says so.
CHAOS_SECONDS = int(os.environ.get("WEIR_CHAOS_SECONDS", "60"))


def config(name, value):
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  k: \"{value}\"\n"


def tree(count, value):
    return {f"c{i}.yaml": config(f"c{i}", f"v{value}") for i in range(count)}


def holds(space, count, value):
    """All objects have a value, and no other object has our label."""
    found = {o["metadata"]["name"]: o["data"]["k"] for o in space.kube.list("ConfigMap", space.name, "kustomize.toolkit.fluxcd.io/name=app")}
    return found == {f"c{i}": f"v{value}" for i in range(count)}


@pytest.fixture(scope="module")
def mended():
    """The stack that the test before has left in order."""
    return []


@pytest.fixture
def world(file_stack, own_stack, mended, space_in, request):
    """A stack to break, and a space in it. With options, or for what does not mend it, one of the test's own."""
    def make(own=False, **options):
        if own or options:
            stack = own_stack(flags=FLAGS, spoils=True, **options)
        else:
            stack = mended.pop() if mended else file_stack(flags=FLAGS)
            stacks.append(stack)
        return stack, space_in(stack)
    stacks = []
    yield make
    if not getattr(request.node, "failed", False):
        mended.extend(stacks)


def deploy(space, count=20, **spec):
    repository = space.repository(tree(count, 0))
    space.source(repository, interval="2s")
    space.kustomization(targetNamespace=space.name, **{"interval": "5s", "retryInterval": "1s", **spec})
    space.ready("Kustomization", revision=repository.head())
    return repository


def test_apiserver_killed_while_objects_are_applied(world):
    """What fails then is not left until the interval, which is an hour."""
    stack, space = world()
    repository = deploy(space, 60, interval="1h", retryInterval=None)
    for value in range(1, 4):
        # Watched before the commit, which an interval may fetch before it is asked for.
        seen = space.kube.observe("ConfigMap", space.name)
        revision = repository.commit(tree(60, value))
        space.reconcile("GitRepository")
        until(lambda: len(seen) > 3, 20, "the apply begun", 0.002)
        stack.plane.apiserver.kill()
        stack.plane.start_apiserver()
        space.ready("Kustomization", revision=revision, seconds=60)
        assert holds(space, 60, value)
    assert all(c.process.running for c in stack.controllers.values())


def test_apiserver_away_for_a_while(world):
    """What was pushed meanwhile arrives, and no controller ended or span."""
    stack, space = world()
    repository = deploy(space)
    stack.plane.apiserver.kill()
    before = {name: c.cpu_seconds() for name, c in stack.controllers.items()}
    time_away = time.monotonic()
    revision = repository.commit(tree(20, 1))
    until(lambda: time.monotonic() - time_away > 5, 10, "five seconds", 0.2)
    for name, c in stack.controllers.items():
        assert c.process.running and c.cpu_seconds() - before[name] < 2.5
    stack.plane.start_apiserver()
    space.ready("Kustomization", revision=revision, seconds=60)
    assert holds(space, 20, 1)


def test_history_compacted_while_a_watch_was_cut(world):
    """A watch that cannot resume (410 Gone) lists again, and misses nothing."""
    stack, space = world()
    repository = deploy(space)
    stack.plane.apiserver.kill()
    stack.plane.start_apiserver()
    for i in range(50):
        space.patch("ConfigMap", "c0", {"metadata": {"annotations": {"n": str(i)}}}, manager="noise")
    stack.plane.compact()
    space.push(repository, tree(20, 1))
    space.ready("Kustomization", revision=repository.head(), seconds=60)
    space.patch("ConfigMap", "c1", {"data": {"k": "edited"}}, manager="kubectl-edit")
    until(lambda: holds(space, 20, 1), 20, "the edit undone")


def test_older_state_from_a_backup(world):
    """etcd is put back to where it was some time ago: what Git says is made again, also what was deleted since, and nothing else is."""
    stack, space = world()
    plane = stack.plane
    data, backup = f"{plane.workspace.path}/etcd", f"{plane.workspace.path}/backup"
    repository = space.repository({"a/c.yaml": config("c", 1), "a/old.yaml": config("old", 1), "b/d.yaml": config("d", 1)})
    space.source(repository)
    for name, path in (("app", "./a"), ("other", "./b")):
        space.kustomization(name, path=path, targetNamespace=space.name, retryInterval="1s")
        space.ready("Kustomization", name)
    space.patch("ConfigMap", "old", {"metadata": {"annotations": {"kept": "yes"}}})
    plane.etcd.kill()
    shutil.copytree(data, backup)
    plane.etcd.start()
    plane.wait_ready()
    space.delete("Kustomization", "other")
    space.gone("ConfigMap", "d")
    revision = space.push(repository, {"a/c.yaml": config("c", 2), "a/new.yaml": config("new", 2)}, delete=["a/old.yaml"])
    space.ready("Kustomization", revision=revision)
    space.gone("ConfigMap", "old")
    space.kustomization("late", path="./b", targetNamespace=space.name)
    space.ready("Kustomization", "late")
    plane.apiserver.kill()
    plane.etcd.kill()
    shutil.rmtree(data)
    os.rename(backup, data)
    plane.etcd.start()
    plane.start_apiserver()
    for name in ("app", "other"):
        space.ready("Kustomization", name, revision=revision, seconds=30)
    assert space.get("Kustomization", "late") is None
    space.data("c", {"k": "2"})
    space.data("new", {"k": "2"})
    space.data("d", {"k": "1"})
    space.gone("ConfigMap", "old")
    assert [e["id"] for e in space.get("Kustomization")["status"]["inventory"]["entries"]] == [f"{space.name}_{name}__ConfigMap" for name in ("c", "new")]
    space.patch("ConfigMap", "d", {"data": {"k": "edited"}}, manager="kubectl-edit")
    space.data("d", {"k": "1"})
    for controller in stack.controllers.values():
        assert any("as after a restore from a backup" in record["msg"] for record in controller.log())


def bindings(kube):
    """What gives the controllers their rights."""
    return [b for b in kube.list("ClusterRoleBinding") if any(s.get("name") in CONTROLLERS for s in b.get("subjects") or [])]


def test_watches_without_rights(world):
    """
    The rights are taken away while the API server starts anew, so that no watch has any: the object's own, those of what it refers to, that of what was applied.
    Nothing is deleted for what cannot be seen, it is said, and what happened meanwhile is made up for when the rights are back.
    """
    stack, space = world()
    kube = stack.kube
    repository = space.repository({"a/a.yaml": config("a", 1), "a/gone.yaml": config("gone", 1), "b/b.yaml": config("b", 1), "c/c.yaml": config("c", "${v}")})
    space.source(repository)
    space.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "variables", "labels": {"reconcile.fluxcd.io/watch": "Enabled"}}, "data": {"v": "one"}}])
    from_variables = {"substituteFrom": [{"kind": "ConfigMap", "name": "variables"}]}
    for name in "abc":
        space.kustomization(name, path=f"./{name}", targetNamespace=space.name, retryInterval="1s", postBuild=from_variables if name == "c" else None)
        space.ready("Kustomization", name)
    taken = bindings(kube)
    for b in taken:
        kube.delete("ClusterRoleBinding", b["metadata"]["name"])
    stack.plane.apiserver.kill()
    stack.plane.start_apiserver()
    space.patch("ConfigMap", "a", {"data": {"k": "edited"}}, manager="kubectl-edit")
    space.kube.delete("ConfigMap", "gone", space.name)
    space.patch("ConfigMap", "variables", {"data": {"v": "two"}}, manager="user")
    space.delete("Kustomization", "b")
    repository.commit({"a/new.yaml": config("new", 1)})
    space.reconcile("GitRepository")

    until(lambda: any("for want of rights" in r["msg"] and r["kind"] == "GitRepository" for r in stack.kustomize.log()), 20, "the lost rights told", 0.2)
    for name, value in (("a", "edited"), ("b", "1"), ("c", "one")):
        assert space.get("ConfigMap", name)["data"] == {"k": value}
    for b in taken:
        kube.apply([{k: v for k, v in b.items() if k != "metadata"} | {"metadata": {k: b["metadata"].get(k) for k in ("name", "labels")}}])
    space.data("a", {"k": "1"})
    space.data("gone", {"k": "1"})
    space.data("new", {"k": "1"})
    space.data("c", {"k": "two"})
    space.gone("Kustomization", "b")
    space.gone("ConfigMap", "b")


def test_connections_that_go_dead(world):
    """The network drops every packet without a word, and the connections with it; afterwards everything is caught up with."""
    stack, space = world(linked=True)
    repository = deploy(space)
    stack.link.freeze()
    revision = repository.commit(tree(20, 1))
    space.patch("ConfigMap", "c1", {"data": {"k": "edited"}}, manager="kubectl-edit")
    frozen = time.monotonic()
    until(lambda: time.monotonic() - frozen > 3, 10, "three seconds", 0.2)
    stack.link.cut()
    stack.link.thaw()
    space.ready("Kustomization", revision=revision, seconds=60)
    until(lambda: holds(space, 20, 1), 20, "the edit undone")


THROTTLE = """
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: PriorityLevelConfiguration
metadata: {name: nothing}
spec:
  type: Limited
  limited:
    nominalConcurrencyShares: 0
    lendablePercent: 0
    borrowingLimitPercent: 0
    limitResponse: {type: Reject}
---
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata: {name: nothing}
spec:
  matchingPrecedence: 2
  priorityLevelConfiguration: {name: nothing}
  rules:
  - subjects: [{kind: ServiceAccount, serviceAccount: {name: kustomize-controller, namespace: flux-system}}]
    resourceRules: [{verbs: ["patch", "create"], apiGroups: ["*"], resources: ["*"], clusterScope: true, namespaces: ["*"]}]
"""


def test_too_many_requests(world):
    """The API server turns the controller away with 429 and Retry-After: it waits as told, does not hammer, and ends in the right state."""
    stack, space = world()
    repository = deploy(space)
    stack.kube.apply(THROTTLE)
    revision = repository.commit(tree(20, 1))
    space.reconcile("GitRepository")

    def rejected():
        return sum(value for labels, value in stack.kube.metric_samples("apiserver_flowcontrol_rejected_requests_total") if labels["priority_level"] == "nothing")
    until(lambda: rejected() > 0, 30, "a request turned away", 0.1)
    first, begun = rejected(), time.monotonic()
    until(lambda: time.monotonic() - begun > 4, 10, "four seconds", 0.2)
    assert rejected() - first < 400, "asked again without waiting"
    stack.kube.delete("FlowSchema", "nothing")
    space.ready("Kustomization", revision=revision, seconds=60)
    assert holds(space, 20, 1)


@pytest.mark.parametrize("name", ["source-controller", "kustomize-controller"])
def test_controller_killed_in_the_middle(world, name):
    """kill -9 while it works: the next one finishes the job, and leaves no temporary file behind."""
    stack, space = world()
    repository = deploy(space, 60)
    controller = stack.controllers[name]
    for value in range(1, 4):
        seen = space.kube.observe("ConfigMap" if name.startswith("k") else "GitRepository", space.name)
        revision = repository.commit(tree(60, value))
        space.reconcile("GitRepository")
        until(lambda: len(seen) > 1, 20, "work begun", 0.002)
        controller.restart(kill=True)
        space.ready("Kustomization", revision=revision, seconds=60)
        assert holds(space, 60, value)
    until(lambda: not controller.leftovers(), 20, lambda: f"the temporary files of the dead gone: {controller.leftovers()}", 0.2)


STUCK = """\
apiVersion: v1
kind: Secret
metadata:
  name: stuck
  annotations: {kustomize.toolkit.fluxcd.io/force: enabled}
  finalizers: [example.com/hold]
immutable: true
stringData:
  k: "%s"
"""


def test_object_made_just_before_a_kill(world):
    """It is in the cluster, the run that made it never ended, and the next revision has it no more: nobody may forget it."""
    stack, space = world()
    repository = space.repository({"stuck.yaml": STUCK % 0})
    space.source(repository, interval="2s")
    space.kustomization(targetNamespace=space.name, retryInterval="1s", timeout="10m")
    space.ready("Kustomization", revision=repository.head())
    # The Secret is made anew, which its finalizer prevents: the run waits there, with the ConfigMap, which comes before Secrets, in the cluster.
    space.push(repository, {"stuck.yaml": STUCK % 1, "made.yaml": config("made", 1)})
    space.wait("Secret", "stuck", lambda o: o["metadata"].get("deletionTimestamp"), 20)
    assert space.get("ConfigMap", "made") and "lastAppliedRevision" in space.get("Kustomization")["status"]
    stack.kustomize.process.kill()
    entries = {e["id"] for e in space.get("Kustomization")["status"]["inventory"]["entries"]}
    assert entries == {f"{space.name}_{name}" for name in ("stuck__Secret", "made__ConfigMap")}
    revision = space.push(repository, delete=["made.yaml"])
    space.ready("GitRepository", revision=revision)
    space.patch("Secret", "stuck", {"metadata": {"finalizers": None}})
    stack.kustomize.start()
    space.ready("Kustomization", revision=revision, seconds=30)
    space.gone("ConfigMap", "made")


def test_random_kills(world):
    """Pushes, hand edits and kill -9 of both controllers at random points: the end state is Git's, every advertised artifact is whole."""
    stack, space = world()
    repository = deploy(space, 10)
    seed = int(os.environ.get("WEIR_CHAOS_SEED", random.randrange(1 << 30)))
    print("seed", seed)
    dice = random.Random(seed)
    value = 0
    end = time.monotonic() + CHAOS_SECONDS
    while time.monotonic() < end:
        deed = dice.choice(("push", "edit", "delete", "kill", "kill"))
        if deed == "push":
            # Each revision has one object that is in no other.
            value += 1
            repository.commit({**tree(10, value), f"only-{value}.yaml": config(f"only-{value}", value)}, delete=[f"only-{value - 1}.yaml"] if value > 1 else [])
            space.reconcile("GitRepository")
        elif deed == "edit":
            try:
                space.patch("ConfigMap", f"c{dice.randrange(10)}", {"data": {"k": "edited"}}, manager="kubectl-edit")
            except AssertionError:
                pass
        elif deed == "delete":
            space.delete("ConfigMap", f"c{dice.randrange(10)}")
        else:
            threading.Event().wait(dice.random() * 0.3)
            controller = dice.choice(list(stack.controllers.values()))
            controller.process.kill()
            controller.start(wait=dice.random() < 0.5)
    for controller in stack.controllers.values():
        controller.wait_ready()
    if value:
        repository.commit(delete=[f"only-{value}.yaml"])
        space.reconcile("GitRepository")
    space.ready("Kustomization", revision=repository.head(), seconds=60)
    until(lambda: holds(space, 10, value), 30, "the state of Git", 0.2)
    download(artifact_of(space.ready("GitRepository", revision=repository.head())))
    for controller in stack.controllers.values():
        until(lambda: not controller.leftovers(), 20, lambda: f"the temporary files of the dead gone: {controller.leftovers()}", 0.2)
    advertised = artifact_of(space.get("GitRepository"))["path"]
    assert os.path.exists(f"{stack.source.storage}/{advertised}")

    def partial():
        return subprocess.run(["find", stack.source.storage, "-type", "f", "!", "-name", "*.tar.gz", "!", "-name", "*.lock"], capture_output=True, text=True).stdout.split()
    until(lambda: not partial(), 20, lambda: f"the half artifacts of the dead gone: {partial()}", 0.2)


def test_orderly_end(world):
    """SIGTERM: both finish and exit with 0, within the grace that their pods have."""
    stack, space = world()
    deploy(space)
    for controller in stack.controllers.values():
        assert controller.restart() == 0
    space.ready("Kustomization")


def test_stored_object_that_cannot_be_decoded(world):
    """An object from before a rule of the CRD was made: it alone has an error, the others are served, also after a restart."""
    stack, space = world(own=True)
    repository = deploy(space)
    name = "kustomizations.kustomize.toolkit.fluxcd.io"
    crd = stack.kube.get("CustomResourceDefinition", name)
    open_schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    loose = [{**v, "schema": {"openAPIV3Schema": open_schema}} for v in crd["spec"]["versions"]]
    stack.kube.patch("CustomResourceDefinition", name, None, {"spec": {"versions": loose}})

    def accepted():
        status, _ = stack.kube.call("PATCH", stack.kube.path("Kustomization", space.name, "odd") + "?fieldManager=user&force=true", {
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": {"name": "odd"},
            "spec": {"interval": {"every": "hour"}, "prune": "perhaps", "sourceRef": ["app"]}}, "application/apply-patch+yaml")
        return status < 300
    until(accepted, 20, "the odd object stored", 0.2)
    revision = space.push(repository, tree(20, 1))
    space.ready("Kustomization", revision=revision, seconds=30)
    stack.kustomize.restart()
    revision = space.push(repository, tree(20, 2))
    space.ready("Kustomization", revision=revision, seconds=30)
    assert holds(space, 20, 2)
    assert any("odd" in str(record) and record.get("level") == "error" for record in stack.kustomize.log())
    stack.kube.delete("Kustomization", "odd", space.name)


def test_kind_whose_crd_goes_away(world):
    """A CRD that is deleted takes its objects with it: a run that finds it going does not wait for it, and the next makes it anew and goes on with the rest."""
    stack, space = world()
    group = f"{space.name.rpartition('-')[2]}.example.com"
    schema = "schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}"
    crd = (f"apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: widgets.{group}\nspec:\n  group: {group}\n  scope: Namespaced\n"
           f"  names: {{kind: Widget, plural: widgets}}\n  versions:\n  - {{name: v1, served: true, storage: true, {schema}}}\n")
    space.deploy({"crd.yaml": crd, "w.yaml": f"apiVersion: {group}/v1\nkind: Widget\nmetadata:\n  name: w\n", "c.yaml": config("c", "1")}, targetNamespace=space.name, retryInterval="1s")
    uid = stack.kube.get("CustomResourceDefinition", f"widgets.{group}")["metadata"]["uid"]
    hold = "example.com/hold"
    stack.kube.patch("CustomResourceDefinition", f"widgets.{group}", None, {"metadata": {"finalizers": [hold]}})
    stack.kube.delete("CustomResourceDefinition", f"widgets.{group}")
    stack.kube.wait("CustomResourceDefinition", f"widgets.{group}", None, lambda o: o["metadata"]["finalizers"] == [hold], 20, "going")
    space.reconcile("Kustomization")
    until(lambda: metric(stack.kustomize.metrics(), "controller_runtime_active_workers", controller="kustomization"), 20, "a run")
    stack.kube.patch("CustomResourceDefinition", f"widgets.{group}", None, {"metadata": {"finalizers": None}})
    stack.kube.wait("CustomResourceDefinition", f"widgets.{group}", None, lambda o: o is not None and o["metadata"]["uid"] != uid and find_condition(o, "Established"), 30)
    space.ready("Kustomization", seconds=30)
    until(lambda: stack.kube.call("GET", f"/apis/{group}/v1/namespaces/{space.name}/widgets/w")[0] == 200, 30, "the object made anew", 0.2)
