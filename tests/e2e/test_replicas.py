"""Several controllers of a kind: leader election, shards by label, and those that look after their own namespace only."""
import datetime
import hashlib
import os
import struct
import subprocess
import time

from artifact import artifact_of
from cluster.cluster import http_get
from cluster.controllers import CONTROLLERS, NAMESPACE, Controller
from cluster.kube import find_condition
from cluster.process import until
from cluster.workload import deployment

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\n"
ELECTION = ["--enable-leader-election", "--leader-election-lease-duration=4s", "--leader-election-renew-deadline=3s", "--leader-election-retry-period=500ms"]
SHARD = "sharding.fluxcd.io/key"


def another(stack, name, label, *flags):
    """One more process of a controller, with ports, storage and temporary folder of its own."""
    return Controller(stack.plane.workspace, name, stack.controllers[name].process.env["KUBECONFIG"], os.environ.get("WEIR_BINARIES"), flags, label=label)


def test_standby_takes_over(own_stack, space_in):
    """Two replicas: the second is healthy and serves nothing until the first, killed without a word, has not renewed its lease."""
    stack = own_stack(flags={"source-controller": ELECTION}, start=False)
    leader = stack.source.start()
    until(lambda: http_get(leader.storage_port, "/", https=False)[0] == 200, 20, "the leader serving")
    standby = another(stack, "source-controller", "standby", *ELECTION).start()
    stack.kustomize.start()
    space = space_in(stack)
    repository = space.repository({"c.yaml": CONFIG})
    space.source(repository)
    assert artifact_of(space.ready("GitRepository"))["url"].startswith(f"http://{leader.storage_address}/")
    assert http_get(standby.health_port, "/readyz", https=False)[0] == 200 and http_get(standby.storage_port, "/", https=False)[0] == 0
    lease = stack.kube.get("Lease", "source-controller-leader-election", NAMESPACE)
    leader.process.kill()
    until(lambda: http_get(standby.storage_port, "/", https=False)[0] == 200, 30, "the standby serving")
    now = stack.kube.get("Lease", "source-controller-leader-election", NAMESPACE)
    assert now["spec"]["holderIdentity"] != lease["spec"]["holderIdentity"] and now["spec"]["leaseTransitions"] > (lease["spec"].get("leaseTransitions") or 0)
    space.wait("GitRepository", "app", lambda o: (artifact_of(o) or {}).get("url", "").startswith(f"http://{standby.storage_address}/"), 20)
    stack.controllers["source-controller"] = standby
    revision = space.push(repository, {"c.yaml": CONFIG + "data: {k: v}\n"})
    space.ready("GitRepository", revision=revision)


def test_lease_is_given_back_at_the_end(own_stack, space_in):
    """Also if a run is under way: it ends at once, and leaves in the status what it did."""
    stack = own_stack(flags={name: ELECTION for name in CONTROLLERS})
    space = space_in(stack)
    repository = space.repository({"c.yaml": CONFIG, "web.yaml": deployment("web:v1").replace("replicas: 0", "replicas: 1")})
    space.source(repository)
    space.kustomization(targetNamespace=space.name, wait=True, timeout="10m")
    space.patch("Kustomization", "app", {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}})
    space.wait("Kustomization", "app", lambda o: "Running health checks" in (find_condition(o, "Reconciling") or {}).get("message", ""), 20)

    def holders():
        leases = [stack.kube.get("Lease", f"{name}-leader-election", NAMESPACE) or {"spec": {}} for name in CONTROLLERS]
        return [(lease["spec"].get("holderIdentity", ""), lease["spec"].get("leaseDurationSeconds")) for lease in leases]
    until(lambda: all(holder and seconds == 4 for holder, seconds in holders()), 20, "two leaders")
    begun = time.monotonic()
    assert stack.kustomize.process.stop() == 0 and stack.source.process.stop() == 0
    assert time.monotonic() - begun < 10, "the health check would have gone on for minutes"
    assert holders() == [("", 1)] * 2
    o = space.get("Kustomization")
    assert o["status"]["lastHandledReconcileAt"] == "now" and len(o["status"]["inventory"]["entries"]) == 2
    assert find_condition(o, "Ready")["reason"] == "Progressing", "nothing failed"


# What the processes of a test read as the time of day: the real one and as many seconds more as a file says.
WALL_CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static volatile const long *ahead;

__attribute__((constructor)) static void find(void)
{
        ahead = mmap(NULL, sizeof(*ahead), PROT_READ, MAP_SHARED, open(getenv("WALL_CLOCK_AHEAD"), O_RDONLY | O_CLOEXEC), 0);
}

int clock_gettime(clockid_t id, struct timespec *now)
{
        static int (*real)(clockid_t, struct timespec *);

        if (!real)
                real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
        int r = real(id, now);
        if (r == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) && ahead)
                now->tv_sec += *ahead;
        return r;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
        struct timespec exact;

        (void)zone;
        clock_gettime(CLOCK_REALTIME, &exact);
        *now = (struct timeval){ exact.tv_sec, exact.tv_nsec / 1000 };
        return 0;
}

time_t time(time_t *ret)
{
        struct timespec exact;

        clock_gettime(CLOCK_REALTIME, &exact);
        if (ret)
                *ret = exact.tv_sec;
        return exact.tv_sec;
}
"""


class WallClock:
    """Compiles it; environment makes a controller read it."""

    def __init__(self, folder):
        self.path = f"{folder}/ahead"
        self.set(0)
        library = f"{folder}/wall_clock.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, "-x", "c", "-"], input=WALL_CLOCK, text=True, check=True)
        self.environment = {"LD_PRELOAD": library, "WALL_CLOCK_AHEAD": self.path}

    def set(self, seconds):
        with open(os.open(self.path, os.O_RDWR | os.O_CREAT), "r+b") as f:
            f.write(struct.pack("l", seconds))


def test_wall_clock_that_jumps(own_stack, space_in, tmp_path):
    """Hours ahead, back again, and behind what was: the leader leads on, work goes on, and nothing runs that had nothing to do."""
    clock = WallClock(tmp_path)
    stack = own_stack(start=False, flags={name: ELECTION for name in CONTROLLERS})
    for controller in stack.controllers.values():
        controller.process.env.update(clock.environment)
    space = space_in(stack.start())
    repository = space.deploy({"c.yaml": CONFIG}, targetNamespace=space.name)

    def leases():
        return {name: [stack.kube.get("Lease", f"{name}-leader-election", NAMESPACE)["spec"][key] for key in ("holderIdentity", "leaseTransitions")] for name in CONTROLLERS}

    def runs():
        return {name: sum(v for m, _, v in c.metrics() if m == "controller_runtime_reconcile_total") for name, c in stack.controllers.items()}

    def settled():
        """A run counts a moment after its status was written."""
        seen = []
        return until(lambda: seen.append(runs()) or (len(seen) > 5 and all(one == seen[-1] for one in seen[-5:]) and seen[-1]), 20, "nothing that runs", 0.1)
    held = leases()
    for i, hours in enumerate((5, 0, -5)):
        before, busy = settled(), {name: c.cpu_seconds() for name, c in stack.controllers.items()}
        clock.set(hours * 3600)
        # A lease of four seconds is renewed many times in this one.
        end = time.monotonic() + 1.5
        until(lambda: time.monotonic() > end, 10, "some renewals", 0.2)
        assert runs() == before, "something ran because the clock moved"
        for name, controller in stack.controllers.items():
            assert controller.cpu_seconds() - busy[name] < 0.5, f"{name} was busy"
        space.push(repository, {"c.yaml": CONFIG + f"data: {{k: v{i}}}\n"})
        space.data("c", {"k": f"v{i}"})
        transition = find_condition(space.ready("Kustomization", revision=repository.head()))["lastTransitionTime"]
        shown = datetime.datetime.fromisoformat(transition.replace("Z", "+00:00")).timestamp() - time.time()
        assert abs(shown - hours * 3600) < 60, "the clock did not move for it"
    assert leases() == held
    for controller in stack.controllers.values():
        assert controller.process.running
        assert not [r for r in controller.log() if "lease" in r["msg"].lower() and r["level"] == "error"]


def test_shards(own_stack, space_in):
    """Each replica reconciles the objects that its selector chooses, under a lease of its own name."""
    selectors = {"main": f"!{SHARD}", "one": f"{SHARD}=one"}
    flags = {label: [*ELECTION, f"--watch-label-selector={selector}"] for label, selector in selectors.items()}
    stack = own_stack(flags={name: flags["main"] for name in CONTROLLERS})
    shards = {name: another(stack, name, f"shard-{name}", *flags["one"]).start() for name in CONTROLLERS}
    space = space_in(stack)
    repository = space.repository({"c.yaml": CONFIG})
    source = {"interval": "1h", "url": repository.url, "ref": {"branch": "main"}}
    for name, labels in (("a", {}), ("b", {SHARD: "one"}), ("c", {SHARD: "two"})):
        space.apply([{"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": {"name": name, "labels": labels}, "spec": source}])
        space.kustomization(name, {"labels": labels}, targetNamespace=space.name, nameSuffix=f"-{name}", sourceRef={"kind": "GitRepository", "name": "a" if name == "c" else name})
    assert stack.source.storage_address in artifact_of(space.ready("GitRepository", "a"))["url"]
    assert shards["source-controller"].storage_address in artifact_of(space.ready("GitRepository", "b"))["url"]
    for name, controller in (("a", stack.kustomize), ("b", shards["kustomize-controller"])):
        space.ready("Kustomization", name)
        space.exists("ConfigMap", f"c-{name}")
        ran = {record["name"] for record in controller.log() if record.get("namespace") == space.name}
        assert ran == {name}
    space.ready("Kustomization", "b", revision=space.push(repository, {"c.yaml": CONFIG + "data: {k: v}\n"}, source="b"))
    for kind in ("GitRepository", "Kustomization"):
        assert not (space.get(kind, "c").get("status") or {}).get("conditions")
    for controller in CONTROLLERS:
        for selector in selectors.values():
            suffix = hashlib.sha256(selector.encode()).hexdigest()[:8]
            assert stack.kube.get("Lease", f"{controller}-leader-election-{suffix}", NAMESPACE)["spec"]["holderIdentity"]
    space.patch("GitRepository", "c", {"metadata": {"finalizers": None}})


def test_own_namespace_only(own_stack, space_in):
    """Objects elsewhere are left as they are; those of the controllers' own namespace are served."""
    stack = own_stack(flags={name: ["--watch-all-namespaces=false"] for name in CONTROLLERS})
    space = space_in(stack)
    repository = space.repository({"c.yaml": CONFIG})
    for o in (space.source(repository), space.kustomization(targetNamespace=NAMESPACE)):
        stack.kube.apply([{"apiVersion": o["apiVersion"], "kind": o["kind"], "metadata": {"name": "app"}, "spec": o["spec"]}], NAMESPACE)
    stack.kube.wait_ready("GitRepository", "app", NAMESPACE)
    stack.kube.wait_ready("Kustomization", "app", NAMESPACE)
    assert stack.kube.get("ConfigMap", "c", NAMESPACE)
    for kind in ("GitRepository", "Kustomization"):
        assert not (space.get(kind).get("status") or {}).get("conditions")
    stack.kube.patch("ConfigMap", "c", NAMESPACE, {"data": {"k": "edited"}}, manager="kubectl-edit")
    stack.kube.wait("ConfigMap", "c", NAMESPACE, lambda o: not o.get("data"), 15, "the edit undone")
    assert not any(record.get("level") == "error" for controller in stack.controllers.values() for record in controller.log())
