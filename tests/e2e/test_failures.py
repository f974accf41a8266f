"""What a Kustomization says when its repository is wrong: the reason, the words, and that nothing of the failing stage was applied."""
import pytest

from cluster.kube import find_condition, metric
from cluster.process import until

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {}\ndata:\n  a: b\n"
HEAD = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
DEPLOYMENT = ("apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 0\n  selector:\n    matchLabels: {{app: {}}}\n  template:\n    metadata:\n"
              "      labels: {{app: web}}\n    spec:\n      containers:\n      - {{name: web, image: web}}\n")

# name, files, reason, parts of the message
CASES = [
    ("syntax", {"a.yaml": "a: [1\n"}, "BuildFailed", ["failed to decode Kubernetes YAML from"]),
    ("no-kind", {"a.yaml": "foo: bar\n"}, "BuildFailed", ["failed to decode Kubernetes YAML from", "missing Resource metadata"]),
    ("missing-file", {"kustomization.yaml": HEAD + "resources: [nope.yaml]\n"}, "BuildFailed",
     ["kustomize build failed: accumulating resources: accumulation err='accumulating resources from 'nope.yaml'", "no such file or directory"]),
    ("twice-the-same", {"a.yaml": CONFIG.format("same"), "b.yaml": CONFIG.format("same")}, "BuildFailed", ["kustomize build failed:", "ConfigMap", "same"]),
    ("bad-patch", {"kustomization.yaml": HEAD + "resources: [a.yaml]\npatches: [{target: {kind: ConfigMap}, patch: not a patch}]\n", "a.yaml": CONFIG.format("a")}, "BuildFailed",
     ["kustomize build failed:", "patch"]),
    ("no-name", {"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n"}, "BuildFailed", ["missing metadata.name"]),
    ("selector", {"a.yaml": DEPLOYMENT.format("other"), "b.yaml": CONFIG.format("b")}, "ReconciliationFailed",
     ["Deployment/${NS}/web dry-run failed (Invalid): Deployment.apps \"web\" is invalid", "`selector` does not match template `labels`"]),
    ("unknown-kind", {"a.yaml": "apiVersion: example.com/v1\nkind: Nope\nmetadata:\n  name: x\n"}, "ReconciliationFailed",
     ["Nope/${NS}/x dry-run failed: no matches for kind \"Nope\" in version \"example.com/v1\""]),
    ("bad-name", {"a.yaml": CONFIG.format("Not_A_Name"), "b.yaml": CONFIG.format("b")}, "ReconciliationFailed", ["ConfigMap/${NS}/Not_A_Name dry-run failed (Invalid)", "RFC 1123"]),
]


@pytest.mark.parametrize("files, reason, parts", [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_first_revision_that_fails(space, files, reason, parts):
    space.source(space.repository(files))
    space.ready("GitRepository")
    space.kustomization(targetNamespace=space.name, retryInterval="1h")
    o = space.not_ready("Kustomization", reason=reason)
    message = find_condition(o)["message"]
    for part in parts:
        assert part.replace("${NS}", space.name) in message
    assert "lastAppliedRevision" not in o["status"] and "inventory" not in o["status"] or not o["status"]["inventory"]["entries"]
    assert not [c for c in space.kube.list("ConfigMap", space.name) if c["metadata"]["name"] != "kube-root-ca.crt"]
    event = space.wait_event("Kustomization", reason, parts[0].replace("${NS}", space.name)[:60])
    assert event["type"] == "Warning"


def test_namespace_that_is_not_there(space):
    space.source(space.repository({"a.yaml": CONFIG.format("x").replace("name: x", f"name: x\n  namespace: nope-{space.name}")}))
    space.kustomization()
    text = find_condition(space.not_ready("Kustomization", reason="ReconciliationFailed"))["message"]
    assert f"ConfigMap/nope-{space.name}/x not found: namespaces \"nope-{space.name}\" not found" in text


def test_source_that_may_not_be_used(space):
    """Nothing but a change helps: that is said once, in the status, an event and the log, and counted."""
    terminal = "controller_runtime_terminal_reconcile_errors_total"
    before = metric(space.stack.kustomize.metrics(), terminal, controller="kustomization")
    space.kustomization(sourceRef={"kind": "ExternalArtifact", "name": "x"}, retryInterval="1s")
    o = space.not_ready("Kustomization", reason="AccessDenied")
    said = f"can't access 'ExternalArtifact/{space.name}/x', ExternalArtifact feature gate is disabled"
    assert find_condition(o)["message"] == find_condition(o, "Stalled")["message"] == said and o["status"]["observedGeneration"] == -1
    assert space.wait_event("Kustomization", "AccessDenied")["message"] == said
    until(lambda: metric(space.stack.kustomize.metrics(), terminal, controller="kustomization") > before, 10, "a terminal error")
    assert [r["msg"] for r in space.stack.kustomize.log() if r.get("error") == said or r["msg"] == said] == ["Reconciler error"]
    # A change that helps, even if not for long: it is not stalled any more.
    space.spec("Kustomization", sourceRef={"kind": "GitRepository", "name": "x"})
    assert not find_condition(space.not_ready("Kustomization", reason="ArtifactFailed", current=False), "Stalled")


def test_fields_that_nobody_knows(space):
    """A field that the schema does not have goes by, as it does with Flux: in a manifest and in a kustomization.yaml. But it is said which, in the event and the log."""
    space.deploy({"kustomization.yaml": HEAD + "resources: [a.yaml]\nfoo: bar\n", "a.yaml": CONFIG.format("a") + "foo: bar\n"}, targetNamespace=space.name)
    assert space.get("ConfigMap", "a")["data"] == {"a": "b"}
    said = f"ConfigMap/{space.name}/a fields left out, not declared in schema: .foo"
    assert space.wait_event("Kustomization", "Progressing", said)["type"] == "Warning"
    assert [r["level"] for r in space.stack.kustomize.log() if r["msg"] == said] == ["info"]


def test_warnings_of_the_server(space):
    """What the API server has to say about a request is in the log, once however often it says it."""
    endpoints = "apiVersion: v1\nkind: Endpoints\nmetadata:\n  name: {}\n"
    space.deploy({"a.yaml": endpoints.format("a"), "b.yaml": endpoints.format("b")}, targetNamespace=space.name)
    said = [r for r in space.stack.kustomize.log() if "Endpoints is deprecated" in r["msg"]]
    assert [r["level"] for r in said] == ["info"], said


def test_broken_commit_leaves_the_last_good_state(space):
    repository = space.deploy({"a.yaml": CONFIG.format("a")}, targetNamespace=space.name)
    good = repository.head()
    broken = space.push(repository, {"a.yaml": "a: [1\n"})
    o = space.not_ready("Kustomization", reason="BuildFailed")
    assert broken in o["status"]["lastAttemptedRevision"] and good in o["status"]["lastAppliedRevision"]
    assert len(o["status"]["inventory"]["entries"]) == 1 and space.get("ConfigMap", "a") is not None
    fixed = space.push(repository, {"a.yaml": CONFIG.format("a")})
    o = space.ready("Kustomization", revision=fixed)
    assert not find_condition(o, "Reconciling")


def test_failed_stage_keeps_what_earlier_ones_applied(space):
    """The Namespace of the first stage is tracked although the second stage failed, and goes with the Kustomization."""
    unique = f"{space.name}-early"
    space.source(space.repository({"ns.yaml": f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {unique}\n", "b.yaml": CONFIG.format("Bad_Name")}))
    space.kustomization()
    o = space.not_ready("Kustomization", reason="ReconciliationFailed")
    assert find_condition(o)["message"].endswith(f"\nNamespace/{unique} created\n")
    assert space.kube.get("Namespace", unique) is not None
    o = space.wait("Kustomization", "app", lambda o: (o["status"].get("inventory") or {}).get("entries"), 10, "tracking the Namespace")
    assert o["status"]["inventory"]["entries"] == [{"id": f"_{unique}__Namespace", "v": "v1"}]


def test_error_about_a_secret_shows_nothing_of_it(space):
    space.source(space.repository({"s.yaml": "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\ndata:\n  password: not base64 s3cret!\n"}))
    space.kustomization(targetNamespace=space.name)
    o = space.not_ready("Kustomization", reason="ReconciliationFailed")
    texts = [str(o["status"]), str(space.events("Kustomization")), *(c.process.output() for c in space.stack.controllers.values())]
    assert not any("s3cret" in text for text in texts)


def test_source_without_an_artifact(space):
    space.source(space.repository({"a.yaml": CONFIG.format("a")}), ref={"branch": "nope"})
    space.kustomization(targetNamespace=space.name)
    assert find_condition(space.not_ready("Kustomization", reason="ArtifactFailed", current=False))["message"] == "Source artifact not found, retrying in 2s"


def test_deleted_source_leaves_the_objects(space):
    space.deploy({"a.yaml": CONFIG.format("a")}, targetNamespace=space.name)
    space.delete("GitRepository")
    space.gone("GitRepository")
    space.reconcile("Kustomization")
    space.not_ready("Kustomization", reason="ArtifactFailed")
    assert space.get("ConfigMap", "a") is not None
