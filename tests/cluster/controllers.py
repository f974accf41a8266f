"""The controllers under test, each with its own token, ports, storage and temporary folder, beside a control plane."""
import glob
import json
import os
import urllib.request

import yaml

from cluster.cluster import http_get
from cluster.kube import ApiError, parse_metrics
from cluster.process import free_port, until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NAMESPACE = "flux-system"
CONTROLLERS = ("source-controller", "kustomize-controller")


class Controller:
    """
    One controller of build/bin. flags and environment come after ours, so they win; wrapper: words before the command, for one in a place of its own;
    label: for a second one.
    """

    def __init__(self, workspace, name, kubeconfig, binaries=None, flags=(), wrapper=(), label=None, environment=None):
        self.name = name
        folder = label or name
        self.metrics_port, self.health_port = free_port(), free_port()
        self.temporary = workspace.folder(f"{folder}/tmp")
        command = [*wrapper, os.path.join(binaries or f"{ROOT}/build/bin", name), "--watch-all-namespaces", "--log-level=info", "--log-encoding=json",
                   "--enable-leader-election=false", f"--metrics-addr=127.0.0.1:{self.metrics_port}", f"--health-addr=127.0.0.1:{self.health_port}"]
        if name == "source-controller":
            self.storage, self.storage_port = workspace.folder(f"{folder}/storage"), free_port()
            self.storage_address = f"127.0.0.1:{self.storage_port}"
            command += [f"--storage-path={self.storage}", f"--storage-addr={self.storage_address}", f"--storage-adv-addr={self.storage_address}"]
        # Of the caller's environment nothing but the path: a proxy or a credential of the user is none of the tests'.
        clean = {name: "" for name in os.environ if name.lower().endswith("_proxy")}
        clean.update({"KUBECONFIG": kubeconfig, "RUNTIME_NAMESPACE": NAMESPACE, "TMPDIR": self.temporary, "HOME": self.temporary})
        self.process = workspace.process(folder, [*command, *flags], env={**clean, **(environment or {})})

    def start(self, wait=True):
        self.process.start()
        return self.wait_ready() if wait else self

    def wait_ready(self, seconds=30):
        def ready():
            if not self.process.running:
                raise RuntimeError(f"{self.name} ended:\n{self.process.tail()}")
            return http_get(self.health_port, "/readyz", https=False)[0] == 200
        until(ready, seconds, lambda: f"{self.name} ready; its log:\n{self.process.tail()}", 0.005)
        return self

    def restart(self, kill=False):
        """Ends it (kill: without asking), starts it again, and returns the exit status of the one that ended."""
        if kill:
            self.process.kill()
            status = -9
        else:
            status = self.process.stop()
        self.start()
        return status

    def leftovers(self):
        """What an earlier process left in the temporary folder: older than this one."""
        return [entry.name for entry in os.scandir(self.temporary) if entry.stat(follow_symlinks=False).st_ctime < self.process.started_at]

    def log(self):
        """The records of its log. A line that is still being written is none."""
        records = []
        for line in self.process.output().split("\n")[:-1]:
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                records.append({"level": "text", "msg": line})
        return records

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as response:
            return parse_metrics(response.read().decode())

    def heap(self):
        """What it says of its heap, in text."""
        return http_get(self.metrics_port, "/debug/pprof/heap", https=False)[1].decode()

    def tree(self):
        """The pids of the process and all its descendants."""
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            try:
                for thread in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{thread}/children") as f:
                        todo += [int(child) for child in f.read().split()]
            except OSError:
                continue
        return found

    def pss(self):
        """Proportional set size of the tree, in bytes: what it really costs, shared pages counted once."""
        total = 0
        for pid in self.tree():
            try:
                with open(f"/proc/{pid}/smaps_rollup") as f:
                    total += next(int(line.split()[1]) for line in f if line.startswith("Pss:")) * 1024
            except (OSError, StopIteration):
                continue
        return total

    def rss(self):
        """What is resident of the process itself, in bytes, whoever shares it."""
        with open(f"/proc/{self.process.pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self):
        """Processor time of the tree, children that ended and were reaped included."""
        ticks = 0
        for pid in self.tree():
            try:
                with open(f"/proc/{pid}/stat") as f:
                    ticks += sum(int(n) for n in f.read().rpartition(")")[2].split()[11:15])
            except OSError:
                continue
        return ticks / os.sysconf("SC_CLK_TCK")


class Stack:
    """
    A control plane with the CRDs and the rights of manifests/install.yaml, and the controllers that there are, each with exactly its rights. flags: name of a
    controller -> its further flags; server: another address for the API server. stays: it is there for the whole run.
    """
    stays = False

    def __init__(self, plane, kube, flags=None, binaries=None, events=None, server=None):
        self.plane, self.kube = plane, kube
        install(kube, glob.glob(f"{binaries}/crds/*.yaml"))
        binaries = binaries or f"{ROOT}/build/bin"
        self.controllers = {}
        for name in [name for name in CONTROLLERS if os.access(f"{binaries}/{name}", os.X_OK)]:
            kubeconfig = plane.write_kubeconfig(f"kubeconfig-{name}", kube.token_of(NAMESPACE, name), server)
            extra = [*([f"--events-addr={events}"] if events else []), *(flags or {}).get(name, ())]
            self.controllers[name] = Controller(plane.workspace, name, kubeconfig, binaries, extra)
        # The authorizer of the API server hears of new rights a moment after they were made.
        for right in (("source-controller", "watch", "source.toolkit.fluxcd.io", "gitrepositories"), ("source-controller", "get", "", "secrets"),
                      ("kustomize-controller", "watch", "kustomize.toolkit.fluxcd.io", "kustomizations"), ("kustomize-controller", "watch", "", "configmaps")):
            until(lambda right=right: self.may(*right), 30, f"{right} allowed")

    def may(self, name, verb, group, resource):
        """Whether a controller has a right everywhere."""
        account = {"user": f"system:serviceaccount:{NAMESPACE}:{name}", "groups": ["system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}", "system:authenticated"]}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {**account, "resourceAttributes": {"verb": verb, "group": group, "resource": resource}}}
        return self.kube.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]["allowed"]

    @property
    def source(self):
        return self.controllers["source-controller"]

    @property
    def kustomize(self):
        return self.controllers["kustomize-controller"]

    def start(self):
        for controller in self.controllers.values():
            controller.start(wait=False)
        for controller in self.controllers.values():
            controller.wait_ready()
        return self


def serves(kube, kind):
    try:
        kube.list(kind)
    except ApiError:
        return False
    return True


def install(kube, more=()):
    """
    What a user installs, but for the pods: no kubelet runs them, so the Deployments are scaled to none. more: files of further CRDs, which controllers other than
    ours want to be there.
    """
    with open(f"{ROOT}/manifests/install.yaml") as f:
        objects = [o for o in yaml.safe_load_all(f) if o]
    names = {o["metadata"]["name"] for o in objects}
    for path in more:
        with open(path) as f:
            objects += [o for o in yaml.safe_load_all(f) if o and o["metadata"]["name"] not in names]
    for o in objects:
        if o["kind"] == "Deployment":
            o["spec"]["replicas"] = 0
    first = ("Namespace", "CustomResourceDefinition")
    kube.apply([o for o in objects if o["kind"] in first], manager="install")
    for o in objects:
        if o["kind"] == "CustomResourceDefinition":
            kube.wait_condition("CustomResourceDefinition", o["metadata"]["name"], None, type="Established", current=False)
            # Established comes a second before the storage is there, and sometimes before discovery knows of it.
            until(lambda kind=o["spec"]["names"]["kind"]: serves(kube, kind), 30, f"the server serves {o['metadata']['name']}")
    kube.apply([o for o in objects if o["kind"] not in first], manager="install")
