"""What nothing costs: controllers that have nothing to do, and intervals at which nothing changed."""
import glob
import time

import pytest

from cluster.process import until

MIB = 1 << 20
QUIET_SECONDS = 10
COUNT, INTERVALS, INTERVAL = 10, 3, 3


def config(name):
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  k: v\n"


def busy_seconds(controller):
    """Time that its threads were on a processor, by the scheduler's own count."""
    total = 0
    for path in [path for pid in controller.tree() for path in glob.glob(f"/proc/{pid}/task/*/schedstat")]:
        try:
            with open(path) as f:
                total += int(f.read().split()[0])
        except OSError:
            """It ended meanwhile."""
    return total / 1e9


def pass_by(seconds):
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() > end, seconds + 10, "time", 0.2)


@pytest.fixture
def quiet(own_stack, space_in):
    stack = own_stack()
    space = space_in(stack)
    space.deploy({"a.yaml": config("a"), "s.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}]}\n"}, targetNamespace=space.name)
    pass_by(2)
    return stack


def test_nothing_to_do(quiet):
    """All watches open, two drift watches among them: a thousandth of a processor or two, and a few megabytes, those of libraries that are shared included."""
    before = {name: busy_seconds(c) for name, c in quiet.controllers.items()}
    pass_by(QUIET_SECONDS)
    for name, c in quiet.controllers.items():
        used, pss = busy_seconds(c) - before[name], c.pss()
        print(f"{name}: {used * 1000:.1f} ms in {QUIET_SECONDS} s, {pss / MIB:.1f} MiB")
        assert used < QUIET_SECONDS * 0.002, f"{name} was busy for {used * 1000:.0f} ms"
        assert pss < 8 * MIB, f"{name}: {pss / MIB:.1f} MiB"
        until(lambda c=c: c.rss() < 8 * MIB, 20, lambda c=c: f"{c.name} at rest: it has {c.rss() / MIB:.1f} MiB")


def requests(kube, *resources):
    """How many requests for these resources the API server answered, by verb; watches count when they end."""
    found = {}
    for labels, value in kube.metric_samples("apiserver_request_total"):
        if labels["resource"] in resources and labels["verb"] != "WATCH":
            found[labels["verb"], labels["resource"]] = found.get((labels["verb"], labels["resource"]), 0) + value
    return found


def test_intervals_at_which_nothing_changed(own_stack, space_in):
    """No request about what was applied, whatever the number of intervals, and hardly any work."""
    stack = own_stack()
    space = space_in(stack)
    repository = space.repository({f"{part}.yaml": config(part) for part in "abc"} | {"s.yaml": "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: s}\n"})
    space.source(repository)
    names = [f"k{i}" for i in range(COUNT)]
    for name in names:
        space.kustomization(name, targetNamespace=space.name, namePrefix=f"{name}-", interval=f"{INTERVAL}s")
    for name in names:
        space.ready("Kustomization", name)

    def asked():
        return requests(stack.kube, "configmaps", "serviceaccounts")

    def runs():
        return {n: sum(v for m, labels, v in stack.kustomize.metrics() if m == "gotk_reconcile_duration_seconds_count" and labels["name"] == n) for n in names}
    space.begun()
    counts = []
    until(lambda: counts.append(asked()) or counts[-1:] * 5 == counts[-5:], 30, "the last watch begun", 0.2)
    first, before, busy = runs(), counts[-1], busy_seconds(stack.kustomize)
    until(lambda: all(count >= first[name] + INTERVALS for name, count in runs().items()), 60, "the intervals over", 0.5)
    after = asked()
    assert {key: count - before.get(key, 0) for key, count in after.items() if count != before.get(key, 0)} == {}
    each = (busy_seconds(stack.kustomize) - busy) / sum(runs()[name] - first[name] for name in names)
    print(f"{each * 1000:.2f} ms a run")
    assert each < 0.02
