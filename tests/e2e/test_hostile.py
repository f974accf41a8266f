"""Repositories that mean harm: each ends as a condition of its own object; the controllers and the other objects do not notice."""
import os

import pytest

from artifact import artifact_of, download, files, members
from cluster.kube import find_condition
from cluster.process import until

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata:\n  k: v\n"
HEAD = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"


@pytest.fixture(autouse=True)
def controllers_stay(space):
    """Whatever a test here sends: nobody is restarted, and another object is served afterwards."""
    before = [c.process.pid for c in space.stack.controllers.values()]
    yield
    assert [c.process.pid for c in space.stack.controllers.values()] == before and all(c.process.running for c in space.stack.controllers.values())
    repository = space.repository({"after.yaml": CONFIG.replace("name: c", "name: after")})
    space.source(repository, "after")
    space.kustomization("after", targetNamespace=space.name, sourceRef={"kind": "GitRepository", "name": "after"})
    space.ready("Kustomization", "after", seconds=20)


def build_failure(space, tree, **spec):
    """The message of BuildFailed for a repository."""
    space.source(space.repository(tree))
    space.ready("GitRepository", seconds=60)
    space.kustomization(targetNamespace=space.name, **spec)
    return find_condition(space.not_ready("Kustomization", reason="BuildFailed", seconds=60))["message"]


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../../../etc/passwd", "/", "loop"])
def test_symlinks_that_point_outside(space, target):
    space.source(space.repository({"a.yaml": CONFIG, "loop": ("symlink", target)}))
    data = download(artifact_of(space.ready("GitRepository")))
    assert all(m.isfile() or m.isdir() for m in members(data)) and set(files(data)) == {"a.yaml"}


@pytest.mark.parametrize("reference", ["/etc/passwd", "../../../../../../etc/passwd", "../../../../../../proc/self/environ"])
def test_resources_outside_of_the_artifact(space, reference):
    text = build_failure(space, {"kustomization.yaml": HEAD + f"resources: [{reference}]\n"})
    assert "root:" not in text and "KUBECONFIG" not in text


@pytest.mark.parametrize("reference", ["/etc/passwd", "../../../../../../etc/passwd"])
def test_generator_files_outside_of_the_artifact(space, reference):
    text = build_failure(space, {"kustomization.yaml": HEAD + f"configMapGenerator:\n- name: stolen\n  files: [{reference}]\n"})
    assert "root:" not in text
    assert not [o for o in space.kube.list("ConfigMap", space.name) if o["metadata"]["name"].startswith("stolen")]


def test_cycle_of_kustomizations(space):
    text = build_failure(space, {"kustomization.yaml": HEAD + "resources: [a]\n", "a/kustomization.yaml": HEAD + "resources: [../b]\n", "b/kustomization.yaml": HEAD + "resources: [../a]\n"})
    assert "cycle" in text, text


def test_kustomization_that_names_itself(space):
    text = build_failure(space, {"kustomization.yaml": HEAD + "resources: [.]\n"})
    assert "cycle" in text, text


def test_ten_thousand_levels_of_bases(space):
    """Side by side in the repository, each the base of the next."""
    tree = {f"l{i}/kustomization.yaml": HEAD + f"resources: [../l{i + 1}]\n" for i in range(10000)}
    tree["l10000/kustomization.yaml"] = HEAD + "resources: [c.yaml]\n"
    tree["l10000/c.yaml"] = CONFIG
    space.source(space.repository(tree))
    space.ready("GitRepository", seconds=60)
    space.kustomization(targetNamespace=space.name, path="./l0", timeout="5m")
    text = find_condition(space.not_ready("Kustomization", reason="BuildFailed", seconds=90))["message"]
    assert text.endswith("more than 256 kustomizations above each other") and "/l10'" in text, text


def test_yaml_bomb(space):
    """Aliases of aliases: nine levels of nine are 387 million nodes."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    text = build_failure(space, {"a.yaml": CONFIG + "\n".join(lines) + "\n"})
    assert "alias" in text, text


def test_yaml_nested_without_end(space):
    text = build_failure(space, {"a.yaml": CONFIG + "deep: " + "[" * 100000 + "\n"})
    assert text.endswith("yaml: exceeded max depth of 512"), text


def test_regular_expression_without_end(space):
    """A patch target that makes a backtracking matcher work for years."""
    space.source(space.repository({"a.yaml": CONFIG.replace("name: c", "name: " + "a" * 60)}))
    space.ready("GitRepository")
    space.kustomization(targetNamespace=space.name, timeout="30s",
                        patches=[{"patch": '[{"op": "add", "path": "/data/x", "value": "y"}]', "target": {"kind": "ConfigMap", "name": "(a+)+b"}}])
    space.ready("Kustomization", seconds=60)
    assert space.get("ConfigMap", "a" * 60)["data"] == {"k": "v"}, "it matches nothing"


def test_huge_file(space):
    """A manifest of 30 MB: bounded by an error or applied, never held for good."""
    space.source(space.repository({"a.yaml": CONFIG, "big.yaml": CONFIG.replace("name: c", "name: big") + "".join(f"  k{i}: {'x' * 1000}\n" for i in range(30000))}))
    space.ready("GitRepository", seconds=60)
    space.kustomization(targetNamespace=space.name, timeout="5m")
    text = find_condition(space.not_ready("Kustomization", reason="ReconciliationFailed", seconds=90))["message"]
    assert text == f"ConfigMap/{space.name}/big dry-run failed (RequestEntityTooLarge): Request entity too large: limit is 3145728\n"
    for c in space.stack.controllers.values():
        until(lambda: c.pss() < 32 << 20, 30, lambda: f"{c.name} small again: {c.pss() >> 20} MiB; its heap:\n{c.heap()}", 0.5)


def test_texts_that_end_before_their_end(space):
    """A NUL ends a string in C: who judges the whole text (an admission policy) must not be led around by it."""
    space.source(space.repository({"a.yaml": CONFIG}))
    space.ready("GitRepository")
    space.kube.create_namespace(f"{space.name}-other")
    space.kustomization(targetNamespace=f"{space.name}-other\0", serviceAccountName="nobody\0x")
    message = find_condition(space.not_ready("Kustomization", reason="InvalidSpec"))["message"]
    assert message.endswith("must not contain a NUL") and not space.kube.get("ConfigMap", "c", f"{space.name}-other")
