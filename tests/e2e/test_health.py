"""wait and healthChecks: Ready means that what was applied works."""
import json
import time

from cluster.kube import find_condition


def deployment(name="web", replicas=0, deadline=None):
    more = f"\n  progressDeadlineSeconds: {deadline}" if deadline else ""
    return (f"apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\nspec:\n  replicas: {replicas}{more}\n  selector:\n    matchLabels: {{app: {name}}}\n  template:\n"
            f"    metadata:\n      labels: {{app: {name}}}\n    spec:\n      containers:\n      - name: c\n        image: example.com/c:v1\n")


def healthy(space):
    return find_condition(space.get("Kustomization"), "Healthy")


def test_all_that_works_is_ready(space):
    space.deploy({"web.yaml": deployment(), "svc.yaml": "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\nspec:\n  ports: [{port: 80}]\n",
                  "job.yaml": "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: j\nspec:\n  suspend: true\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n"
                              "      - {name: c, image: example.com/c}\n"}, targetNamespace=space.name, wait=True)
    c = healthy(space)
    assert c["status"] == "True" and c["reason"] == "Succeeded" and c["message"].startswith("Health check passed in ")


def test_rollout_that_fails_is_reported_early(space):
    space.source(space.repository({"web.yaml": deployment(replicas=1, deadline=2)}))
    space.kustomization(targetNamespace=space.name, wait=True, timeout="5m")
    o = space.not_ready("Kustomization", reason="HealthCheckFailed", seconds=40)
    text = find_condition(o)["message"]
    assert "failed early due to stalled resources: [" in text and f"Deployment/{space.name}/web status: 'Failed'" in text
    assert healthy(space)["status"] == "False" and "lastAppliedRevision" not in o["status"]
    space.wait("Kustomization", "app", lambda o: (o["status"].get("history") or [{}])[0].get("lastReconciledStatus") == "HealthCheckFailed", 10)


def test_named_checks_only(space):
    """healthChecks without wait: the others may be as they are."""
    space.deploy({"web.yaml": deployment(replicas=1), "good.yaml": deployment("good")}, targetNamespace=space.name,
                 healthChecks=[{"apiVersion": "apps/v1", "kind": "Deployment", "name": "good", "namespace": space.name}])
    assert healthy(space)["status"] == "True"


def test_object_that_becomes_healthy_is_noticed_at_once(space):
    space.source(space.repository({"web.yaml": deployment(replicas=1)}))
    space.kustomization(targetNamespace=space.name, wait=True, timeout="5m")
    space.kube.wait_condition("Kustomization", "app", space.name, "Unknown", type="Healthy", current=False)
    space.wait("Deployment", "web", lambda o: o and (o.get("status") or {}).get("observedGeneration"), 15)
    # Without a kubelet the pods are brought to life by hand: the Deployment's own controller then says the rest.
    for pod in space.wait_for_pods("web", 1):
        space.patch("Pod", pod["metadata"]["name"], {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}},
                    subresource="status")
    space.ready("Kustomization", seconds=20)


def test_fix_pushed_while_the_check_waits(space):
    """A new revision ends the wait for the old one."""
    repository = space.repository({"web.yaml": deployment(replicas=1)})
    space.source(repository)
    space.kustomization(targetNamespace=space.name, wait=True, timeout="10m")
    space.kube.wait_condition("Kustomization", "app", space.name, "Unknown", type="Healthy", current=False)
    revision = space.push(repository, {"web.yaml": deployment(replicas=0)})
    space.ready("Kustomization", revision=revision, seconds=20)
    said = space.wait_event("Kustomization", "HealthCheckCanceled")
    assert said["message"] == f"Health checks canceled due to new reconciliation triggered by GitRepository/{space.name}/app" and said["type"] == "Normal"
    log = [r for r in space.stack.kustomize.log() if r["msg"] == "New reconciliation triggered, canceling health checks" and r["namespace"] == space.name]
    assert [r["trigger"] for r in log] == [f"GitRepository/{space.name}/app"]


def test_what_the_timeout_cuts_short(space, artifacts):
    """
    What was waited for is named: an object or a kind that is not there; and what was tried until then: a download. What a deletion waits for it leaves. All at once,
    for no timeout is shorter than half a minute.
    """
    artifacts.fail()
    space.advertise(artifacts.url, b"", "down")
    space.source(space.repository({"web.yaml": deployment(), "held/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: held\n  finalizers: [example.com/hold]\n",
                                   "held/kustomization.yaml": "resources: [a.yaml]\n", "kustomization.yaml": "resources: [web.yaml]\n"}))
    space.kustomization("held", path="./held", targetNamespace=space.name, timeout="30s", deletionPolicy="WaitForTermination")
    space.ready("Kustomization", "held")
    check = {"name": "absent", "namespace": space.name}
    for name, version, kind in (("object", "apps/v1", "Deployment"), ("kind", "example.com/v1", "Nope")):
        space.kustomization(name, targetNamespace=space.name, nameSuffix=f"-{name}", timeout="30s", healthChecks=[{"apiVersion": version, "kind": kind, **check}])
    space.kustomization("download", targetNamespace=space.name, sourceRef={"kind": "GitRepository", "name": "down"}, timeout="30s", retryInterval="1h")
    begun = time.monotonic()
    space.delete("Kustomization", "held")

    def said(name, reason):
        return find_condition(space.not_ready("Kustomization", name, reason=reason, seconds=60))["message"]
    assert f"timeout waiting for: [Deployment/{space.name}/absent status: 'NotFound'" in said("object", "HealthCheckFailed")
    assert f"Nope/{space.name}/absent" in said("kind", "HealthCheckFailed")
    text = said("download", "ArtifactFailed")
    assert text.startswith("context deadline exceeded") and f"failed to download archive from {artifacts.url} (status: 503 Service Unavailable)" in text
    space.gone("Kustomization", "held", seconds=60)
    assert time.monotonic() - begun >= 30 and space.get("ConfigMap", "held")["metadata"]["deletionTimestamp"]
    assert space.wait_event("Kustomization", "ReconciliationSucceeded", "failed to wait for resources termination", "held")["type"] == "Warning"
    space.patch("ConfigMap", "held", {"metadata": {"finalizers": None}})


def test_job_that_goes_when_it_has_finished(space):
    """What the cluster removes because it is done counts as done, and is not done again before the next run."""
    job = ("apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: once\nspec:\n  completions: 0\n  ttlSecondsAfterFinished: 0\n  template:\n    spec:\n"
           "      restartPolicy: Never\n      containers:\n      - {name: c, image: example.com/c}\n")
    note = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: note\n"
    space.source(space.repository({"job.yaml": job, "note.yaml": note}))
    space.kustomization(targetNamespace=space.name, wait=True, timeout="5m")
    space.ready("Kustomization", seconds=20)
    assert healthy(space)["status"] == "True"
    space.gone("Job", "once")
    # Later than the Job's deletion: when this is noticed, that was.
    space.patch("ConfigMap", "note", {"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": None}}})
    space.wait("ConfigMap", "note", lambda o: o["metadata"]["labels"].get("kustomize.toolkit.fluxcd.io/name"), 15)
    drift = [line["msg"] for line in space.stack.kustomize.log() if line["msg"].startswith("drift detected: ") and space.name in line["msg"]]
    assert drift == [f"drift detected: ConfigMap/{space.name}/note"]


def test_those_who_wait_hold_nobody_up(space):
    """Sixty that wait for what never comes keep no place: the next one is applied at once."""
    space.source(space.repository({"stuck/web.yaml": deployment(replicas=1), "fine/web.yaml": deployment("fine")}))
    names = [f"stuck-{i:02}" for i in range(60)]
    for name in names:
        space.kustomization(name, targetNamespace=space.name, path="./stuck", nameSuffix=f"-{name}", wait=True, timeout="10m")
    for name in names:
        space.kube.wait_condition("Kustomization", name, space.name, "Unknown", seconds=60, type="Healthy", current=False)
    space.kustomization("fine", targetNamespace=space.name, path="./fine")
    space.ready("Kustomization", "fine", seconds=10)


def test_checks_that_cannot_be_made(space):
    """A named object that cannot exist fails at once, and a Kustomization does not wait for itself."""
    space.source(space.repository({"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n"}))
    checks = {"group": {"apiVersion": "a/b/c", "kind": "Nope", "name": "x", "namespace": space.name}, "namespace": {"apiVersion": "v1", "kind": "ConfigMap", "name": "x"},
              "self": {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "name": "self", "namespace": space.name}}
    for name, check in checks.items():
        space.kustomization(name, targetNamespace=space.name, namePrefix=name + "-", timeout="5m", healthChecks=[check])
    o = space.not_ready("Kustomization", "group", reason="HealthCheckFailed")
    assert find_condition(o)["message"] == "unexpected GroupVersion string: a/b/c" and not find_condition(o, "Healthy")
    o = space.not_ready("Kustomization", "namespace", reason="HealthCheckFailed")
    assert find_condition(o)["message"].endswith(": resource ConfigMap x is namespace scoped, but namespace is not set")
    assert find_condition(space.ready("Kustomization", "self"), "Healthy")["status"] == "True"


def test_what_is_ready_stays_so_while_it_is_done_again(space):
    """Its health is waited for again, at the same revision: until that fails it is Ready for those who depend on it."""
    group = f"{space.name.rpartition('-')[2]}.example.com"
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"lamps.{group}"},
           "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Lamp", "plural": "lamps"},
                    "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}}]}}
    lamp = {"apiVersion": f"{group}/v1", "kind": "Lamp", "metadata": {"name": "lamp"}}
    space.deploy({"lamp/crd.yaml": json.dumps(crd), "lamp/lamp.yaml": json.dumps(lamp), "dependent/web.yaml": deployment()}, path="./lamp", targetNamespace=space.name,
                 wait=True, timeout="5m")
    space.kustomization("dependent", path="./dependent", targetNamespace=space.name, dependsOn=[{"name": "app"}])
    space.ready("Kustomization", "dependent")

    def glows(status):
        path = f"/apis/{group}/v1/namespaces/{space.name}/lamps/lamp?fieldManager=other"
        space.kube.request("PATCH", path, {"status": {"conditions": [{"type": "Ready", "status": status}]}}, "application/merge-patch+json")
    glows("False")
    token = space.reconcile("Kustomization")
    o = space.kube.wait_condition("Kustomization", "app", space.name, "Unknown", type="Healthy", current=False)
    assert find_condition(o)["status"] == "True" and find_condition(o, "Reconciling")["reason"] == "Progressing", o["status"]
    space.ready("Kustomization", "dependent", handled=space.reconcile("Kustomization", "dependent"))
    assert not space.events("Kustomization", "dependent", "DependencyNotReady")
    glows("True")
    space.ready("Kustomization", handled=token)
