"""Kustomization: what a repository says ends up in the cluster, and what the object says about it."""
import json

import pytest
import yaml

from cluster.kube import APPLY, ApiError, find_condition
from cluster.process import until
from cluster.workload import TENANT

OWNER = "kustomize.toolkit.fluxcd.io"


def config(name, value="1", extra=""):
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n{extra}data:\n  k: \"{value}\"\n"


def kustomize(*resources, more=""):
    return f"apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [{', '.join(resources)}]\n{more}"


def inventory(o):
    return {e["id"] for e in (o["status"].get("inventory") or {}).get("entries") or []}


def message(o):
    return find_condition(o)["message"]


def test_first_reconcile(space):
    seen = space.kube.observe("Kustomization", space.name, "app")
    repository = space.deploy({"a.yaml": config("a")}, targetNamespace=space.name)
    o = space.get("Kustomization")
    revision = f"main@sha1:{repository.head()}"
    ready = find_condition(o)
    assert (ready["reason"], ready["message"]) == ("ReconciliationSucceeded", f"Applied revision: {revision}")
    assert [c["type"] for c in o["status"]["conditions"]] == ["Ready"]
    assert o["metadata"]["finalizers"] == ["finalizers.fluxcd.io"]
    assert o["status"]["lastAppliedRevision"] == o["status"]["lastAttemptedRevision"] == revision
    assert o["status"]["inventory"]["entries"] == [{"id": f"{space.name}_a__ConfigMap", "v": "v1"}]
    history = o["status"]["history"]
    assert len(history) == 1 and history[0]["lastReconciledStatus"] == "ReconciliationSucceeded" and history[0]["metadata"]["revision"] == revision
    made = space.get("ConfigMap", "a")
    assert made["data"] == {"k": "1"}
    # The finalizer comes before the first object that it is about: versions are those of one store.
    finalized = until(lambda: [o for _, _, o in list(seen) if o["metadata"].get("finalizers")], 15, "the finalizer seen")[0]["metadata"]["resourceVersion"]
    assert int(finalized) < int(made["metadata"]["resourceVersion"])
    assert made["metadata"]["labels"] == {f"{OWNER}/name": "app", f"{OWNER}/namespace": space.name}
    assert [(m["manager"], m["operation"]) for m in made["metadata"]["managedFields"]] == [("kustomize-controller", "Apply")]
    assert "ConfigMap/%s/a created" % space.name in space.wait_event("Kustomization", "Progressing", "created")["message"]
    finished = space.wait_event("Kustomization", "ReconciliationSucceeded", "Reconciliation finished in")
    assert finished["message"].endswith(", next run in 1h0m0s") and finished["type"] == "Normal"


@pytest.mark.parametrize("bad", [{"interval": "5"}, {"timeout": "1x"}, {"deletionPolicy": "Never"}, {"namePrefix": ""},
                                 {"kubeConfig": {"secretRef": {"name": "a"}, "configMapRef": {"name": "b"}}}], ids=lambda v: next(iter(v)))
def test_api_server_rejects(space, bad):
    with pytest.raises(ApiError) as e:
        space.kustomization(**bad)
    assert e.value.status == 422
    if "kubeConfig" in bad:
        assert "exactly one of spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef must be specified" in e.value.body["message"]


def test_suspended(space):
    repository = space.deploy({"a.yaml": config("a")}, targetNamespace=space.name)
    space.spec("Kustomization", suspend=True)
    revision = space.push(repository, {"a.yaml": config("a", "2")})
    space.ready("GitRepository", revision=revision)
    said = [e["message"] for e in space.events("Kustomization")]
    token = space.reconcile("Kustomization")
    o = space.wait("Kustomization", "app", lambda o: o["status"].get("lastHandledReconcileAt") == token, 15)
    assert [e["message"] for e in space.events("Kustomization")] == said
    assert revision not in o["status"]["lastAppliedRevision"] and space.get("ConfigMap", "a")["data"] == {"k": "1"}
    assert o["status"]["observedGeneration"] == o["metadata"]["generation"]
    space.spec("Kustomization", suspend=None)
    space.ready("Kustomization", revision=revision)
    assert space.get("ConfigMap", "a")["data"] == {"k": "2"}


def test_source_that_comes_later(space):
    """It is looked for at the retry interval; and when it comes the Kustomization runs at once, whatever the interval."""
    space.kustomization(targetNamespace=space.name, retryInterval="1s")
    o = space.not_ready("Kustomization", reason="ArtifactFailed", current=False)
    assert message(o) == 'GitRepository.source.toolkit.fluxcd.io "app" not found'
    looked = lambda: [r for r in space.stack.kustomize.log() if r["msg"] == "Source 'GitRepository/app' not found" and r["namespace"] == space.name]
    until(lambda: len(looked()) > 2, 20, "looked for again", 0.2)
    assert not space.events("Kustomization")
    space.spec("Kustomization", retryInterval=None)
    space.wait("Kustomization", "app", lambda o: o["metadata"]["generation"] == 2, 5)
    repository = space.repository({"a.yaml": config("a")})
    space.source(repository)
    space.ready("Kustomization", revision=repository.head(), seconds=15)


def test_push_reaches_the_cluster(space):
    repository = space.deploy({"a.yaml": config("a"), "b.yaml": config("b")}, targetNamespace=space.name)
    before = space.get("ConfigMap", "b")["metadata"]["resourceVersion"]
    revision = space.push(repository, {"a.yaml": config("a", "2")})
    space.ready("Kustomization", revision=revision, seconds=15)
    assert space.get("ConfigMap", "a")["data"] == {"k": "2"}
    assert space.get("ConfigMap", "b")["metadata"]["resourceVersion"] == before
    said = space.wait_event("Kustomization", "Progressing", "ConfigMap/%s/a configured" % space.name)["message"]
    assert "ConfigMap/%s/b" % space.name not in said


def test_nothing_changed_nothing_written(space):
    space.deploy({"a.yaml": config("a"), "s.yaml": "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\nstringData:\n  p: w\n"}, targetNamespace=space.name)
    before = {(k, n): space.get(k, n)["metadata"]["resourceVersion"] for k, n in (("ConfigMap", "a"), ("Secret", "s"))}
    space.ready("Kustomization", handled=space.reconcile("Kustomization"))
    assert before == {(k, n): space.get(k, n)["metadata"]["resourceVersion"] for k, n in before}
    assert not [e for e in space.events("Kustomization") if "configured" in e["message"]]


@pytest.mark.parametrize("path", ["../../etc", "/etc", "./nothing/here"])
def test_path_stays_inside(space, path):
    space.source(space.repository({"a.yaml": config("a")}))
    space.ready("GitRepository")
    space.kustomization(path=path)
    assert "kustomization path not found: stat " in message(space.not_ready("Kustomization", reason="ArtifactFailed"))


def test_artifact_that_is_not_what_its_source_says(space):
    """Other bytes than the digest says are not used; an artifact that is not there (yet) is waited for."""
    repository = space.deploy({"a.yaml": config("a")}, targetNamespace=space.name, retryInterval="1s")
    space.spec("GitRepository", suspend=True)
    good = space.get("GitRepository")["status"]["artifact"]

    def says(**artifact):
        space.patch("GitRepository", "app", {"status": {"artifact": {**good, **artifact}}}, subresource="status")
    wrong = "sha256:" + "0" * 64
    says(digest=wrong)
    o = space.not_ready("Kustomization", reason="ArtifactFailed")
    assert message(o) == f"failed to verify archive: computed digest doesn't match provided '{wrong}' (check whether file size exceeds max download size)"
    says(url=good["url"].replace(".tar.gz", "0.tar.gz"), digest="sha256:" + "1" * 64)
    space.wait("Kustomization", "app", lambda o: message(o) == "Source is not ready, artifact not found, retrying in 2s", 20)
    assert space.get("ConfigMap", "a")["data"] == {"k": "1"}
    says()
    space.ready("Kustomization", revision=repository.head(), seconds=15)


def test_path_of_the_artifact(space):
    """However a path is written, it begins at the artifact's root."""
    space.source(space.repository({"deep/app/a.yaml": config("a"), "other/b.yaml": config("b")}))
    for n, path in enumerate(("/deep/app", "../../deep/app", "deep//./app/", "./other/../deep/app")):
        space.kustomization(f"app-{n}", path=path, targetNamespace=space.name, nameSuffix=f"-{n}")
    for n in range(4):
        assert inventory(space.ready("Kustomization", f"app-{n}")) == {f"{space.name}_a-{n}__ConfigMap"}


def test_plain_files_beside_a_folder_with_a_kustomization(space):
    """A folder that has a kustomization.yaml is one resource; the plain files beside it are resources of their own."""
    space.deploy({"a.yaml": config("a"), "deep/er/b.yaml": config("b"), "sub/kustomization.yaml": kustomize("c.yaml", more="namePrefix: pre-\n"),
                  "sub/c.yaml": config("c"), "sub/left-out.yaml": config("d"), "notes.txt": "no manifest"}, targetNamespace=space.name)
    assert inventory(space.get("Kustomization")) == {f"{space.name}_{n}__ConfigMap" for n in ("a", "b", "pre-c")}


def test_file_that_is_no_manifest(space):
    space.source(space.repository({"a.yaml": config("a"), "broken.yaml": "just: text\n"}))
    space.kustomization(targetNamespace=space.name)
    assert "failed to decode Kubernetes YAML from" in message(space.not_ready("Kustomization", reason="BuildFailed"))
    assert space.get("ConfigMap", "a") is None


def test_empty_folder_prunes_all(space):
    repository = space.deploy({"app/a.yaml": config("a"), "README": "x"}, path="./app", targetNamespace=space.name)
    revision = space.push(repository, {"app/notes.txt": "nothing here"}, delete=["app/a.yaml"])
    o = space.ready("Kustomization", revision=revision)
    space.gone("ConfigMap", "a")
    assert not inventory(o)


def test_overrides_of_the_spec(space):
    """namePrefix, nameSuffix, images, patches, components and commonMetadata meet what the file says."""
    deployment = ("apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 0\n  selector:\n    matchLabels: {app: web}\n  template:\n    metadata:\n"
                  "      labels: {app: web}\n    spec:\n      containers:\n      - name: web\n        image: web\n")
    component = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nconfigMapGenerator:\n- name: extra\n  literals: [a=b]\n  options: {disableNameSuffixHash: true}\n"
    space.deploy({"kustomization.yaml": kustomize("web.yaml", more="images:\n- name: web\n  newTag: v1\n"), "web.yaml": deployment, "parts/extra/kustomization.yaml": component},
                 targetNamespace=space.name, namePrefix="p-", nameSuffix="-s", images=[{"name": "web", "newName": "example.com/web"}],
                 patches=[{"patch": '[{"op": "add", "path": "/metadata/annotations", "value": {"patched": "yes"}}]', "target": {"kind": "Deployment"}}],
                 components=["parts/extra", "parts/missing"], ignoreMissingComponents=True, commonMetadata={"labels": {"team": "x"}, "annotations": {"note": "y"}})
    web = space.get("Deployment", "p-web-s")
    assert web["spec"]["template"]["spec"]["containers"][0]["image"] == "example.com/web:v1"
    assert web["metadata"]["annotations"]["patched"] == "yes" and web["metadata"]["annotations"]["note"] == "y"
    assert web["metadata"]["labels"]["team"] == "x"
    assert space.get("ConfigMap", "p-extra-s")["data"] == {"a": "b"}


def test_remote_component_is_refused(space):
    space.source(space.repository({"kustomization.yaml": kustomize("a.yaml"), "a.yaml": config("a")}))
    space.kustomization(components=["https://example.com/component"])
    assert "component path 'https://example.com/component' must be local and relative" in message(space.not_ready("Kustomization", reason="BuildFailed"))


def test_all_in_one_in_any_order(space):
    """A CRD, its object, a Namespace, what is in it, and a ClusterRole, in the wrong order in the files: the first reconcile applies all."""
    unique = space.name.rpartition("-")[2]
    crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"widgets.{unique}.example.com"},
           "spec": {"group": f"{unique}.example.com", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
                    "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}}
    other = f"{space.name}-more"
    space.deploy({
        "1-widget.yaml": f"apiVersion: {unique}.example.com/v1\nkind: Widget\nmetadata:\n  name: w\n  namespace: {other}\nspec: {{size: 1}}\n",
        "2-config.yaml": config("in-it", extra=f"  namespace: {other}\n"),
        "3-role.yaml": f"apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: system:{unique}\nrules: []\n",
        "4-namespace.yaml": f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {other}\n",
        "5-crd.yaml": yaml.safe_dump(crd)})
    ids = inventory(space.get("Kustomization"))
    assert f"{other}_w_{unique}.example.com_Widget" in ids and f"_system__{unique}_rbac.authorization.k8s.io_ClusterRole" in ids and f"_{other}__Namespace" in ids
    space.delete("Kustomization")
    space.gone("Kustomization")
    assert space.kube.get("ClusterRole", f"system:{unique}") is None or space.kube.get("ClusterRole", f"system:{unique}")["metadata"].get("deletionTimestamp")


def test_bogus_namespace_of_a_cluster_scoped_object(space):
    unique = space.name.rpartition("-")[2]
    text = "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata:\n  name: {}-" + unique + "\n  namespace: bogus\n{}provisioner: example.com/x\n"
    space.deploy({"fast.yaml": text.format("fast", ""), "once.yaml": text.format("once", "  annotations: {kustomize.toolkit.fluxcd.io/ssa: IfNotPresent}\n")})
    expected = {f"_{name}-{unique}_storage.k8s.io_StorageClass" for name in ("fast", "once")}
    assert inventory(space.get("Kustomization")) == expected
    assert inventory(space.ready("Kustomization", handled=space.reconcile("Kustomization"))) == expected


def test_substitution(space):
    space.apply(config("vars", extra="  labels: {reconcile.fluxcd.io/watch: Enabled}\n").replace("k: \"1\"", "region: eu\n  size: small"))
    space.secret("secret-vars", size="large")
    text = config("a", "${region}-${size}-${inline}-${unset:=default}-$${kept}") + "---\n" + config("b", "${region}", "  annotations: {kustomize.toolkit.fluxcd.io/substitute: disabled}\n")
    text += "---\n" + config("c", "X").replace('"X"', "${quote}${id}${quote}")
    space.deploy({"a.yaml": text}, targetNamespace=space.name,
                 postBuild={"substitute": {"inline": "yes", "quote": '"', "id": "123"}, "substituteFrom": [{"kind": "ConfigMap", "name": "vars"}, {"kind": "Secret", "name": "secret-vars"},
                                                                              {"kind": "ConfigMap", "name": "absent", "optional": True}]})
    assert space.get("ConfigMap", "a")["data"] == {"k": "eu-large-yes-default-${kept}"}
    assert space.get("ConfigMap", "b")["data"] == {"k": "${region}"}
    assert space.get("ConfigMap", "c")["data"] == {"k": "123"}
    space.patch("ConfigMap", "vars", {"data": {"region": "us"}})
    space.data("a", {"k": "us-large-yes-default-${kept}"}, seconds=15)


@pytest.mark.parametrize("text, post_build, part", [
    ("${nope}", {"substitute": {"x": "y"}}, 'envsubst error: variable substitution failed: variable not set (strict mode): "nope"'),
    ("${a-b}", {"substitute": {"x": "y"}}, "missing closing brace"),
    ("x", {"substitute": {"a-b": "y"}}, "'a-b' var name is invalid, must match '^[_[:alpha:]][_[:alpha:][:digit:]]*$'"),
    ("x", {"substituteFrom": [{"kind": "Secret", "name": "x"}]}, "substitute from 'Secret/x' error: secrets \"x\" not found"),
], ids=["unset", "grammar", "name", "missing"])
def test_substitution_that_fails(space, text, post_build, part):
    space.source(space.repository({"a.yaml": config("a", text)}))
    space.kustomization(targetNamespace=space.name, postBuild=post_build)
    o = space.not_ready("Kustomization", reason="BuildFailed")
    assert part in message(o) and message(o).startswith("post build failed for 'ConfigMap.v1.[noGrp]/a': ")
    assert o["status"]["lastAttemptedRevision"]


def test_number_where_a_text_must_be(space):
    """Quotes of a value do not survive its substitution: what looks like a number is one, and the API server does not take it for a text."""
    space.source(space.repository({"a.yaml": config("a", extra="  annotations: {id: \"${id}\"}\n")}))
    space.kustomization(targetNamespace=space.name, postBuild={"substitute": {"id": "123"}})
    text = message(space.not_ready("Kustomization", reason="ReconciliationFailed"))
    assert text.startswith(f"ConfigMap/{space.name}/a dry-run failed") and ".metadata.annotations.id: expected string" in text


def test_encrypted_secret_that_stays_so(space):
    """It is refused, unless it says that nobody is to decrypt it: then it is applied as it is."""
    secret = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n{}data:\n  a: RU5DW10=\nsops: {{mac: x}}\n"
    repository = space.repository({"s.yaml": secret.format("")})
    space.source(repository)
    space.kustomization(targetNamespace=space.name)
    o = space.not_ready("Kustomization", reason="ReconciliationFailed")
    assert message(o) == f"Secret/{space.name}/s is SOPS encrypted, configuring decryption is required for this secret to be reconciled"
    space.ready("Kustomization", revision=space.push(repository, {"s.yaml": secret.format("  annotations: {kustomize.toolkit.fluxcd.io/decrypt: Disabled}\n")}))
    assert space.get("Secret", "s")["data"] == {"a": "RU5DW10="}


def test_prune_follows_the_repository(space):
    repository = space.deploy({"a.yaml": config("a"), "b.yaml": config("b"), "c.yaml": config("c", extra="  annotations: {kustomize.toolkit.fluxcd.io/prune: disabled}\n")},
                              targetNamespace=space.name)
    revision = space.push(repository, {}, delete=["b.yaml", "c.yaml"])
    o = space.ready("Kustomization", revision=revision)
    space.gone("ConfigMap", "b")
    assert space.get("ConfigMap", "c") is not None
    assert inventory(o) == {f"{space.name}_a__ConfigMap"}
    assert "ConfigMap/%s/b deleted" % space.name in space.wait_event("Kustomization", "Progressing", "deleted")["message"]
    revision = space.push(repository, {"d.yaml": config("d", extra="  labels: {kustomize.toolkit.fluxcd.io/prune: Disabled}\n")})
    space.ready("Kustomization", revision=revision)
    space.delete("Kustomization")
    space.gone("Kustomization")
    space.gone("ConfigMap", "a")
    assert space.get("ConfigMap", "d") is not None


NO_DELETION = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: "${NS}"}
spec:
  failurePolicy: Fail
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [DELETE], resources: [configmaps]}]}
  validations: [{expression: "false", message: it stays}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: "${NS}"}
spec: {policyName: "${NS}", validationActions: [Deny], matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: "${NS}"}}}}
"""


def test_deletion_that_admission_denies(space):
    """It is said, the entry stays in the inventory, and it is tried again."""
    repository = space.deploy({"a.yaml": config("a"), "b.yaml": config("b")}, targetNamespace=space.name, retryInterval="1s")
    space.apply(NO_DELETION)
    trial = space.kube.path("ConfigMap", space.name, "b") + "?dryRun=All"
    until(lambda: space.kube.call("DELETE", trial)[0] == 422, 30, "deletions denied", 0.2)
    revision = space.push(repository, delete=["b.yaml"])
    o = space.not_ready("Kustomization", reason="PruneFailed")
    assert message(o).startswith(f"delete failed, errors: ConfigMap/{space.name}/b delete failed: ") and "it stays" in message(o)
    assert inventory(o) == {f"{space.name}_{name}__ConfigMap" for name in "ab"} and o["status"]["history"][0]["lastReconciledStatus"] == "PruneFailed"
    for kind in ("ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"):
        space.kube.delete(kind, space.name)
    o = space.ready("Kustomization", revision=revision)
    assert space.get("ConfigMap", "b") is None and inventory(o) == {f"{space.name}_a__ConfigMap"}


def test_no_prune_leaves_behind(space):
    repository = space.deploy({"a.yaml": config("a"), "b.yaml": config("b")}, targetNamespace=space.name, prune=False)
    o = space.ready("Kustomization", revision=space.push(repository, {}, delete=["b.yaml"]))
    assert space.get("ConfigMap", "b") is not None and inventory(o) == {f"{space.name}_a__ConfigMap"}


def test_object_that_moves_between_two(space):
    """What another Kustomization took over is skipped by the one that loses it."""
    repository = space.repository({"one/a.yaml": config("a"), "two/b.yaml": config("b")})
    space.source(repository)
    space.kustomization("one", path="./one", targetNamespace=space.name)
    space.kustomization("two", path="./two", targetNamespace=space.name)
    for name in ("one", "two"):
        space.ready("Kustomization", name)
    uid = space.get("ConfigMap", "a")["metadata"]["uid"]
    space.spec("Kustomization", "one", suspend=True)
    revision = space.push(repository, {"two/a.yaml": config("a"), "one/c.yaml": config("c")}, delete=["one/a.yaml"])
    space.ready("Kustomization", "two", revision=revision)
    space.spec("Kustomization", "one", suspend=None)
    space.ready("Kustomization", "one", revision=revision)
    assert space.get("ConfigMap", "a")["metadata"]["uid"] == uid
    assert space.get("ConfigMap", "a")["metadata"]["labels"][f"{OWNER}/name"] == "two"


@pytest.mark.parametrize("policy, prune, stays", [("MirrorPrune", True, False), ("MirrorPrune", False, True), ("Orphan", True, True), ("Delete", False, False),
                                                  ("WaitForTermination", False, False)])
def test_deletion_policies(space, policy, prune, stays):
    space.deploy({"a.yaml": config("a")}, targetNamespace=space.name, prune=prune, deletionPolicy=policy)
    space.delete("Kustomization")
    space.gone("Kustomization")
    assert (space.get("ConfigMap", "a") is not None) == stays


def test_deletion_waits_for_termination(space):
    space.deploy({"a.yaml": config("a", extra="  finalizers: [example.com/hold]\n")}, targetNamespace=space.name, deletionPolicy="WaitForTermination")
    space.delete("Kustomization")
    space.wait("ConfigMap", "a", lambda o: o["metadata"].get("deletionTimestamp"), 15)
    assert space.get("Kustomization") is not None
    space.patch("ConfigMap", "a", {"metadata": {"finalizers": None}})
    space.gone("Kustomization")


def test_suspended_deletion_deletes_nothing(space):
    space.deploy({"a.yaml": config("a")}, targetNamespace=space.name)
    space.spec("Kustomization", suspend=True)
    space.delete("Kustomization")
    space.gone("Kustomization")
    assert space.get("ConfigMap", "a") is not None


def test_impersonation_bounds_what_is_applied(space):
    space.apply(TENANT)
    repository = space.deploy({"a.yaml": config("a")}, targetNamespace=space.name, serviceAccountName="tenant", retryInterval="1s")
    space.push(repository, {"role.yaml": f"apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: {space.name}\nrules: []\n"})
    o = space.not_ready("Kustomization", reason="ReconciliationFailed")
    assert f"system:serviceaccount:{space.name}:tenant" in message(o) and "orbidden" in message(o)
    assert space.kube.get("ClusterRole", space.name) is None


def test_deletion_without_the_service_account(space):
    space.apply(TENANT)
    space.deploy({"a.yaml": config("a")}, targetNamespace=space.name, serviceAccountName="tenant", retryInterval="1s")
    space.delete("ServiceAccount", "tenant")
    space.gone("ServiceAccount", "tenant")
    space.delete("Kustomization")
    space.gone("Kustomization")
    space.wait_event("Kustomization", "ReconciliationSucceeded", "unable to prune objects")


def test_one_invalid_object_of_ten(space):
    files = {f"c{i}.yaml": config(f"c{i}") for i in range(9)}
    files["bad.yaml"] = "apiVersion: v1\nkind: Service\nmetadata:\n  name: bad\nspec:\n  ports: [{port: 99999}]\n"
    space.source(space.repository(files))
    space.kustomization(targetNamespace=space.name)
    o = space.not_ready("Kustomization", reason="ReconciliationFailed")
    assert f"Service/{space.name}/bad dry-run failed (Invalid)" in message(o)
    assert not [c for c in space.kube.list("ConfigMap", space.name) if c["metadata"]["name"].startswith("c")]


IMMUTABLE = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n{}immutable: true\nstringData:\n  k: {}\n"


def test_immutable_field(space):
    repository = space.deploy({"s.yaml": IMMUTABLE.format("", "one")}, targetNamespace=space.name)
    uid = space.get("Secret", "s")["metadata"]["uid"]
    space.push(repository, {"s.yaml": IMMUTABLE.format("", "two")})
    assert f"Secret/{space.name}/s dry-run failed (Invalid)" in message(space.not_ready("Kustomization", reason="ReconciliationFailed"))
    revision = space.push(repository, {"s.yaml": IMMUTABLE.format("  annotations: {kustomize.toolkit.fluxcd.io/force: Enabled}\n", "two")})
    space.ready("Kustomization", revision=revision)
    assert space.get("Secret", "s")["metadata"]["uid"] != uid


def test_apply_policies(space):
    """IfNotPresent is made once and left alone; Ignore is never touched; Merge keeps what others add."""
    note = "  annotations: {kustomize.toolkit.fluxcd.io/ssa: %s}\n"
    space.apply(config("ignored", "theirs", note % "Ignore"))
    repository = space.deploy({"once.yaml": config("once", "1", note % "IfNotPresent"), "merged.yaml": config("merged", "1", note % "Merge"), "ignored.yaml": config("ignored", "ours"),
                               "plain.yaml": config("plain")},
                              targetNamespace=space.name)
    space.patch("ConfigMap", "once", {"data": {"k": "edited"}}, manager="kubectl-edit")
    space.patch("ConfigMap", "merged", {"data": {"extra": "added"}}, manager="kubectl-edit")
    space.patch("ConfigMap", "plain", {"data": {"k": "edited", "extra": "added"}}, manager="flux-client-side-apply")
    # The last edit: when it is undone, those before were seen too.
    space.data("plain", {"k": "1", "extra": "added"})   # that manager is not taken over
    space.ready("Kustomization", handled=space.reconcile("Kustomization"))
    assert space.get("ConfigMap", "once")["data"] == {"k": "edited"}
    assert space.get("ConfigMap", "merged")["data"] == {"k": "1", "extra": "added"}
    assert space.get("ConfigMap", "ignored")["data"] == {"k": "theirs"}
    revision = space.push(repository, {"a.yaml": config("a")}, delete=["once.yaml", "ignored.yaml"])
    space.ready("Kustomization", revision=revision)
    space.gone("ConfigMap", "once")
    assert space.get("ConfigMap", "ignored") is not None


def test_adoption_from_kubectl(space):
    """What a person applied from the client side becomes ours, with the fields that only they had set removed."""
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": space.name}, "data": {"k": "1", "extra": "x"}}
    space.kube.request("POST", space.kube.path("ConfigMap", space.name) + "?fieldManager=kubectl-client-side-apply",
                       {**theirs, "metadata": {**theirs["metadata"], "annotations": {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(theirs)}}})
    space.deploy({"a.yaml": config("a")}, targetNamespace=space.name)
    o = space.get("ConfigMap", "a")
    assert o["data"] == {"k": "1"} and "annotations" not in o["metadata"]


def test_depends_on(space):
    repository = space.repository({"one/a.yaml": config("a", "${v}"), "two/b.yaml": config("b")})
    space.source(repository)
    space.kustomization("two", path="./two", targetNamespace=space.name, dependsOn=[{"name": "one"}])
    assert f"dependency '{space.name}/one' not found" in message(space.not_ready("Kustomization", "two", reason="DependencyNotReady", current=False))
    space.kustomization("one", path="./one", targetNamespace=space.name, postBuild={"substitute": {"other": "x"}})
    space.not_ready("Kustomization", "one", reason="BuildFailed")
    assert f"dependency '{space.name}/one' is not ready" in message(space.wait("Kustomization", "two", lambda o: "is not ready" in message(o)))
    assert space.get("ConfigMap", "b") is None
    space.spec("Kustomization", "one", postBuild={"substitute": {"v": "some"}})
    space.ready("Kustomization", "one")
    space.ready("Kustomization", "two", seconds=10)
    assert space.get("ConfigMap", "b") is not None
    # The same source: not before the other is at our revision.
    space.spec("Kustomization", "one", suspend=True)
    revision = space.push(repository, {"two/b.yaml": config("b", "2")})
    o = space.not_ready("Kustomization", "two", reason="DependencyNotReady", current=False)
    assert message(o) == f"dependency '{space.name}/one' revision is not up to date" and space.get("ConfigMap", "b")["data"] == {"k": "1"}
    assert space.wait_event("Kustomization", "DependencyNotReady", name="two")["message"] == "Dependencies do not meet ready condition, retrying in 2s"
    space.spec("Kustomization", "one", suspend=None)
    space.ready("Kustomization", "two", revision=revision, seconds=15)


def test_dependencies_in_a_circle(space):
    """They wait for each other and say so; everybody else goes on, also at the next revision."""
    repository = space.repository({"a.yaml": config("a")})
    space.source(repository)
    for name, needs in (("one", "two"), ("two", "one"), ("self", "self"), ("app", None)):
        space.kustomization(name, targetNamespace=space.name, nameSuffix=f"-{name}", dependsOn=needs and [{"name": needs}])
    revision = repository.head()
    for value in ("2", "3"):
        space.ready("Kustomization", revision=revision)
        for name, needs in (("one", "two"), ("two", "one"), ("self", "self")):
            # Not: was not found, which it was not when the first of them ran.
            o = space.not_ready("Kustomization", name, reason="DependencyNotReady", message="is not ready", current=False)
            assert message(o) == f"dependency '{space.name}/{needs}' is not ready"
        revision = space.push(repository, {"a.yaml": config("a", value)})
    space.ready("Kustomization", revision=revision)
    space.data("a-app", {"k": "3"})
    assert [c["metadata"]["name"] for c in space.kube.list("ConfigMap", space.name) if c["metadata"]["name"].startswith("a-")] == ["a-app"]


def test_cross_namespace_source(space, space_in):
    """A source of another namespace, which is the default that Flux ships."""
    other = space_in(space.stack)
    repository = other.repository({"a.yaml": config("a")})
    other.source(repository)
    space.kustomization(targetNamespace=space.name, sourceRef={"kind": "GitRepository", "name": "app", "namespace": other.name})
    space.ready("Kustomization", revision=repository.head())


def test_history_counts(space):
    """The same content again is the same entry, counted; other content is another entry, in front."""
    repository = space.deploy({"a.yaml": config("a", "1")}, targetNamespace=space.name)
    for value in ("2", "1", "2", "1"):
        space.ready("Kustomization", revision=space.push(repository, {"a.yaml": config("a", value)}))
    history = space.get("Kustomization")["status"]["history"]
    assert [h["totalReconciliations"] for h in history] == [3, 2]
    assert len({h["digest"] for h in history}) == 2
    for value in ("3", "4", "5", "6"):
        space.ready("Kustomization", revision=space.push(repository, {"a.yaml": config("a", value)}))
    history = space.get("Kustomization")["status"]["history"]
    assert [h["totalReconciliations"] for h in history] == [1, 1, 1, 1, 3]


def test_ignored_drift(space):
    """The replicas of a Deployment are somebody else's: they stay, also when an image changes."""
    deployment = ("apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 0\n  selector:\n    matchLabels: {app: web}\n  template:\n    metadata:\n"
                  "      labels: {app: web}\n    spec:\n      containers:\n      - name: web\n        image: web:v1\n")
    repository = space.deploy({"web.yaml": deployment}, targetNamespace=space.name, ignore=[{"paths": ["/spec/replicas"], "target": {"kind": "Deployment"}}])
    space.patch("Deployment", "web", {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 2}}, manager="autoscaler", content_type=APPLY)
    space.ready("Kustomization", handled=space.reconcile("Kustomization"))
    assert space.get("Deployment", "web")["spec"]["replicas"] == 2
    space.ready("Kustomization", revision=space.push(repository, {"web.yaml": deployment.replace("web:v1", "web:v2")}))
    web = space.get("Deployment", "web")
    assert web["spec"]["replicas"] == 2 and web["spec"]["template"]["spec"]["containers"][0]["image"] == "web:v2"


@pytest.mark.parametrize("field, spec", [("kubeConfig", {"kubeConfig": {"secretRef": {"name": "remote"}}}), ("decryption", {"decryption": {"provider": "sops"}}),
                                         ("healthCheckExprs", {"healthCheckExprs": [{"apiVersion": "v1", "kind": "ConfigMap", "current": "true"}]}),
                                         ("readyExpr", {"dependsOn": [{"name": "other", "readyExpr": "dep.status.ready"}]})])
def test_field_that_is_not_there_yet(space, field, spec):
    """Never half done: refused by name, without further tries."""
    space.source(space.repository({"a.yaml": config("a")}))
    space.kustomization(targetNamespace=space.name, **spec)
    o = space.kube.wait_condition("Kustomization", "app", space.name, "True", type="Stalled")
    assert field in message(o) and find_condition(o)["status"] == "False"
    assert space.get("ConfigMap", "a") is None
