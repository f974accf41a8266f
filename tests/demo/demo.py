#!/usr/bin/env python3
"""
The tour that `make demo` gives: a throw-away Kubernetes control plane, a Git repository, and weir between the two. Afterwards everything is left running
for the visitor, until Ctrl-C. With KUBECONFIG set it asks whether to use that cluster instead; the controllers then run here, with its rights.

    tests/demo/demo.py [--once] [--binaries FOLDER]
"""
import argparse
import os
import re
import shutil
import signal
import sys
import textwrap
import time

import yaml

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from cluster.cluster import ControlPlane, tool  # noqa: E402
from cluster.controllers import ROOT, Controller, Stack  # noqa: E402
from cluster.kube import Kube, find_condition  # noqa: E402
from cluster.process import Workspace, until  # noqa: E402
from peers.git import GitServer, Repository  # noqa: E402

HOME = "weir-demo"
PRODUCTION, STAGING = "shop-production", "shop-staging"
GOOD_IMAGE, NEXT_IMAGE = "ghcr.io/example/web:1.4.0", "ghcr.io/example/web:1.5.0"

FILES = {
    "README.md": "The shop: base/ is what all environments share, overlays/ is how they differ.\n",
    "base/kustomization.yaml": """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [deployment.yaml, service.yaml]
labels:
- pairs: {app.kubernetes.io/part-of: shop}
configMapGenerator:
- name: web
  literals: [GREETING=hello, CACHE_SECONDS=60]
images:
- name: ghcr.io/example/web
  newTag: 1.4.0
""",
    "base/deployment.yaml": """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 1
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: web
        image: ghcr.io/example/web
        ports: [{name: http, containerPort: 8080}]
        envFrom: [{configMapRef: {name: web}}]
""",
    "base/service.yaml": """\
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
""",
    "overlays/staging/kustomization.yaml": """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: shop-staging
resources: [namespace.yaml, ../../base]
configMapGenerator:
- name: web
  behavior: merge
  literals: [GREETING=hello from staging]
""",
    "overlays/staging/namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop-staging\n",
    "overlays/production/kustomization.yaml": """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: shop-production
resources: [namespace.yaml, ../../base, banner.yaml]
replicas:
- name: web
  count: 3
""",
    "overlays/production/namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop-production\n",
    "overlays/production/banner.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: banner\ndata:\n  text: Summer sale!\n",
}

OBJECTS = """
apiVersion: v1
kind: Namespace
metadata: {{name: {home}}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: shop, namespace: {home}}}
spec:
  interval: 1m
  url: {url}
  ref: {{branch: main}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: staging, namespace: {home}}}
spec:
  interval: 10m
  path: ./overlays/staging
  prune: true
  sourceRef: {{kind: GitRepository, name: shop}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: production, namespace: {home}}}
spec:
  interval: 10m
  path: ./overlays/production
  prune: true
  sourceRef: {{kind: GitRepository, name: shop}}
  dependsOn: [{{name: staging}}]
"""


class Screen:
    """What the visitor reads, no wider than the terminal. Colours only where there is one."""

    def __init__(self):
        self.colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self.width = min(shutil.get_terminal_size((100, 24)).columns, 120)
        self.number = 0

    def paint(self, code, text):
        return f"\033[{code}m{text}\033[0m" if self.colour else text

    def line(self, text=""):
        print(text, flush=True)

    def text(self, text):
        self.line("\n".join(self.wrap(text, 0)))

    def title(self, text):
        self.line("\n" + self.paint("1", text))

    def chapter(self, text):
        self.number += 1
        self.title(f"{self.number}. {text}")

    def wrap(self, text, indent, end=""):
        """The lines of a text, each as long as fits behind the indentation and before what ends a line that goes on."""
        return textwrap.wrap(text, max(self.width - indent - len(end), 30), break_long_words=False, break_on_hyphens=False)

    def command(self, text, comment=""):
        lines = self.wrap(text, 7, " \\")
        for i, line in enumerate(lines):
            self.line(("     " if i else "   " + self.paint("2", "$ ")) + self.paint("36", line) + (" \\" if i + 1 < len(lines) else f"  # {comment}" if comment else ""))

    def fact(self, seconds, text):
        took = f"{duration(seconds):>9}"
        for i, line in enumerate(self.wrap(text, 14)):
            self.line("   " + (" " * 9 if i else self.paint("32", took)) + "  " + line)

    def note(self, text):
        for i, line in enumerate(self.wrap(text, 5)):
            self.line(("     " if i else "   ") + self.paint("2", line))


def duration(seconds):
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def short(text):
    """A message with its revisions and paths cut to what a person compares."""
    text = re.sub(r"(@sha1:[0-9a-f]{8})[0-9a-f]{32}", r"\1", text)
    return re.sub(r"/\S*/tmp/kustomization-\d+/", "", text).strip()


class Tour:
    def __init__(self, screen, kube, repository, url):
        self.screen, self.kube, self.repository, self.url = screen, kube, repository, url

    # -- the steps

    def first_sync(self):
        self.screen.chapter("First sync: two environments from one repository")
        self.screen.command("kubectl apply -f shop.yaml", "a GitRepository and two Kustomizations")
        start = time.monotonic()
        self.kube.apply(OBJECTS.format(home=HOME, url=self.url))
        for kind, name in (("GitRepository", "shop"), ("Kustomization", "staging"), ("Kustomization", "production")):
            o = self.kube.wait_ready(kind, name, HOME, seconds=60)
            self.screen.fact(time.monotonic() - start, f"{kind}/{name}: {short(find_condition(o)['message'])}")
        for namespace in (STAGING, PRODUCTION):
            web = self.kube.get("Deployment", "web", namespace)
            config = [o["metadata"]["name"] for o in self.kube.list("ConfigMap", namespace) if o["metadata"]["name"].startswith("web-")]
            self.screen.note(f"{namespace}: Deployment/web with {web['spec']['replicas']} replica(s) of {image(web).rpartition('/')[2]}, Service/web, ConfigMap/{config[0]}")

    def push(self):
        self.screen.chapter("A push arrives")
        seen = self.kube.observe("Deployment", PRODUCTION, "web")
        base = FILES["base/kustomization.yaml"].replace("newTag: 1.4.0", "newTag: 1.5.0")
        self.screen.command('git commit -am "web: release 1.5.0" && git push')
        self.repository.commit({"base/kustomization.yaml": base}, message="web: release 1.5.0")
        start = self.notify()
        self.wait_event(seen, lambda o: image(o) == NEXT_IMAGE)
        self.screen.fact(moment(seen, lambda o: image(o) == NEXT_IMAGE) - start, f"after the notification Deployment/web of production runs {NEXT_IMAGE.rpartition('/')[2]}")
        self.settle()

    def hand_edit(self):
        self.screen.chapter("Somebody edits the cluster by hand")
        seen = self.kube.observe("Deployment", PRODUCTION, "web")
        wrong = "ghcr.io/example/web:hotfix"
        self.screen.command(f"kubectl -n {PRODUCTION} set image deployment/web web={wrong}")
        self.kube.patch("Deployment", "web", PRODUCTION, {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": wrong}]}}}}, manager="kubectl-set",
                        content_type="application/strategic-merge-patch+json")
        self.wait_event(seen, lambda o: image(o) == wrong)
        edited = moment(seen, lambda o: image(o) == wrong)
        until(lambda: restored(seen, edited), 60, "the edit undone")
        self.screen.fact(restored(seen, edited) - edited, f"later it runs {NEXT_IMAGE.rpartition('/')[2]} again")
        said = until(lambda: [e for e in self.kube.events(HOME, "Kustomization", "production") if "kubectl-set" in e["message"]], 10, "an event that names who made the edit")
        self.screen.note(f"event {said[-1]['reason']}: {said[-1]['message'].strip()}")

    def removal(self):
        self.screen.chapter("A file is deleted, and what it made is pruned")
        overlay = FILES["overlays/production/kustomization.yaml"].replace(", banner.yaml", "")
        self.screen.command('git rm overlays/production/banner.yaml && git commit -m "sale over" && git push')
        seen = self.kube.observe("ConfigMap", PRODUCTION, "banner")
        self.repository.commit({"overlays/production/kustomization.yaml": overlay}, delete=["overlays/production/banner.yaml"], message="sale over")
        start = self.notify()
        until(lambda: [e for e in seen if e[1] == "DELETED"], 60, "ConfigMap/banner pruned")
        self.screen.fact(seen[-1][0] - start, "after the notification ConfigMap/banner is gone")
        self.settle()

    def broken_commit(self):
        self.screen.chapter("A broken commit is reported, and the last good state stays")
        before = self.kube.get("Kustomization", "production", HOME)["status"]["lastAppliedRevision"]
        good = FILES["overlays/production/kustomization.yaml"].replace(", banner.yaml", "")
        self.screen.command('git commit -am "oops" && git push', "names a file that is not there")
        broken = self.repository.commit({"overlays/production/kustomization.yaml": good.replace("../../base", "../../base, missing.yaml")}, message="oops")
        start = self.notify()
        o = self.kube.wait("Kustomization", "production", HOME, lambda o: broken in o["status"].get("lastAttemptedRevision", "") and (find_condition(o) or {}).get("reason") == "BuildFailed", 60)
        self.screen.fact(time.monotonic() - start, f"Kustomization/production: {find_condition(o)['reason']}")
        self.screen.note(short(find_condition(o)["message"]))
        web = self.kube.get("Deployment", "web", PRODUCTION)
        assert o["status"]["lastAppliedRevision"] == before and image(web) == NEXT_IMAGE
        self.screen.note(f"applied is still {short(before)}, and Deployment/web still runs {image(web).rpartition('/')[2]}")
        self.screen.command("git revert HEAD && git push")
        self.repository.commit({"overlays/production/kustomization.yaml": good}, message='Revert "oops"')
        start = self.notify()
        self.settle()
        self.screen.fact(time.monotonic() - start, "after the notification all is well again")

    # -- what they share

    def notify(self):
        """What a webhook does after a push: asks for a reconcile of the source."""
        start = time.monotonic()
        self.kube.reconcile("GitRepository", "shop", HOME)
        return start

    def settle(self):
        revision = self.repository.head()
        for name in ("staging", "production"):
            self.kube.wait_ready("Kustomization", name, HOME, revision=revision, seconds=60)

    @staticmethod
    def wait_event(seen, holds):
        until(lambda: any(event != "DELETED" and holds(o) for _, event, o in list(seen)), 60, "the change")


def image(deployment):
    return deployment["spec"]["template"]["spec"]["containers"][0]["image"]


def moment(seen, holds):
    return next(when for when, event, o in seen if event != "DELETED" and holds(o))


def restored(seen, after):
    """When the image was the one of Git again after a moment, or None."""
    return next((when for when, _, o in list(seen) if when > after and image(o) == NEXT_IMAGE), None)


def ask_for_cluster(screen):
    """The kubeconfig of the visitor's own cluster, if they want it used; else None."""
    path = os.environ.get("KUBECONFIG")
    if not path or not sys.stdin.isatty():
        return None
    server = Kube(path).host.geturl()
    screen.text(f"KUBECONFIG names the cluster at {server}. The demo would install weir's CRDs there, run the controllers here with your rights, "
                f"make the namespaces {HOME}, {STAGING} and {PRODUCTION}, and remove all of it at the end.")
    answer = input("Use that cluster? [y/N: a throw-away one] ")
    return path if answer.strip().lower() in ("y", "yes") else None


class OwnCluster:
    """
    The visitor's cluster: the controllers run on this machine with the rights of the kubeconfig, and look at the demo's own namespace alone. What was there
    before is not touched, and what was installed is removed again.
    """

    def __init__(self, kubeconfig, binaries):
        self.workspace = Workspace("demo")
        self.kube = Kube(kubeconfig)
        for o in self.kube.list("Deployment"):
            if o["metadata"]["name"] in ("source-controller", "kustomize-controller"):
                raise SystemExit(f"The cluster runs {o['metadata']['name']} in {o['metadata']['namespace']} already; two would work against each other. "
                                 "Nothing was changed.")
        for name in (HOME, STAGING, PRODUCTION):
            if self.kube.get("Namespace", name):
                raise SystemExit(f"The cluster has a namespace {name} already, which the demo would remove at its end. Nothing was changed.")
        with open(f"{ROOT}/manifests/crds.yaml") as f:
            crds = [o for o in yaml.safe_load_all(f) if o]
        new = [o for o in crds if not self.kube.get("CustomResourceDefinition", o["metadata"]["name"])]
        self.new = [o["metadata"]["name"] for o in new]
        self.kube.apply(new, manager="weir-demo")
        for o in crds:
            self.kube.wait_condition("CustomResourceDefinition", o["metadata"]["name"], None, type="Established", current=False)
        # A credential plugin of the kubeconfig may need the visitor's own home.
        own = {"RUNTIME_NAMESPACE": HOME, "HOME": os.environ.get("HOME", "/")}
        self.controllers = [Controller(self.workspace, name, os.path.abspath(kubeconfig), binaries, flags=["--watch-all-namespaces=false"], environment=own).start()
                            for name in ("source-controller", "kustomize-controller")]

    def stop(self):
        for name in ("production", "staging"):
            self.kube.delete("Kustomization", name, HOME)
            self.kube.wait_gone("Kustomization", name, HOME)
        self.kube.delete("GitRepository", "shop", HOME)
        self.kube.wait_gone("GitRepository", "shop", HOME)
        self.kube.delete("Namespace", HOME)
        for name in self.new:
            self.kube.delete("CustomResourceDefinition", name)
        self.workspace.close()


def leave(screen, kubeconfig, url):
    kubectl = shutil.which("kubectl") or tool("kubectl")
    screen.title("It is yours now. In another terminal:")
    screen.command(f"export KUBECONFIG={kubeconfig}")
    if not shutil.which("kubectl"):
        screen.command(f"export PATH=$PATH:{os.path.dirname(kubectl)}")
    screen.command("kubectl get gitrepositories,kustomizations -A")
    screen.command(f"kubectl -n {PRODUCTION} delete service web", "watch it come back")
    screen.command(f"kubectl -n {HOME} get events -w")
    if shutil.which("flux"):
        screen.command("flux get all -A")
    screen.note("Commit and push; it is fetched every minute, or when it is asked for:")
    screen.command(f"git clone {url}")
    screen.command(f"kubectl -n {HOME} annotate --overwrite gitrepository/shop reconcile.fluxcd.io/requestedAt=$(date +%s)")
    screen.line("\nCtrl-C ends it and leaves nothing behind.")
    signal.pause()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--once", action="store_true", help="end after the tour")
    parser.add_argument("--binaries", help="the folder of the controllers (build/bin)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    screen = Screen()
    screen.line(screen.paint("1", "weir") + ": a Kubernetes cluster kept equal to a Git repository\n")
    own = ask_for_cluster(screen)
    begin = time.monotonic()
    with Workspace("demo") as workspace:
        server = GitServer(workspace.folder("git"))
        repository = Repository(server.folder, "shop")
        repository.commit(FILES, message="the shop")
        url = server.url("shop")
        cluster = None
        try:
            if own:
                cluster, kubeconfig = OwnCluster(own, arguments.binaries), own
                kube = cluster.kube
            else:
                cluster = ControlPlane()
                start = time.monotonic()
                cluster.start()
                screen.fact(time.monotonic() - start, "etcd, kube-apiserver and kube-controller-manager are up")
                kubeconfig, kube = cluster.admin, Kube(cluster.admin)
                stack = Stack(cluster, kube, binaries=arguments.binaries)
                start = time.monotonic()
                stack.start()
                screen.fact(time.monotonic() - start, "source-controller and kustomize-controller are ready")
            screen.note(f"{url} holds a base and two overlays")
            tour = Tour(screen, kube, repository, url)
            for step in (tour.first_sync, tour.push, tour.hand_edit, tour.removal, tour.broken_commit):
                step()
            if not own:
                mib = sum(c.pss() for c in stack.controllers.values()) / (1 << 20)
                screen.title(f"The tour took {duration(time.monotonic() - begin)}. The two controllers use {mib:.0f} MiB of memory together.")
            if not arguments.once:
                leave(screen, kubeconfig, url)
        except KeyboardInterrupt:
            pass
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            if cluster:
                screen.line("\ncleaning up")
                cluster.stop()
            server.close()


if __name__ == "__main__":
    main()
