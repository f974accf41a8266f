"""The controllers as processes: flags, endpoints, metrics, logs, and the events that they post."""
import os
import re
import subprocess
import threading
import time

import pytest

from cluster.cluster import http_get
from cluster.controllers import CONTROLLERS, NAMESPACE, ROOT, Controller
from cluster.kube import metric
from cluster.process import until
from peers.sink import Sink

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\n"


def binary(name):
    return os.path.join(os.environ.get("WEIR_BINARIES", f"{ROOT}/build/bin"), name)


# -- the command line

@pytest.mark.parametrize("name", CONTROLLERS)
@pytest.mark.parametrize("flags, status, part", [
    (["--no-such-flag"], 2, "no-such-flag"),
    (["--feature-gates=Nope=true"], 1, "feature-gate 'Nope' not supported"),
    (["--interval-jitter-percentage=100"], 1, ""),
], ids=["unknown", "gate", "jitter"])
def test_flags_that_are_wrong(stack, name, flags, status, part):
    env = {"PATH": os.environ["PATH"], "KUBECONFIG": stack.plane.admin, "RUNTIME_NAMESPACE": NAMESPACE}
    done = subprocess.run([binary(name), "--metrics-addr=127.0.0.1:0", "--health-addr=127.0.0.1:0", *flags], env=env, capture_output=True, text=True, timeout=20)
    assert done.returncode == status
    assert part in done.stdout + done.stderr


def test_storage_that_is_no_folder(stack, tmp_path):
    env = {"PATH": os.environ["PATH"], "KUBECONFIG": stack.plane.admin, "RUNTIME_NAMESPACE": NAMESPACE}
    done = subprocess.run([binary("source-controller"), f"--storage-path={tmp_path}/absent", "--storage-addr=127.0.0.1:0", "--metrics-addr=127.0.0.1:0", "--health-addr=127.0.0.1:0"],
                          env=env, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and f"{tmp_path}/absent" in done.stdout + done.stderr


@pytest.mark.parametrize("name", CONTROLLERS)
def test_few_descriptors(stack, name):
    """Too few to do anything are said to be, at once; of those that it may have it takes as many as it can."""
    def limited(files):
        return Controller(stack.plane.workspace, name, stack.controllers[name].process.env["KUBECONFIG"], os.environ.get("WEIR_BINARIES"),
                          ["--watch-label-selector=nobody=has"], wrapper=["prlimit", f"--nofile={files}"], label=f"{name}-{files}")
    none = limited("24").start(wait=False)
    assert none.process.popen.wait(20) == 1
    assert "at most 24 files may be open at once (ulimit -n), and 128 are needed" in none.process.output()
    few = limited("24:512").start()
    assert sum(value for metric, _, value in few.metrics() if metric == "process_max_fds") == 512
    assert few.process.stop() == 0


# -- what it answers and writes

@pytest.mark.parametrize("name", CONTROLLERS)
def test_health(stack, name):
    port = stack.controllers[name].health_port
    for path in ("/healthz", "/readyz", "/healthz/ping", "/readyz/ping", "/healthz/"):
        assert http_get(port, path, https=False) == (200, b"ok"), path
    assert http_get(port, "/nothing", https=False)[0] == 404
    assert b"[+]ping ok" in http_get(port, "/healthz?verbose", https=False)[1]


def test_metrics(space):
    space.deploy({"c.yaml": CONFIG}, targetNamespace=space.name)
    for controller, kind in ((space.stack.source, "GitRepository"), (space.stack.kustomize, "Kustomization")):
        def counted():
            return metric(controller.metrics(), "gotk_reconcile_duration_seconds_count", kind=kind, name="app", namespace=space.name) >= 1
        until(counted, 10, f"a duration of {kind}")
        samples = controller.metrics()
        lower = kind.lower()
        assert metric(samples, "controller_runtime_reconcile_total", controller=lower, result="success") + metric(samples, "controller_runtime_reconcile_total", controller=lower, result="requeue_after") >= 1
        assert metric(samples, "controller_runtime_max_concurrent_reconciles", controller=lower) >= 1
        assert metric(samples, "rest_client_requests_total") > 0
        names = {sample[0] for sample in samples}
        for name in ("workqueue_depth", "workqueue_adds_total", "workqueue_queue_duration_seconds_bucket", "controller_runtime_active_workers", "controller_runtime_reconcile_errors_total",
                     "process_resident_memory_bytes"):
            assert name in names, name


@pytest.mark.parametrize("kind, manager", [("GitRepository", "source-controller"), ("Kustomization", "gotk-kustomize-controller")])
def test_own_fields_have_the_managers_name(space, kind, manager):
    """Finalizer and status are recorded under the field manager that Flux uses for them."""
    space.deploy({"c.yaml": CONFIG}, targetNamespace=space.name)
    o = space.get(kind)
    owned = {entry.get("subresource", ""): entry["fieldsV1"] for entry in o["metadata"]["managedFields"] if entry["manager"] == manager}
    assert set(owned) == {"", "status"} and "f:finalizers" in owned[""]["f:metadata"] and "f:conditions" in owned["status"]["f:status"]


def test_log_lines(space):
    space.deploy({"c.yaml": CONFIG}, targetNamespace=space.name)
    space.reconcile("Kustomization")
    for controller, kind in ((space.stack.source, "GitRepository"), (space.stack.kustomize, "Kustomization")):
        def mine():
            return [r for r in controller.log() if r.get("namespace") == space.name]
        records = until(mine, 10, "a line about the object")
        for record in records:
            assert record["level"] in ("info", "error") and record["controller"] == kind.lower() and record["controllerKind"] == kind
            assert record["controllerGroup"].endswith(".toolkit.fluxcd.io") and record[kind] == {"name": record["name"], "namespace": space.name}
            assert len(record["reconcileID"]) == 36 and record["msg"]
            time.strptime(record["ts"], "%Y-%m-%dT%H:%M:%S." + record["ts"][20:23] + "Z")
    assert not [r for c in space.stack.controllers.values() for r in c.log() if r["level"] == "text"], "a line that is no JSON"


def test_event_that_is_posted(space, sink):
    space.apply([{"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": {"name": "app", "annotations": {"event.toolkit.fluxcd.io/deploymentID": "42"}},
                  "spec": {"interval": "1h", "url": space.repository({"c.yaml": CONFIG}).url, "ref": {"branch": "main"}}}])
    o = space.ready("GitRepository")
    event = sink.wait(kind="GitRepository", name="app", namespace=space.name, reason="NewArtifact")
    assert set(event) == {"involvedObject", "severity", "timestamp", "message", "reason", "metadata", "reportingController", "reportingInstance"}
    assert event["involvedObject"]["uid"] == o["metadata"]["uid"] and event["involvedObject"]["apiVersion"] == "source.toolkit.fluxcd.io/v1"
    assert event["metadata"]["event.toolkit.fluxcd.io/deploymentID"] == "42"
    time.strptime(event["timestamp"], "%Y-%m-%dT%H:%M:%SZ")
    space.kustomization(targetNamespace=space.name)
    space.ready("Kustomization")
    finished = sink.wait(kind="Kustomization", name="app", namespace=space.name, reason="ReconciliationSucceeded")
    assert finished["metadata"]["kustomize.toolkit.fluxcd.io/revision"] == o["status"]["artifact"]["revision"]
    assert finished["reportingController"] == "kustomize-controller"


@pytest.mark.parametrize("behaviour", ["hangs", "refuses", "too-many"])
def test_receiver_that_does_not_work(own_stack, space_in, behaviour):
    """What posts events does not hold up what applies; and a duplicate (429) is no error."""
    receiver = Sink()
    receiver.status = 429
    gate = threading.Event()
    if behaviour == "hangs":
        receiver.before = lambda: gate.wait(60)
    if behaviour == "refuses":
        receiver.close()
    flags = {name: [f"--events-addr={receiver.url}"] for name in CONTROLLERS}
    stack = own_stack(flags=flags)
    space = space_in(stack)
    repository = space.deploy({"c.yaml": CONFIG}, targetNamespace=space.name)
    start = time.monotonic()
    for i in range(5):
        space.ready("Kustomization", revision=space.push(repository, {"c.yaml": CONFIG + f"data: {{k: v{i}}}\n"}))
    assert time.monotonic() - start < 10
    if behaviour == "too-many":
        until(lambda: receiver.about("Kustomization"), 10, "an event posted")
        assert not [r for c in stack.controllers.values() for r in c.log() if r["level"] == "error"]
    gate.set()


# -- at rest

def test_memory_when_idle(stack):
    """Small at rest, whatever the tests before made them do."""
    for controller in stack.controllers.values():
        until(lambda: controller.pss() < 24 << 20, 30, lambda: f"{controller.name} small again: {controller.pss() >> 20} MiB", 0.5)
    with open(f"/proc/{stack.kustomize.process.pid}/environ") as f:
        # Old loaders write a NUL over the colon.
        assert re.search("\0GLIBC_TUNABLES=glibc.malloc.tcache_count=0[:\0]glibc.pthread.stack_cache_size=0\0", f.read()), "a thread that ends leaves nothing"


def test_debug_pages(space):
    """What Go's programs show there, as far as a program in C has it; the rest is said not to be there."""
    repository = space.deploy({"c.yaml": CONFIG}, targetNamespace=space.name)
    for controller in space.stack.controllers.values():
        def page(name, status=200):
            answer = http_get(controller.metrics_port, f"/debug/pprof/{name}", https=False)
            assert answer[0] == status, (name, answer)
            return answer[1].decode()
        listed = set(re.findall(r"^/debug/pprof/(\w+)", page(""), re.M))
        assert listed == {"cmdline", "goroutine", "heap", "profile"}
        assert page("cmdline").split("\0")[0].endswith(controller.name)
        threads = page("goroutine")
        assert "io thread: turned" in threads and re.search(r"^watch \S+/GitRepository.*heard \d+ ms ago$", threads, re.M) and re.search(r"^queue \w+: 0 ready", threads, re.M)
        assert re.match(r"in use \d+ bytes.*\npool: \d+ pieces", page("heap"))
        for absent in ("trace", "symbol", "threadcreate", "block", "mutex"):
            assert "404" in page(absent, 404)
        assert "1 to 300" in page("profile?seconds=0", 400)
        page("profile?seconds=1", 202)
    pushes = iter(range(1000))
    for controller in space.stack.controllers.values():
        def stacks():
            # A second in which hardly anything ran has no stacks: another one is taken then, while there is something to do.
            space.push(repository, {"c.yaml": CONFIG + f"data: {{k: v{next(pushes)}}}\n"})
            status, body = http_get(controller.metrics_port, "/debug/pprof/profile", https=False)
            if status == 200 and not body:
                http_get(controller.metrics_port, "/debug/pprof/profile?seconds=1", https=False)
            return body.decode() if status == 200 else None
        text = until(stacks, 60, "the profile", 0)
        assert all(re.match(r"^[^;]+(;\S+)* \d+$", line) for line in text.splitlines()), text
