"""The unmodified flux command line against our controllers: what a user types, what it prints, and its exit status."""
import concurrent.futures
import datetime
import json
import os
import re
import subprocess
import time

import pytest
import yaml

from artifact import artifact_of, download, files
from cluster.cluster import flux_tool
from cluster.controllers import NAMESPACE
from cluster.kube import metric
from cluster.process import until
from cluster.workload import deployment
from peers.kubelet import Kubelet
from peers.proxy import HttpProxy
from peers.ssh import SshServer, keygen
from space import Space

APP = deployment("example.com/web:1") + """\
        env: [{name: COLOR, value: "${color}"}, {name: SIZE, value: "${size}"}]
"""
SERVICE = "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\nspec:\n  ports: [{port: 80}]\n"
SETTINGS = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata: {k: %s}\n"


class Flux:
    """flux with the kubeconfig of somebody, in a namespace. Each command returns what was printed, on either stream."""

    def __init__(self, namespace, kubeconfig, folder):
        # A dead proxy: nothing that it looks for outside of the cluster is found, or waited for.
        self.environment = {"PATH": os.environ["PATH"], "HOME": folder, "KUBECONFIG": kubeconfig, "HTTPS_PROXY": "http://127.0.0.1:1"}
        self.program, self.namespace, self.folder = flux_tool("flux"), namespace, folder

    def __call__(self, command, exit=0, seconds=60, namespace=None):
        arguments = [self.program, *command.split(), f"--namespace={namespace or self.namespace}"]
        done = subprocess.run(arguments, env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=seconds)
        assert done.returncode == exit, f"flux {command}: exit status {done.returncode}\n{done.stdout}"
        return done.stdout

    def table(self, command):
        """The rows of a table, as dictionaries by column."""
        lines = [[cell.strip() for cell in line.split("\t")] for line in self(command).splitlines() if line.strip()]
        return [dict(zip(lines[0], line)) for line in lines[1:]]


@pytest.fixture
def flux(space, tmp_path):
    """As an administrator of the test's namespace, who has the cluster's own role admin there and nothing elsewhere."""
    space.apply([{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "ada"}},
                 {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "ada"},
                  "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
                  "subjects": [{"kind": "ServiceAccount", "name": "ada", "namespace": space.name}]}])
    return Flux(space.name, space.stack.plane.write_kubeconfig(f"kubeconfig-{space.name}", space.kube.token_of(space.name, "ada")), str(tmp_path))


@pytest.fixture
def admin(space, tmp_path):
    """As one who may do everything."""
    return Flux(space.name, space.stack.plane.admin, str(tmp_path))


@pytest.fixture
def app(space):
    """A Deployment and a Service, applied with variables from a ConfigMap; returns the repository."""
    space.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "vars"}, "data": {"color": "blue"}}])
    return space.deploy({"deploy/web.yaml": APP, "deploy/svc.yaml": SERVICE}, path="./deploy", targetNamespace=space.name, wait=True,
                        postBuild={"substitute": {"size": "xl"}, "substituteFrom": [{"kind": "ConfigMap", "name": "vars"}]})


def short(revision):
    return f"main@sha1:{revision[:8]}"


def full(revision):
    return f"main@sha1:{revision}"


# -- looking

def test_get(app, flux):
    revision = app.head()
    source = {"NAME": "app", "REVISION": short(revision), "SUSPENDED": "False", "READY": "True", "MESSAGE": f"stored artifact for revision '{short(revision)}'"}
    applied = {"NAME": "app", "REVISION": short(revision), "SUSPENDED": "False", "READY": "True", "MESSAGE": f"Applied revision: {short(revision)}"}
    assert flux.table("get sources git") == [source]
    assert flux.table("get kustomizations app") == [applied]
    assert flux.table("get kustomizations --status-selector ready=true") == [applied]
    assert flux("get kustomizations --status-selector ready=false --no-header").strip() == ""
    assert "✗ Kustomization object 'nope' not found" in flux("get kustomizations nope", exit=1)
    assert f"✗ no GitRepository objects found in \"{flux.namespace}\" namespace" in flux("get sources git --label-selector team=blue", exit=1)


def test_get_of_everything(app, space, flux, admin):
    everything = flux("get all")
    assert re.search(r"^gitrepository/app\s.*\bTrue\s", everything, re.M) and re.search(r"^kustomization/app\s.*\bTrue\s", everything, re.M)
    assert [row["REVISION"] for row in admin.table("get kustomizations --all-namespaces") if row["NAMESPACE"] == space.name] == [short(app.head())]


def test_get_waits_for_changes(app, space, flux):
    """get --watch prints a row for each change, until it is ended."""
    command = [flux.program, "get", "kustomizations", "--watch", "--namespace", space.name]
    with subprocess.Popen(command, env=flux.environment, stdout=subprocess.PIPE, text=True) as watch:
        try:
            assert short(app.head()) in watch.stdout.readline() + watch.stdout.readline()
            revision = space.push(app, {"deploy/svc.yaml": SERVICE.replace("80", "81")})
            assert any(f"Applied revision: {short(revision)}" in line for line in watch.stdout)
        finally:
            watch.kill()


def test_tree(app, space, flux):
    """What is in the inventory, and what belongs to those: with an inner Kustomization, and with what Kubernetes made."""
    assert flux("tree kustomization app").split("\n")[:3] == [f"Kustomization/{space.name}/app", f"├── Service/{space.name}/web", f"└── Deployment/{space.name}/web"]
    assert flux("tree kustomization app --compact").strip() == f"Kustomization/{space.name}/app"
    inner = yaml.safe_dump({"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": {"name": "inner"}, "spec": {
        "interval": "1h", "prune": True, "path": "./inner", "targetNamespace": space.name, "sourceRef": {"kind": "GitRepository", "name": "app"}}})
    revision = space.push(app, {"deploy/inner.yaml": inner, "inner/settings.yaml": SETTINGS % "v"})
    space.ready("Kustomization", revision=revision)
    space.ready("Kustomization", "inner", revision=revision)
    assert flux("tree kustomization app --compact").split("\n")[:2] == [f"Kustomization/{space.name}/app", f"└── Kustomization/{space.name}/inner"]
    assert f"    └── ConfigMap/{space.name}/settings" in flux("tree kustomization app")
    tree = json.loads(flux("tree kustomization app --output json"))
    assert tree["resource"]["GroupKind"] == {"Group": "kustomize.toolkit.fluxcd.io", "Kind": "Kustomization"}
    assert [r["resource"]["GroupKind"]["Kind"] for r in tree["resources"]] == ["Service", "Deployment", "Kustomization"]


def test_trace(app, space, flux):
    """From an applied object to the commit."""
    for what in ("deployment web", "web --kind Service --api-version v1"):
        text = flux(f"trace {what}")
        fields = re.findall(r"^(\w+): +(.*)$", text, re.M)
        assert ("Status", "Managed by Flux") in fields and ("Kustomization", "app") in fields and ("GitRepository", "app") in fields
        assert ("Path", "./deploy") in fields and ("Target", space.name) in fields and ("Branch", "main") in fields and ("URL", app.url) in fields
        assert fields.count(("Revision", full(app.head()))) == 2 and ("Message", f"Applied revision: {full(app.head())}") in fields
        assert sum(value.startswith("Last reconciled at ") for _, value in fields) == 2
    space.apply(SETTINGS % "v")
    assert "object not managed by Flux" in flux("trace configmap settings")


def test_events(app, space, flux):
    space.wait_event("Kustomization", "ReconciliationSucceeded")
    found = flux("events")
    assert re.search(r"Normal\s+NewArtifact\s+GitRepository/app\s+stored artifact for commit 'change'", found)
    assert re.search(rf"Normal\s+Progressing\s+Kustomization/app\s+Service/{space.name}/web created", found)
    with subprocess.Popen([flux.program, "events", "--watch", "--for", "GitRepository/app", "--namespace", space.name], env=flux.environment,
                          stdout=subprocess.PIPE, text=True) as watch:
        try:
            revision = app.commit({"deploy/svc.yaml": SERVICE.replace("80", "81")}, message="a second one")
            flux("reconcile source git app")
            assert any("stored artifact for commit 'a second one'" in line for line in watch.stdout)
        finally:
            watch.kill()
    space.ready("Kustomization", revision=revision)
    about = flux("events --for Kustomization/app")
    assert re.search(r"Normal\s+ReconciliationSucceeded\s+Kustomization/app\s+Reconciliation finished in \S+, next run in 1h0m0s", about)
    assert "Warning" not in flux("events --types Warning")
    space.push(app, {"deploy/svc.yaml": "kind: [\n"})
    space.not_ready("Kustomization", reason="BuildFailed")
    space.wait_event("Kustomization", "BuildFailed")
    assert re.search(r"Warning\s+BuildFailed\s+Kustomization/app", flux("events --types Warning"))


def test_stats(app, space, flux):
    rows = {row["RECONCILERS"]: row for row in flux.table("stats")}
    size = space.get("GitRepository")["status"]["artifact"]["size"]
    assert rows["GitRepository"] == {"RECONCILERS": "GitRepository", "RUNNING": "1", "FAILING": "0", "SUSPENDED": "0", "STORAGE": f"{size} B"}
    assert [rows["Kustomization"][column] for column in ("RUNNING", "FAILING", "SUSPENDED")] == ["1", "0", "0"]
    space.push(app, {"deploy/svc.yaml": "kind: [\n"})
    space.not_ready("Kustomization", reason="BuildFailed")
    flux("suspend source git app")
    rows = {row["RECONCILERS"]: row for row in flux.table("stats")}
    assert [rows["Kustomization"][column] for column in ("RUNNING", "FAILING", "SUSPENDED")] == ["1", "1", "0"]
    assert rows["GitRepository"]["SUSPENDED"] == "1"


def test_debug(app, flux):
    assert flux("debug kustomization app --show-vars") == "color=blue\nsize=xl\n"
    status = yaml.safe_load(flux("debug kustomization app --show-status"))
    assert status["lastAppliedRevision"] == full(app.head()) and status["inventory"]["entries"][1]["id"].endswith("_web_apps_Deployment")
    assert {c["type"]: c["status"] for c in status["conditions"]} == {"Ready": "True", "Healthy": "True"}
    history = yaml.safe_load(flux("debug kustomization app --show-history"))
    assert history[0]["lastReconciledStatus"] == "ReconciliationSucceeded" and history[0]["metadata"] == {"revision": full(app.head())}


def test_export(app, space, flux):
    o = yaml.safe_load(flux("export kustomization app"))
    assert o["kind"] == "Kustomization" and "status" not in o and "finalizers" not in o["metadata"]
    assert o["spec"] == {"interval": "1h0m0s", "path": "./deploy", "prune": True, "wait": True, "targetNamespace": space.name, "sourceRef": {"kind": "GitRepository", "name": "app"},
                         "postBuild": {"substitute": {"size": "xl"}, "substituteFrom": [{"kind": "ConfigMap", "name": "vars"}]}}
    o = yaml.safe_load(flux("export source git --all"))
    assert o["spec"] == {"interval": "1h0m0s", "ref": {"branch": "main"}, "timeout": "1m0s", "url": app.url}


def test_check_and_version(stack, space, admin):
    text = admin("check", namespace=NAMESPACE)
    for line in ("✔ kustomize-controller: deployment ready", "✔ source-controller: deployment ready", "✔ gitrepositories.source.toolkit.fluxcd.io/v1",
                 "✔ kustomizations.kustomize.toolkit.fluxcd.io/v1", "✔ all checks passed"):
        assert line in text
    version = yaml.safe_load(admin("version", namespace=NAMESPACE))
    image = space.kube.get("Deployment", "source-controller", NAMESPACE)["spec"]["template"]["spec"]["containers"][0]["image"]
    assert version["source-controller"] == version["kustomize-controller"] == image.rpartition(":")[2]


# -- acting

def test_create(space, flux):
    """The way in that the README shows: each command waits until it is done."""
    repository = space.repository({"deploy/settings.yaml": SETTINGS % "v"})
    revision = full(repository.head())
    assert f"✔ fetched revision: {revision}" in flux(f"create source git app --url={repository.url} --branch=main --interval=1m")
    text = flux(f"create kustomization app --source=GitRepository/app --path=./deploy --prune --wait --interval=10m --target-namespace={space.name}")
    assert f"✔ applied revision {revision}" in text
    assert space.get("ConfigMap", "settings")["data"] == {"k": "v"}


def test_create_that_waits_in_vain(space, flux):
    """What is wrong is in the object; the command says that it waited."""
    repository = space.repository({"deploy/settings.yaml": SETTINGS % "v"})
    assert "context deadline exceeded" in flux(f"create source git app --url={repository.url} --branch=nope --timeout=4s", exit=1)
    assert "couldn't find remote ref" in json.dumps(space.not_ready("GitRepository", reason="GitOperationFailed"))
    assert f"✔ fetched revision: {full(repository.head())}" in flux(f"create source git app --url={repository.url} --branch=main")
    assert "context deadline exceeded" in flux("create kustomization app --source=GitRepository/app --path=./nope --timeout=4s", exit=1)
    assert "kustomization path not found" in json.dumps(space.not_ready("Kustomization", reason="ArtifactFailed"))


def test_create_with_credentials(space, flux, git_server):
    """What the command puts into Secrets is what we read from them; options of the source arrive in its spec."""
    repository = space.repository({"deploy/settings.yaml": SETTINGS % "v", "notes.md": ""})
    git_server.rules[repository.name] = {"auth": {"basic": ("ada", "s3cret")}}
    proxy = HttpProxy(("eve", "proxysecret"))
    flux(f"create secret git credentials --url={repository.url} --username=ada --password=s3cret")
    flux(f"create secret proxy proxy --address={proxy.url} --username=eve --password=proxysecret")
    flux(f"create source git app --url={repository.url} --branch=main --secret-ref=credentials --proxy-secret-ref=proxy --ignore-paths=*.md")
    assert set(files(download(artifact_of(space.get("GitRepository"))))) == {"deploy/settings.yaml"} and proxy.targets
    exported = list(yaml.safe_load_all(flux("export source git app --with-credentials")))
    assert [o["kind"] for o in exported if o] == ["GitRepository", "Secret"] and exported[0]["spec"]["ignore"] == "*.md"
    proxy.close()


def test_create_with_an_ssh_key(space, flux, workspace, git_server, tmp_path):
    """The command asks the server for its key, and writes the known_hosts."""
    sshd = SshServer(workspace, git_server.folder, f"sshd-{space.name}")
    repository = space.repository({"deploy/settings.yaml": SETTINGS % "v"})
    _, public = keygen(str(tmp_path / "key"), passphrase="open-sesame")
    sshd.authorize(public)
    url = sshd.url(repository.name)
    flux(f"create secret git deploy-key --url={url} --private-key-file={tmp_path}/key --password=open-sesame")
    assert f"✔ fetched revision: {full(repository.head())}" in flux(f"create source git app --url={url} --branch=main --secret-ref=deploy-key")


def test_reconcile(app, space, flux):
    """It ends when the request was handled: what it prints is what is there by then."""
    revision = app.commit({"deploy/svc.yaml": SERVICE.replace("80", "81")})
    assert flux("reconcile source git app").splitlines() == [
        f"► annotating GitRepository app in {space.name} namespace", "✔ GitRepository annotated", "◎ waiting for GitRepository reconciliation",
        f"✔ fetched revision {full(revision)}"]
    assert flux("reconcile kustomization app").splitlines() == [
        f"► annotating Kustomization app in {space.name} namespace", "✔ Kustomization annotated", "◎ waiting for Kustomization reconciliation",
        f"✔ applied revision {full(revision)}"]
    assert space.get("Service", "web")["spec"]["ports"][0]["port"] == 81
    o = space.get("Kustomization")
    assert o["status"]["lastHandledReconcileAt"] == o["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"]


def test_reconcile_with_source(app, space, flux):
    revision = app.commit({"deploy/svc.yaml": SERVICE.replace("80", "81")})
    lines = flux("reconcile kustomization app --with-source").splitlines()
    assert f"✔ fetched revision {full(revision)}" in lines and lines[-1] == f"✔ applied revision {full(revision)}"
    assert space.get("Service", "web")["spec"]["ports"][0]["port"] == 81


def test_reconcile_that_fails(app, space, flux):
    """A failure that is tried again is waited for, and then said; one that is not is said at once."""
    space.push(app, {"deploy/svc.yaml": "kind: [\n"})
    space.not_ready("Kustomization", reason="BuildFailed")
    assert "✗ context deadline exceeded" in flux("reconcile kustomization app --timeout=3s", exit=1)
    space.spec("Kustomization", decryption={"provider": "sops"})
    start = time.monotonic()
    assert "✗ " in flux("reconcile kustomization app --timeout=40s", exit=1)
    assert time.monotonic() - start < 20


def test_suspend_and_resume(app, space, flux):
    assert flux("suspend kustomization app").splitlines() == [f"► suspending kustomization app in {space.name} namespace", "✔ kustomization suspended"]
    assert flux.table("get kustomizations")[0]["SUSPENDED"] == "True"
    assert "✗ resource is suspended" in flux("reconcile kustomization app", exit=1)
    assert flux("suspend source git app").splitlines()[-1] == "✔ source git suspended"
    revision = app.commit({"deploy/svc.yaml": SERVICE.replace("80", "81")})
    assert flux("resume source git app").splitlines() == [
        f"► resuming source git app in {space.name} namespace", "✔ source git resumed", "◎ waiting for GitRepository reconciliation",
        "✔ GitRepository app reconciliation completed", f"✔ fetched revision {full(revision)}"]
    assert space.get("Service", "web")["spec"]["ports"][0]["port"] == 80
    assert flux("resume kustomization app").splitlines() == [
        f"► resuming kustomization app in {space.name} namespace", "✔ kustomization resumed", "◎ waiting for Kustomization reconciliation",
        "✔ Kustomization app reconciliation completed", f"✔ applied revision {full(revision)}"]
    assert space.get("Service", "web")["spec"]["ports"][0]["port"] == 81
    assert flux.table("get kustomizations")[0]["SUSPENDED"] == "False"


def test_suspend_and_resume_of_all(app, space, flux):
    space.kustomization("more", path="./deploy", namePrefix="more-", postBuild={"substitute": {"size": "s", "color": "red"}}, targetNamespace=space.name)
    space.ready("Kustomization", "more")
    assert flux("suspend kustomization app more").count("✔ kustomization suspended") == 2
    assert flux("resume kustomization app more").count("✔ kustomization resumed") == 2
    assert f"✗ Kustomization nope not found in {space.name} namespace" in flux("suspend kustomization app nope")
    assert flux("suspend kustomization --all").count("✔ kustomization suspended") == 2
    assert {row["SUSPENDED"] for row in flux.table("get kustomizations")} == {"True"}
    text = flux("resume kustomization --all --wait")
    assert "✔ Kustomization app reconciliation completed" in text and "✔ Kustomization more reconciliation completed" in text


def test_delete(app, space, flux):
    """The command deletes; what was applied goes with it, and the source with its artifact."""
    assert flux("delete kustomization app -s").splitlines() == [f"► deleting kustomization app in {space.name} namespace", "✔ kustomization deleted"]
    space.gone("Kustomization")
    space.gone("Deployment", "web")
    assert flux("delete source git app --silent").splitlines()[-1] == "✔ source git deleted"
    space.gone("GitRepository")
    assert "not found" in flux("delete kustomization app -s", exit=1)


# -- the working tree against the cluster

def test_build(app, space, flux):
    objects = [o for o in yaml.safe_load_all(flux(f"build kustomization app --path {app.work}/deploy")) if o]
    assert sorted(o["kind"] for o in objects) == ["Deployment", "Service"]
    for o in objects:
        assert o["metadata"]["labels"] == {"kustomize.toolkit.fluxcd.io/name": "app", "kustomize.toolkit.fluxcd.io/namespace": space.name}
        live = space.get(o["kind"], "web")
        assert live["metadata"]["labels"] == o["metadata"]["labels"]
        if o["kind"] == "Deployment":
            assert o["spec"]["template"]["spec"]["containers"][0]["env"] == live["spec"]["template"]["spec"]["containers"][0]["env"] == [
                {"name": "COLOR", "value": "blue"}, {"name": "SIZE", "value": "xl"}]


def test_build_without_the_cluster(app, space, flux, tmp_path):
    """From what was exported: a dry run takes no variables from the cluster."""
    (tmp_path / "app.yaml").write_text(flux("export kustomization app"))
    objects = [o for o in yaml.safe_load_all(flux(f"build kustomization app --path {app.work}/deploy --kustomization-file {tmp_path}/app.yaml --dry-run")) if o]
    assert sorted(o["kind"] for o in objects) == ["Deployment", "Service"]
    web = next(o for o in objects if o["kind"] == "Deployment")
    assert {"name": "SIZE", "value": "xl"} in web["spec"]["template"]["spec"]["containers"][0]["env"]


def test_build_and_diff_of_the_inner_ones(space, flux):
    """A cluster's repository, as bootstrap lays it out: what is in the Kustomizations that a Kustomization applies."""
    inner = yaml.safe_dump({"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": {"name": "inner", "namespace": space.name}, "spec": {
        "interval": "1h", "prune": True, "path": "./inner", "targetNamespace": space.name, "sourceRef": {"kind": "GitRepository", "name": "app"}}})
    cluster = space.deploy({"cluster/inner.yaml": inner, "inner/settings.yaml": SETTINGS % "v"}, path="./cluster")
    space.ready("Kustomization", "inner", revision=cluster.head())
    there = f"--path {cluster.work}/cluster --recursive --local-sources GitRepository/{space.name}/app={cluster.work}"
    assert [o["kind"] for o in yaml.safe_load_all(flux(f"build kustomization app {there}")) if o] == ["Kustomization", "ConfigMap"]
    assert "drifted" not in flux(f"diff kustomization app {there} --progress-bar=false")
    cluster.commit({"inner/settings.yaml": SETTINGS % "w"}, push=False)
    text = flux(f"diff kustomization app {there} --progress-bar=false", exit=1)
    assert f"Kustomization/{space.name}/inner changed" in text and f"► ConfigMap/{space.name}/settings drifted" in text


def test_diff(app, space, flux):
    """Nothing to say, exit status 0; drift, exit status 1, and the cluster is as it was."""
    command = f"diff kustomization app --path {app.work}/deploy --progress-bar=false"
    assert flux(command) == ""
    app.commit({"deploy/web.yaml": APP.replace("web:1", "web:2"), "deploy/settings.yaml": SETTINGS % "v"}, delete=["deploy/svc.yaml"], push=False)
    text = flux(command, exit=1)
    assert f"► Deployment/{space.name}/web drifted" in text and "- example.com/web:1\n+ example.com/web:2" in text.replace("  ", "")
    assert f"► ConfigMap/{space.name}/settings created" in text and f"► Service/{space.name}/web deleted" in text
    assert "identified at least one change, exiting with non-zero exit code" in text
    assert space.get("ConfigMap", "settings") is None and space.get("Service", "web") is not None


# -- logs

@pytest.fixture(scope="module")
def kubelet(stack, authority):
    """Pods of the controllers, whose logs are those of our processes."""
    with Kubelet(stack.kube, authority.issue("kubelet")) as kubelet:
        kubelet.run_controllers(stack)
        yield kubelet


LINE = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (debug|info|error) (\w*)(?:/([\w-]+)\.([\w-]+))? - (.*?) *$")


def lines(text):
    """(level, kind, name, namespace, message) of each line. A message may have several; there is nothing else in it."""
    found = []
    for line in text.splitlines():
        match = LINE.match(line)
        assert match or found, text
        if match:
            found.append(match.groups()[1:])
        else:
            found[-1] = (*found[-1][:-1], found[-1][-1] + "\n" + line)
    return found


def test_logs(app, space, admin, kubelet):
    """By kind, name, level and age; the messages are those of the objects' own history."""
    here = space.name
    found = lines(admin("logs --kind=Kustomization --name=app"))
    assert ("info", "Kustomization", "app", here, "server-side apply completed") in found and all(line[1:4] == ("Kustomization", "app", here) for line in found)
    assert [line for line in lines(admin("logs --kind=GitRepository")) if line[4] == "stored artifact for commit 'change'"] == [
        ("info", "GitRepository", "app", here, "stored artifact for commit 'change'")]
    assert lines(admin("logs --name=nope")) == [] and lines(admin("logs --level=error")) == []
    space.push(app, {"deploy/svc.yaml": "kind: [\n"})
    space.not_ready("Kustomization", reason="BuildFailed")
    failures = until(lambda: lines(admin("logs --level=error --since=1m")), 10, "the failure in the log")
    assert all(line[:4] == ("error", "Kustomization", "app", here) for line in failures)
    assert re.match(r"Reconciliation failed after \S+, next try in \S+ .+", failures[0][4])
    assert len(lines(admin("logs --tail=1 --all-namespaces"))) <= 2
    assert any("sinceSeconds=60" in path for path in kubelet.requests) and any("tailLines=1" in path for path in kubelet.requests)
    everybody = lines(admin("logs --all-namespaces"))
    assert {line[1] for line in everybody if line[3] == here} == {"Kustomization", "GitRepository"}


def test_logs_of_the_last_second_only(app, space, admin, kubelet):
    until(lambda: lines(admin("logs")) and not lines(admin("logs --since=1s")), 20, "a second in which nothing happened")


def test_logs_that_are_followed(app, space, admin, kubelet):
    command = [admin.program, "logs", "--follow", "--kind=Kustomization", "--namespace", space.name]
    with subprocess.Popen(command, env=admin.environment, stdout=subprocess.PIPE, text=True) as follow:
        try:
            assert f"Kustomization/app.{space.name}" in follow.stdout.readline()
            space.push(app, {"deploy/svc.yaml": "kind: [\n"})
            assert any(" error " in line and "Reconciliation failed after" in line for line in follow.stdout)
        finally:
            follow.kill()


def test_logs_of_a_thousand_equal_lines(own_stack, authority, tmp_path):
    """Of what is said more often than 100 times in a second every 100th is written: a controller that finds 1000 suspended objects says so 109 times."""
    stack = own_stack()
    stack.kustomize.process.stop()
    stack.kube.create_namespace("many")
    kustomization = {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "spec": {
        "interval": "1h", "prune": True, "path": "./", "suspend": True, "sourceRef": {"kind": "GitRepository", "name": "app"}}}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: stack.kube.request("POST", stack.kube.path("Kustomization", "many"), {
            **kustomization, "metadata": {"name": f"app-{i}", "finalizers": ["finalizers.fluxcd.io"]}}), range(1000)))
    with Kubelet(stack.kube, authority.issue("kubelet")) as kubelet:
        kubelet.run_controllers(stack)
        stack.kustomize.start()
        until(lambda: metric(stack.kustomize.metrics(), "controller_runtime_reconcile_total", result="success") >= 1000, 60, "all of them seen", 0.1)
        times = [datetime.datetime.fromisoformat(line[:23]) for line in lines_of(Flux("many", stack.plane.admin, str(tmp_path)), "Reconciliation is suspended for this object")]
    # A second of the controller's own clock may end in between: then each has a hundred of its own.
    assert 109 <= len(times) <= 100 * ((times[-1] - times[0]).seconds + 2) + 9


def lines_of(flux, message):
    return [line for line in flux("logs --kind=Kustomization").splitlines() if line.endswith(f" - {message} ")]


# -- the end

def test_uninstall(own_stack, git_server, repository, tmp_path):
    """What the manifest created goes, what was applied from Git stays; no finalizer holds anything up."""
    stack = own_stack(spoils=True)
    space = Space(stack, "left", git_server, repository)
    space.deploy({"settings.yaml": SETTINGS % "v"}, targetNamespace=space.name)
    flux = Flux(NAMESPACE, stack.plane.admin, str(tmp_path))
    # What one does before an upgrade: all is written once more, in the version that is stored, and nothing follows from that.
    before = space.get("GitRepository")
    text = flux("migrate")
    assert f"✔ GitRepository/{space.name}/app migrated to version v1" in text and f"✔ Kustomization/{space.name}/app migrated to version v1" in text
    assert "✔ custom resources migrated successfully" in text
    after = space.get("GitRepository")
    assert after["metadata"]["generation"] == before["metadata"]["generation"] and after["status"] == before["status"]
    text = flux("uninstall --silent --dry-run")
    for what in (f"Deployment/{NAMESPACE}/kustomize-controller deleted (dry run)", f"Kustomization/{space.name}/app finalizers deleted (dry run)",
                 "CustomResourceDefinition/gitrepositories.source.toolkit.fluxcd.io deleted (dry run)", f"Namespace/{NAMESPACE} deleted (dry run)"):
        assert what in text
    for controller in stack.controllers.values():
        controller.process.stop()
    assert "✔ uninstall finished" in flux("uninstall --silent")
    stack.kube.wait_gone("CustomResourceDefinition", "kustomizations.kustomize.toolkit.fluxcd.io", seconds=30)
    stack.kube.wait_gone("Namespace", NAMESPACE, seconds=60)
    assert space.get("ConfigMap", "settings")["data"] == {"k": "v"}
    left = [o["metadata"]["name"] for kind in ("ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition") for o in stack.kube.list(kind, None, "app.kubernetes.io/part-of=flux")]
    assert left == []
