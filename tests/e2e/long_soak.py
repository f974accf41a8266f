"""
What months of bad weather do to a process, in less than an hour: connections that are reset or go silent, expired watches, new tokens, a server that restarts, while there
is work of every kind. Meanwhile both controllers are measured, and what they take must not creep: not memory, not descriptors, not threads. WEIR_SOAK_SECONDS is
how long it goes on; a night or a day judges the same rise, and so a smaller slope. It belongs to the long run (make soak).
"""
import os
import random
import re
import statistics
import time

from cluster.cluster import http_get
from cluster.kube import ApiError
from cluster.process import until
from cluster.workload import deployment
from space import KINDS
from test_connection import IMPATIENT, config, with_token_file
from test_idle import pass_by

SECONDS = int(os.environ.get("WEIR_SOAK_SECONDS", "2700"))
SAMPLE_SECONDS = 2
COUNT = 20
KIB, MIB = 1 << 10, 1 << 20
# Of the run, what goes by before it is judged: what is made once is made by then.
WARM = 0.3
# How many of what is judged make a minimum. A run or a job takes memory that it gives back; what remains shows between them.
WINDOWS = 15
# How much of each may be added from the beginning to the end of what is judged. heap: what the process has asked for and not given back, and what its threads keep of that
# for the next time (some KiB of each size, which for the source-controller fills for the better part of an hour).
RISE = {"heap": 256 * KIB, "anonymous": MIB, "rss": 3 * MIB // 2, "pss": 3 * MIB // 2, "descriptors": 3}
# How much more there may be of each when all work has ended than when none had begun. Of threads there is one for each run that waits, so that between faults there are
# as many as this machine is slow; but at rest all of them have ended.
LEFT = {"descriptors": 3, "threads": 0}


def measure(controller):
    pid = controller.process.pid
    with open(f"/proc/{pid}/status") as f:
        status = dict(line.split(":", 1) for line in f)
    numbers = [int(n) for n in re.findall(r"\d+", "\n".join(controller.heap().split("\n")[:2]))]
    in_use, mapped, _, _, _, _, pool, _ = numbers
    return {"heap": in_use + mapped + pool, "anonymous": int(status["RssAnon"].split()[0]) * KIB, "rss": int(status["VmRSS"].split()[0]) * KIB, "pss": controller.pss(),
            "descriptors": len(os.listdir(f"/proc/{pid}/fd")), "threads": int(status["Threads"])}


def minima(values):
    size = len(values) / WINDOWS
    return [min(values[int(i * size):int((i + 1) * size)]) for i in range(WINDOWS)]


def rise(values):
    """By how much the minima go up from the first to the last: the median of all slopes between two of them, for which no peak counts much."""
    lowest = minima(values)
    return statistics.median((lowest[j] - lowest[i]) / (j - i) for i in range(WINDOWS) for j in range(i + 1, WINDOWS)) * (WINDOWS - 1)


def test_rise_is_seen():
    """A leak shows through peaks a hundred times as high; peaks alone are none."""
    dice = random.Random(1)
    quiet = [10_000 + dice.choice((0, 3, 50_000)) for _ in range(300)]
    assert abs(rise(quiet)) < 5
    assert 270 < rise([value + i for i, value in enumerate(quiet)]) < 310


class Weather:
    """The deeds, each by its name, and how often each is done for a hundred."""
    ODDS = {"cut": 14, "compact": 10, "rotate": 14, "push": 14, "edit": 16, "delete": 10, "come_and_go": 12, "break_and_mend": 6, "silence": 3, "restart": 1}

    def __init__(self, stack, space, rotations, dice):
        self.stack, self.space, self.rotations, self.dice = stack, space, rotations, dice
        self.done = dict.fromkeys(self.ODDS, 0)
        self.repository = space.repository(self.tree(0))
        self.value, self.visitors = 0, []

    @staticmethod
    def tree(value):
        service = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}]}\n"
        return {"app/a.yaml": config("a", value), "app/b.yaml": config("b", 0), "app/s.yaml": service, "app/web.yaml": deployment(f"web:v{value}")}

    def one(self):
        """Does one of them, and returns its name."""
        name = self.dice.choices(list(self.ODDS), self.ODDS.values())[0]
        getattr(self, name)()
        self.done[name] += 1

    def some(self, name):
        return f"k{self.dice.randrange(COUNT)}-{name}"

    def meddle(self, name, patch, manager):
        """Of a ConfigMap that may just be away."""
        try:
            self.space.patch("ConfigMap", name, patch, manager=manager)
        except ApiError as e:
            assert e.status == 404, e

    def cut(self):
        self.stack.link.cut()

    def compact(self):
        """The watches cannot go on where they were: 410 Gone."""
        name = self.some("b")
        for i in range(10):
            self.meddle(name, {"metadata": {"annotations": {"n": str(i)}}}, "noise")
        self.stack.plane.compact()
        self.cut()

    def rotate(self):
        self.dice.choice(self.rotations)()

    def push(self):
        self.value += 1
        self.space.push(self.repository, self.tree(self.value))

    def edit(self):
        self.meddle(self.some("a"), {"data": {"k": "edited"}}, "kubectl-edit")

    def delete(self):
        self.space.kube.delete(self.dice.choice(("ConfigMap", "Service")), self.some(self.dice.choice("bs")), self.space.name)

    def come_and_go(self):
        """Kustomizations of names that nobody had before, and their ends: each leaves nothing behind."""
        self.visitors.append(f"v{self.done['come_and_go']}")
        self.kustomization(self.visitors[-1])
        if len(self.visitors) > 3:
            self.space.delete("Kustomization", self.visitors.pop(0))

    def break_and_mend(self):
        self.space.push(self.repository, {"app/a.yaml": "kind: {" + str(self.value)})
        pass_by(1)
        self.push()

    def silence(self):
        """What is open now carries nothing any more, without a word."""
        self.stack.link.abandon()

    def restart(self):
        self.stack.plane.apiserver.kill()
        self.stack.plane.start_apiserver()

    def kustomization(self, name):
        self.space.kustomization(name, path="./app", targetNamespace=self.space.name, namePrefix=f"{name}-", interval="10s", retryInterval="500ms", timeout="30s", wait=name[-1] in "13579")


def set_suspended(space, suspended):
    until(lambda: not any(o["metadata"].get("deletionTimestamp") for o in space.kube.list("Kustomization", space.name)), 60, "what was deleted is gone", 0.5)
    for kind in KINDS:
        for o in space.kube.list(kind, space.name):
            space.spec(kind, o["metadata"]["name"], suspend=suspended)


def at_rest(controller):
    """What there is of each with all suspended, when no run is due and what a run needs has ended."""
    def queue():
        return [line for line in http_get(controller.metrics_port, "/debug/pprof/goroutine", https=False)[1].decode().splitlines() if line.startswith("queue ")]
    until(lambda: all(line.endswith("0 ready, 0 waiting, 0 running") for line in queue()), 120, lambda: f"{controller.name} has nothing to do: {queue()}", 0.5)
    samples = []
    for _ in range(20):
        pass_by(0.5)
        samples.append(measure(controller))
    return {what: min(sample[what] for sample in samples) for what in samples[0]}


def settled(space, names, revision):
    for name in names:
        space.ready("Kustomization", name, revision=revision, seconds=120)


def test_soak(own_stack, space_in):
    stack = own_stack(start=False, linked=True, apiserver=["--goaway-chance=0.02"])
    rotations = [with_token_file(stack, name) for name in stack.controllers]
    for controller in stack.controllers.values():
        controller.process.env.update(IMPATIENT)
    stack.start()
    space = space_in(stack)
    weather = Weather(stack, space, rotations, random.Random(os.environ.get("WEIR_CHAOS_SEED", "weir")))
    space.source(weather.repository, interval="5s", timeout="20s")
    names = [f"k{i}" for i in range(COUNT)]
    for name in names:
        weather.kustomization(name)
    settled(space, names, weather.repository.head())
    set_suspended(space, True)
    before = {name: at_rest(c) for name, c in stack.controllers.items()}
    set_suspended(space, False)
    samples = {name: [] for name in stack.controllers}
    begun, sampled, told = time.monotonic(), 0.0, 0.0
    while (passed := time.monotonic() - begun) < SECONDS:
        weather.one()
        pass_by(weather.dice.random() * 0.5)
        if passed >= sampled:
            sampled = passed + SAMPLE_SECONDS
            for name, c in stack.controllers.items():
                assert c.process.running, c.process.tail()
                samples[name].append(measure(c))
        if passed >= told:
            told = passed + max(SECONDS / 20, 10)
            print(f"{passed:5.0f} s, {sum(weather.done.values())} deeds: " + "; ".join(f"{name} {in_words(samples[name][-1])}" for name in samples), flush=True)
    settled(space, names, space.push(weather.repository, weather.tree("last")))
    for name in names:
        space.data(f"{name}-a", {"k": "last"})
    print(f"{SECONDS} s: {weather.done}")
    found = {}
    for name, measured in samples.items():
        judged = measured[int(len(measured) * WARM):]
        assert len(judged) >= WINDOWS, "too short to judge"
        found.update({(name, what): rise([sample[what] for sample in judged]) for what in RISE})
        hours = SECONDS * (1 - WARM) / 3600
        for what in RISE:
            print(f"{name}: {what} {found[name, what]:+.0f}, {found[name, what] / hours:+.0f} an hour; minima {minima([sample[what] for sample in judged])}")
    set_suspended(space, True)
    for name, c in stack.controllers.items():
        after = at_rest(c)
        print(f"{name} at rest: before {in_words(before[name])}; after {in_words(after)}")
        assert not {what: after[what] - before[name][what] for what in LEFT if after[what] > before[name][what] + LEFT[what]}, name
    until(lambda: all(len(os.listdir(c.temporary)) <= 4 for c in stack.controllers.values()), 30, "the temporary folders empty")
    assert not {key: value for key, value in found.items() if value > RISE[key[1]]}


def in_words(sample):
    return ", ".join(f"{what} {value / MIB:.2f} MiB" if value > MIB // 8 else f"{what} {value}" for what, value in sample.items())
