"""How the controllers hold on to the API server: few connections, that survive what a network does to them; and no write without the lease."""
import json
import os
import random
import subprocess
import threading
import time

import pytest

from cluster.controllers import ROOT, Controller
from cluster.kube import metric
from cluster.process import until
from peers.proxy import HttpProxy, Socks5Proxy
from peers.tap import Tap

CONFLICT = "tests/unit/kube/test_conflict"
# Waits of half a minute and more, made short by the variables that Kubernetes' own clients read.
IMPATIENT = {"HTTP2_READ_IDLE_TIMEOUT_SECONDS": "2", "HTTP2_PING_TIMEOUT_SECONDS": "1"}
RENEW_DEADLINE = 3
# How long connections are broken: some seconds here, the better part of an hour in long_soak.py.
SOAK_SECONDS = 20
ELECTION = ["--enable-leader-election", "--leader-election-lease-duration=5s", f"--leader-election-renew-deadline={RENEW_DEADLINE}s", "--leader-election-retry-period=500ms"]


def config(name, value):
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  k: \"{value}\"\n"


KINDS = {"a.yaml": config("a", 1), "s.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}]}\n",
         "b.yaml": "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: b}\n", "q.yaml": "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: q}\n"}


def watches(kube):
    """How many watches the API server serves, by resource."""
    found = {}
    for labels, value in kube.metric_samples("apiserver_longrunning_requests"):
        if labels["verb"] == "WATCH":
            found[labels["group"], labels["resource"]] = found.get((labels["group"], labels["resource"]), 0) + value
    return found


def more(now, before):
    return {key: now[key] - before.get(key, 0) for key in now if now[key] > before.get(key, 0)}


def settled(kube):
    """The watches once nobody but the controllers has any: those of the test itself, which waits with them, end a moment after they served."""
    found = [watches(kube)]

    def same():
        found.append(watches(kube))
        return found[-1] if len(found) > 5 and all(one == found[-1] for one in found[-6:]) else None
    return until(same, 60, "a count of watches that stays", 0.2)


@pytest.fixture
def alone(own_stack):
    """A stack in which only kustomize-controller goes through the link, not started yet, and what was watched before it."""
    def make(environment, **options):
        stack = own_stack(start=False, linked=True, **options)
        direct = stack.source.process
        direct.env["KUBECONFIG"] = stack.plane.write_kubeconfig("kubeconfig-direct", stack.kube.token_of("flux-system", "source-controller"))
        stack.source.start()
        until(lambda: ("source.toolkit.fluxcd.io", "gitrepositories") in watches(stack.kube), 10, "the watch of source-controller")
        stack.kustomize.process.env.update(environment)
        return stack, settled(stack.kube)
    return make


@pytest.mark.parametrize("environment, multiplexed", [({}, True), ({"DISABLE_HTTP2": "1"}, False)], ids=["http2", "http1"])
def test_watches_share_a_connection_where_they_can(alone, space_in, environment, multiplexed):
    stack, before = alone(environment)
    stack.kustomize.start()
    space = space_in(stack)
    space.deploy(KINDS, targetNamespace=space.name)
    count = until(lambda: (n := sum(more(watches(stack.kube), before).values())) >= 10 and n, 10, "ten watches", 0.1)
    connections = len(stack.link.pairs)
    assert (connections <= 4) if multiplexed else (connections >= count), f"{count} watches over {connections} connections"
    space.patch("ConfigMap", "a", {"data": {"k": "edited"}}, manager="kubectl-edit")
    space.data("a", {"k": "1"}, 10)


def test_frozen_server_is_left_for_one_that_works(alone, space_in):
    """The connections of all watches go silent without a word, while new ones would be served: every watch is taken up again elsewhere."""
    stack, before = alone(IMPATIENT)
    stack.kustomize.start()
    space = space_in(stack)
    space.deploy(KINDS, targetNamespace=space.name)
    until(lambda: sum(more(watches(stack.kube), before).values()) >= 10, 10, "ten watches", 0.1)
    frozen = settled(stack.kube)
    ours = more(frozen, before)
    stack.link.abandon()
    # It still counts the old ones: to the server they are alive.
    until(lambda: all(more(watches(stack.kube), frozen).get(key, 0) >= count for key, count in ours.items()), 60,
          lambda: f"all of {ours} again, not only {more(watches(stack.kube), frozen)}", 0.2)
    # The connection for requests, idle meanwhile, went with the others: nothing waits for its answer.
    space.patch("ConfigMap", "a", {"data": {"k": "edited"}}, manager="kubectl-edit")
    space.data("a", {"k": "1"}, 15)


@pytest.mark.parametrize("proxy", [HttpProxy, Socks5Proxy], ids=["http", "socks5"])
def test_proxy_of_the_kubeconfig(stack, proxy):
    """All goes through it, watches too, also to this machine itself, and whatever the environment says."""
    proxy = proxy(("ada", "secret"))
    controller = stack.kustomize
    with open(controller.process.env["KUBECONFIG"]) as f:
        kubeconfig = json.load(f)
    kubeconfig["clusters"][0]["cluster"]["proxy-url"] = proxy.url.replace("://", "://ada:secret@")
    path = stack.plane.workspace.write(f"kubeconfig-{proxy.port}", json.dumps(kubeconfig), 0o600)
    behind = Controller(stack.plane.workspace, controller.name, path, os.environ.get("WEIR_BINARIES"), ["--watch-label-selector=nobody=has"], label=f"behind-{proxy.port}",
                        environment={"HTTPS_PROXY": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1", "NO_PROXY": "*"}).start()
    try:
        until(lambda: metric(behind.metrics(), "controller_runtime_max_concurrent_reconciles") > 0, 20, lambda: f"the workers started:\n{behind.process.tail()}")
        assert set(proxy.targets) == {f"127.0.0.1:{stack.plane.port}"} and not proxy.refused
        assert not [r for r in behind.log() if r["level"] == "error" or "secret" in json.dumps(r)]
    finally:
        assert behind.process.stop() == 0
        proxy.close()


@pytest.fixture
def tapped(own_stack):
    """A stack whose kustomize-controller goes through a tap, which stays for as long as there is anything left to delete."""
    taps = []

    def make(**options):
        stack = own_stack(start=False, **options)
        tap = Tap(stack.plane.port, stack.plane.certificate, f"{stack.plane.workspace.path}/keys/apiserver.key")
        taps.append(tap)
        token = stack.kube.token_of("flux-system", "kustomize-controller")
        stack.kustomize.process.env["KUBECONFIG"] = stack.plane.write_kubeconfig("kubeconfig-tapped", token, f"https://127.0.0.1:{tap.port}")
        return stack.start(), tap
    yield make
    for tap in taps:
        tap.close()


def test_no_write_after_the_lease(tapped, space_in):
    """The API server hangs up on the leader while it applies: it goes on trying until its lease could be another's, and not a moment longer."""
    stack, tap = tapped(flags={"kustomize-controller": [*ELECTION, "--min-retry-delay=100ms", "--max-retry-delay=300ms"]})
    space = space_in(stack)
    space.source(space.repository({f"c{i}.yaml": config(f"c{i}", 0) for i in range(200)}))
    space.kustomization(targetNamespace=space.name, prune=False, retryInterval="300ms")
    until(lambda: sum("/configmaps/" in path and "dryRun" not in path for _, _, path in list(tap.requests)) > 20, 60, lambda: f"the apply begun; asked for {[r[1:] for r in tap.requests[-20:]]}; the log:\n{stack.kustomize.process.tail()}", 0.005)
    tap.refuse()
    begun = time.monotonic()

    def requests(start, end=1000):
        return [(at - begun, method, path) for at, method, path in list(tap.requests) if start < at - begun <= end]

    def writes(start, end=1000):
        return [r for r in requests(start, end) if r[1] not in ("GET", "HEAD") and "/leases" not in r[2]]
    until(lambda: time.monotonic() - begun > RENEW_DEADLINE + 6, 20, "the lease over", 0.2)
    assert writes(0, RENEW_DEADLINE), "nobody tried while the lease was held"
    # What was on its way may be read a little later; the lease is not another's for some seconds yet.
    assert not writes(RENEW_DEADLINE + 1)
    assert [r for r in requests(RENEW_DEADLINE) if "/leases" in r[2]], "nobody stands for election any more"
    tap.resume()
    space.ready("Kustomization", seconds=60)
    assert len(space.kube.list("ConfigMap", space.name, "kustomize.toolkit.fluxcd.io/name=app")) == 200
    assert stack.kustomize.process.running


def with_token_file(stack, name):
    """Lets a controller read its token from a file, and returns what writes another one there."""
    process = stack.controllers[name].process
    with open(process.env["KUBECONFIG"]) as f:
        kubeconfig = json.load(f)
    path = f"{stack.plane.workspace.path}/token-{name}"
    kubeconfig["users"][0]["user"] = {"tokenFile": path}
    process.env["KUBECONFIG"] = stack.plane.workspace.write(f"kubeconfig-{name}-file", json.dumps(kubeconfig), 0o600)

    def rotate():
        with open(f"{path}.new", "w") as f:
            f.write(stack.kube.token_of("flux-system", name))
        os.rename(f"{path}.new", path)
    rotate()
    return rotate


def test_soak(own_stack, space_in):
    """Resets, GOAWAYs, expired watches and new tokens, while there is work: it is done in the end, and memory, descriptors and threads are what they were."""
    stack = own_stack(start=False, linked=True, apiserver=["--goaway-chance=0.02"])
    rotations = [with_token_file(stack, name) for name in stack.controllers]
    stack.start()
    space = space_in(stack)
    repository = space.repository({"a.yaml": config("a", 0)})
    space.source(repository, interval="2s")
    space.kustomization(targetNamespace=space.name, interval="3s", retryInterval="500ms")
    space.ready("Kustomization")

    def state():
        return {name: (c.pss(), len(os.listdir(f"/proc/{c.process.pid}/fd")), len(os.listdir(f"/proc/{c.process.pid}/task"))) for name, c in stack.controllers.items()}

    def compact():
        for i in range(20):
            space.patch("ConfigMap", "a", {"metadata": {"annotations": {"n": str(i)}}}, manager="noise")
        stack.plane.compact()
        stack.link.cut()
    dice = random.Random(os.environ.get("WEIR_CHAOS_SEED", "weir"))
    deeds = [stack.link.cut, compact, lambda: dice.choice(rotations)(), lambda: space.push(repository, {"a.yaml": config("a", dice.random())}),
             lambda: space.patch("ConfigMap", "a", {"data": {"k": "edited"}}, manager="kubectl-edit")]
    begun, warm = time.monotonic(), None
    while (passed := time.monotonic() - begun) < SOAK_SECONDS:
        dice.choice(deeds)()
        threading.Event().wait(dice.random() * 0.5)
        if not warm and passed > SOAK_SECONDS / 3:
            warm = state()
            print(f"after {passed:.0f} s: {warm}")
    revision = space.push(repository, {"a.yaml": config("a", "last")})
    space.ready("Kustomization", revision=revision, seconds=60)
    space.data("a", {"k": "last"})
    print(f"after {time.monotonic() - begun:.0f} s: {state()}")
    until(lambda: all(now[0] < then[0] + (2 << 20) and now[1] <= then[1] + 4 and now[2] <= then[2] + 1 for now, then in zip(state().values(), warm.values())), 60,
          lambda: f"as it was: {state()}, not {warm}", 1)


def test_conflict_names_manager_and_field(space):
    """The client itself against this API server: a program of the unit tests, which is built here if it is not there yet."""
    program = f"build/release/{CONFLICT}"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    subprocess.run(["make", "--no-print-directory", program], cwd=ROOT, env=clean, check=True, stdout=subprocess.DEVNULL)
    environment = {**clean, "KUBECONFIG": space.stack.plane.admin, "WEIR_TEST_NAMESPACE": space.name}
    done = subprocess.run([f"{ROOT}/{program}"], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "SKIPPED" not in done.stdout + done.stderr, done.stdout + done.stderr
