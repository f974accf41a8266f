"""What is exposed at /metrics: the names, types, labels and buckets that dashboards and alerts of Flux ask for; and promtool's opinion of it."""
import re
import subprocess
import urllib.request

import pytest

from cluster.cluster import promtool
from cluster.controllers import CONTROLLERS
from cluster.kube import metric, parse_metrics
from cluster.process import until

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\n"
DURATION = "0.01 0.038363583488692544 0.1471764538093883 0.5646216173286169 2.1660908555907006 8.309900738254731 31.87975707547831 122.3021722164349 469.1949594673653 1799.9999999999982 +Inf"
RECONCILE = ("0.005 0.01 0.025 0.05 0.1 0.15 0.2 0.25 0.3 0.35 0.4 0.45 0.5 0.6 0.7 0.8 0.9 1 1.25 1.5 1.75 2 2.5 3 3.5 4 4.5 5 6 7 8 9 10 15 20 25 30 40 50 60 +Inf")
QUEUE = "1e-08 1e-07 1e-06 9.999999999999999e-06 9.999999999999999e-05 0.001 0.01 0.1 1 10 100 1000 +Inf"
# Name: type, label names, bounds of a histogram.
EXPOSED = {
    "gotk_reconcile_duration_seconds": ("histogram", "kind name namespace", DURATION),
    "controller_runtime_reconcile_total": ("counter", "controller result", None),
    "controller_runtime_reconcile_errors_total": ("counter", "controller", None),
    "controller_runtime_terminal_reconcile_errors_total": ("counter", "controller", None),
    "controller_runtime_reconcile_panics_total": ("counter", "controller", None),
    "controller_runtime_reconcile_timeouts_total": ("counter", "controller", None),
    "controller_runtime_reconcile_time_seconds": ("histogram", "controller", RECONCILE),
    "controller_runtime_max_concurrent_reconciles": ("gauge", "controller", None),
    "controller_runtime_active_workers": ("gauge", "controller", None),
    "workqueue_depth": ("gauge", "controller name priority", None),
    "workqueue_adds_total": ("counter", "controller name", None),
    "workqueue_retries_total": ("counter", "controller name", None),
    "workqueue_queue_duration_seconds": ("histogram", "controller name", QUEUE),
    "workqueue_work_duration_seconds": ("histogram", "controller name", QUEUE),
    "workqueue_unfinished_work_seconds": ("gauge", "controller name", None),
    "workqueue_longest_running_processor_seconds": ("gauge", "controller name", None),
    "rest_client_requests_total": ("counter", "code host method", None),
    "leader_election_master_status": ("gauge", "name", None),
    "process_cpu_seconds_total": ("counter", "", None),
    "process_resident_memory_bytes": ("gauge", "", None),
    "process_virtual_memory_bytes": ("gauge", "", None),
    "process_virtual_memory_max_bytes": ("gauge", "", None),
    "process_open_fds": ("gauge", "", None),
    "process_max_fds": ("gauge", "", None),
    "process_start_time_seconds": ("gauge", "", None),
    "go_info": ("gauge", "version", None),
    "go_memstats_alloc_bytes": ("gauge", "", None),
}
# There from the start with a zero; what else there is comes with the first object.
FROM_THE_START = ["controller_runtime_reconcile_errors_total", "controller_runtime_terminal_reconcile_errors_total", "controller_runtime_reconcile_panics_total",
                  "controller_runtime_reconcile_timeouts_total", "controller_runtime_active_workers", "workqueue_adds_total", "workqueue_retries_total",
                  "workqueue_queue_duration_seconds_count", "workqueue_work_duration_seconds_count", "workqueue_unfinished_work_seconds",
                  "workqueue_longest_running_processor_seconds", *[("controller_runtime_reconcile_total", r) for r in ("error", "requeue", "requeue_after", "success")]]
KINDS = {"source-controller": "GitRepository", "kustomize-controller": "Kustomization"}


def text_of(controller):
    with urllib.request.urlopen(f"http://127.0.0.1:{controller.metrics_port}/metrics", timeout=10) as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return response.read().decode()


def described(text):
    """What a text exposes, in the form of EXPOSED."""
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    found = {}
    for sample, labels, _ in parse_metrics(text):
        name = sample if sample in types else re.sub("_(bucket|sum|count)$", "", sample)
        bounds = found[name][2] if name in found else []
        if sample.endswith("_bucket") and labels["le"] not in bounds:
            bounds.append(labels["le"])
        found[name] = (types[name], " ".join(sorted(set(labels) - {"le"})), bounds)
    return {name: (kind, labels, " ".join(bounds) or None) for name, (kind, labels, bounds) in found.items()}


def test_zeros_from_the_start(own_stack):
    stack = own_stack()
    for name, controller in stack.controllers.items():
        def served():
            return metric(controller.metrics(), "controller_runtime_max_concurrent_reconciles") > 0
        until(served, 20, "the workers started")
        samples, lower = controller.metrics(), KINDS[name].lower()
        for expected in FROM_THE_START:
            sample, result = expected if isinstance(expected, tuple) else (expected, None)
            values = [value for n, labels, value in samples if n == sample and labels["controller"] == lower and labels.get("result") == result]
            assert values == [0], expected


@pytest.mark.parametrize("name", CONTROLLERS)
def test_names_labels_and_buckets(own_stack, space_in, name):
    stack = own_stack(flags={c: ["--enable-leader-election"] for c in CONTROLLERS})
    space = space_in(stack)
    space.deploy({"c.yaml": CONFIG}, targetNamespace=space.name)
    controller, kind = stack.controllers[name], KINDS[name]

    def counted():
        return metric(controller.metrics(), "gotk_reconcile_duration_seconds_count", kind=kind, name="app", namespace=space.name)
    until(lambda: counted() >= 1, 10, "a duration of the object")
    text = text_of(controller)
    assert described(text) == EXPOSED
    assert metric(parse_metrics(text), "leader_election_master_status", name=f"{name}-leader-election") == 1
    checked = subprocess.run([promtool(), "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    space.delete(kind)
    space.gone(kind)
    until(lambda: not counted(), 10, "its series gone with the object")
