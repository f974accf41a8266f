"""A namespace of one test, and the words in which tests speak about it."""
import hashlib
import time

from cluster.kube import APPLY, find_condition
from cluster.process import until

GIT = "source.toolkit.fluxcd.io/v1"
KUSTOMIZE = "kustomize.toolkit.fluxcd.io/v1"
KINDS = ("Kustomization", "GitRepository")


class Space:
    """
    The intervals of what is made here are an hour, unless a test says otherwise: what happens sooner was caused by an event. Names are "app" where none
    is given. Kinds are named without their group: GitRepository, Kustomization, ConfigMap.
    """

    def __init__(self, stack, name, git_server, repository):
        self.stack, self.kube, self.name, self.git_server, self.repository = stack, stack.kube, name, git_server, repository
        self.kube.create_namespace(name)

    # -- making

    def apply(self, manifests, **options):
        """Server-side apply into the namespace. ${NS} in text is its name."""
        if isinstance(manifests, str):
            manifests = manifests.replace("${NS}", self.name)
        return self.kube.apply(manifests, self.name, **options)

    def source(self, repository, name="app", **spec):
        """A GitRepository of a Repository or of a URL."""
        url = repository if isinstance(repository, str) else repository.url
        ref = {} if "ref" in spec else {"ref": {"branch": "main"}}
        return self.apply([{"apiVersion": GIT, "kind": "GitRepository", "metadata": {"name": name}, "spec": {"interval": "1h", "url": url, **ref, **spec}}])[0]

    def advertise(self, url, data, name="app", **artifact):
        """A GitRepository that nobody fetches and that says that its artifact, these bytes, is at a URL."""
        generation = self.source("http://127.0.0.1:1/none", name, suspend=True)["metadata"]["generation"]
        digest = hashlib.sha256(data).hexdigest()
        status = {"observedGeneration": generation, "artifact": {"path": "x", "url": url, "revision": f"main@sha1:{digest[:40]}", "digest": f"sha256:{digest}",
                                                                 "lastUpdateTime": "2026-01-01T00:00:00Z", **artifact}}
        self.kube.request("PATCH", self.kube.path("GitRepository", self.name, name) + "/status?fieldManager=test&force=true",
                          {"apiVersion": GIT, "kind": "GitRepository", "metadata": {"name": name}, "status": status}, APPLY)

    def kustomization(self, name="app", metadata=None, **spec):
        """A Kustomization of the GitRepository app, at path ./"""
        spec = {"interval": "1h", "prune": True, "path": "./", "sourceRef": {"kind": "GitRepository", "name": "app"}, **spec}
        return self.apply([{"apiVersion": KUSTOMIZE, "kind": "Kustomization", "metadata": {"name": name, **(metadata or {})},
                            "spec": {k: v for k, v in spec.items() if v is not None}}])[0]

    def deploy(self, files, **spec):
        """A repository with these files, its GitRepository and Kustomization, both Ready; returns the repository."""
        repository = self.repository(files)
        self.source(repository)
        self.kustomization(**spec)
        self.ready("Kustomization", revision=repository.head())
        return repository

    def secret(self, name, **data):
        """Keys with a dot or a dash are given in a dictionary: secret("x", **{"ca.crt": ...})."""
        return self.apply([{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}])[0]

    def push(self, repository, files=None, source="app", **commit):
        """A commit, and a reconcile of the GitRepository that will see it; returns the commit."""
        revision = repository.commit(files, **commit)
        self.reconcile("GitRepository", source)
        return revision

    # -- asking and waiting

    def get(self, kind, name="app"):
        return self.kube.get(kind, name, self.name)

    def condition(self, kind, name="app", type="Ready"):
        return find_condition(self.get(kind, name), type)

    def wait(self, kind, name, holds, seconds=30, what=""):
        return self.kube.wait(kind, name, self.name, holds, seconds, what)

    def ready(self, kind, name="app", **more):
        """Waits for Ready=True of the present generation; see Kube.wait_condition for what else can be asked."""
        return self.kube.wait_condition(kind, name, self.name, "True", **more)

    def not_ready(self, kind, name="app", **more):
        return self.kube.wait_condition(kind, name, self.name, "False", **more)

    def gone(self, kind, name="app", seconds=30):
        self.kube.wait_gone(kind, name, self.name, seconds)

    def exists(self, kind, name, seconds=30):
        return self.wait(kind, name, lambda o: o is not None, seconds, "there")

    def begun(self):
        """Waits until the controllers of Kubernetes, which start beside ours, have listed what there is and made what every namespace has."""
        self.exists("ServiceAccount", "default", 60)
        self.exists("ConfigMap", "kube-root-ca.crt", 60)

    def data(self, name, expected, seconds=30):
        """Waits until a ConfigMap holds this data."""
        return self.wait("ConfigMap", name, lambda o: o is not None and o.get("data") == expected, seconds, f"data {expected}")

    def wait_for_pods(self, app, count, seconds=15):
        """The pods of a Deployment whose label app has this value."""
        return until(lambda: len(pods := self.kube.list("Pod", self.name, f"app={app}")) == count and pods, seconds, f"{count} pods of {app}", 0.1)

    def events(self, kind=None, name="app", reason=None):
        return self.kube.events(self.name, kind, name, reason)

    def wait_event(self, kind, reason, part="", name="app", seconds=15):
        """The first event about an object that has a reason and a part of the message."""
        return until(lambda: [e for e in self.events(kind, name, reason) if part in e["message"]], seconds,
                     lambda: f"event {reason} {part!r} in {[(e['reason'], e['message']) for e in self.events(kind, name)]}", 0.1)[0]

    # -- changing

    def reconcile(self, kind, name="app"):
        return self.kube.reconcile(kind, name, self.name)

    def patch(self, kind, name, patch, **options):
        return self.kube.patch(kind, name, self.name, patch, **options)

    def spec(self, kind, name="app", **fields):
        """Sets fields of a spec; None removes one."""
        return self.patch(kind, name, {"spec": fields}, manager="user")

    def delete(self, kind, name="app"):
        self.kube.delete(kind, name, self.name)

    # -- the end

    def report(self):
        """What a person wants to see when a test failed."""
        try:
            for kind in KINDS:
                for o in self.kube.list(kind, self.name):
                    print(f"{kind}/{o['metadata']['name']} generation {o['metadata']['generation']}:", o.get("status"))
            for e in self.kube.events(self.name):
                print("event", e["involvedObject"]["kind"], e["involvedObject"]["name"], e.get("reason"), e.get("message"))
        except OSError as e:
            print("the API server is away:", e)
        for controller in self.stack.controllers.values():
            lines = controller.process.output().splitlines()
            about = [line for line in lines if self.name in line]
            state = "runs" if controller.process.running else "ENDED"
            print(f"-- {controller.name} {state}\n" + "\n".join(about)[-6000:])
            # What is no JSON is a cry: a sanitizer, an assertion, a stack.
            print("\n".join(line for line in lines if not line.startswith("{"))[-6000:])

    def close(self):
        """
        Removes what the controllers know, and waits for that where they end next; the namespace itself goes with the control plane. On a stack that stays the next
        test begins meanwhile.
        """
        try:
            for kind in KINDS:
                for o in self.kube.list(kind, self.name):
                    self.kube.delete(kind, o["metadata"]["name"], self.name)
            end = time.monotonic() + 10
            while not self.stack.stays and time.monotonic() < end and any(self.kube.list(kind, self.name) for kind in KINDS):
                time.sleep(0.05)
        except OSError:
            """The test ended without its API server."""
