"""
The kustomize engine beside the reference command line: same bytes, or both fail with the same text.

What our texts leave out (dumps of Go values, the time) and what they say beyond (the resource in their place, hints) is in normalize(); a case whose text is another one
has it as `error`, and a reason. tests/kustomize/corpus holds our own overlays, a few lines each; tests/kustomize/generate.py makes random ones from a seed. WEIR_PARITY_SEEDS=FIRST:LAST runs other or more
of these than the usual 500. WEIR_PARITY_TREES=DIR:DIR... builds every kustomization below these too: the examples of kustomize, kubeflow/manifests and kube-prometheus are the ones to hold ours against.
"""
import concurrent.futures
import glob
import os
import re
import subprocess
import sys

import pytest
import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, f"{ROOT}/tests/kustomize")

import generate  # noqa: E402

COMMAND = "build/bin/kustomize-controller"


@pytest.fixture(scope="module")
def commands():
    """The reference and ours, as the beginnings of two command lines."""
    tools = subprocess.run([f"{ROOT}/tests/cluster/build", "kustomize"], check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run(["make", "--no-print-directory", "-C", ROOT, COMMAND], check=True, capture_output=True)
    return [f"{tools}/kustomize", "build"], [f"{ROOT}/{COMMAND}", "build"]


def write(folder, files):
    for path, text in files.items():
        os.makedirs(os.path.dirname(f"{folder}/{path}"), exist_ok=True)
        with open(f"{folder}/{path}", "w", encoding="utf-8", newline="") as file:
            file.write(text)


MANY = object()  # for `error`: there may be several faults
REMOTE = object()  # and this: what is remote fails in both, each in its own words
GO_VALUE = r"map\[string\]interface \{\}\{.*?\}+: (?=yaml|json)"


def normalize(text, several):
    """What both say, whatever else each says."""
    text = re.sub(r"^# Warning: (strategic merge into|.* is longer than) .*\n", "", text, flags=re.M)
    text = re.sub(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d ", "", text, flags=re.M)
    # A resource where the reference shows its values; lines of the file instead of a text that nobody sees.
    text = re.sub(r"(?<=^Error: )(map\[string\]interface \{\}\(nil\): .*) \(.*/.*\)$", r"\1", text, flags=re.M | re.S)
    text = re.sub(f"^Error: (?:{GO_VALUE}|[^ ]*/[^ ]*: (?=yaml: |json: ))", "Error: ", text, flags=re.M | re.S)
    text = re.sub(r"(unsupported type: map\[interface \{\}\]interface \{\}): the key '.*' is not a string, put it in quotes", r"\1", text)
    text = re.sub(r"^  line \d+: (mapping key .* already defined at line )\d+", r"  line N: \1N", text, flags=re.M)
    text = re.sub(r"merging from generator (?:&\{0x[^}]*\}|[^ ]*): id", "merging from generator: id", text)
    text = text.replace(": %!w(<nil>)", "")
    text = re.sub(r"^(MakePrimitiveReplacer: bad replacement type=.*) val=.*", r"\1", text, flags=re.M)
    # What is met first differs from run to run there.
    text = re.sub(r"^(well-defined vars that were never replaced: )(.*)", lambda match: match[1] + ",".join(sorted(match[2].split(","))), text, flags=re.M)
    text = re.sub(r"^Error: .*(found multiple possible referrals).*", r"Error: \1", text, flags=re.M | re.S)
    text = re.sub(r"(node contents:\n).*", r"\1", text, flags=re.S)
    # Of several bad values in one resource each names another one first.
    return re.sub(r"^Error: (?:map\[string\]interface \{\}\(nil\): )?(yaml: cannot decode|json: unsupported value: |yaml: unmarshal errors:\n  line N: mapping key|json: unsupported type: ).*", "Error: bad value", text, flags=re.M | re.S) if several else text


def compare_texts(reference, ours, own):
    said = ours.stderr.decode(errors="replace")
    if own is REMOTE and any(words in said for words in ("is remote", "must specify --enable-helm", "external plugins disabled")):
        return None
    reference, ours = (normalize(done.stderr.decode(errors="replace"), own is MANY) for done in (reference, ours))
    if own not in (None, MANY, REMOTE):
        return None if own in said and ours != reference else f"the text is not '{own}', or no longer another one: {said}"
    return None if ours == reference else f"wanted the text:\n{reference}\ngot:\n{ours}"


def compare(commands, folder, options=(), error=None):
    """None, or how the two differ."""
    reference, ours = (subprocess.run([*command, folder, *options], capture_output=True, timeout=120) for command in commands)
    if ours.returncode not in (0, 1):
        return f"ours ended with {ours.returncode}: {ours.stderr.decode(errors='replace')}"
    if reference.returncode != 0:
        if ours.returncode != 1 or ours.stdout:
            return f"only the reference fails: {reference.stderr.decode(errors='replace')[:1000]}"
        # The reference ends with 2 where it panics, and its text is a trace.
        return compare_texts(reference, ours, error) if reference.returncode == 1 else None
    if ours.returncode != 0:
        return f"only ours fails: {ours.stderr.decode(errors='replace')}"
    if ours.stdout != reference.stdout:
        return f"wanted:\n{reference.stdout.decode(errors='replace')}\ngot:\n{ours.stdout.decode(errors='replace')}"
    return compare_texts(reference, ours, error)


def differences(commands, cases):
    """Runs the comparisons on all processors; the names of those that differ, and how."""
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        results = pool.map(lambda case: (case[0], compare(commands, *case[1:])), cases)
        return {name: difference for name, difference in results if difference}


def show(found, total):
    assert not found, f"{len(found)} of {total} differ\n" + "\n".join(f"== {name}\n{difference}" for name, difference in list(found.items())[:5])


@pytest.mark.parametrize("topic", sorted(glob.glob(f"{ROOT}/tests/kustomize/corpus/*.yaml")), ids=lambda path: os.path.basename(path)[:-5])
def test_corpus(commands, topic, tmp_path):
    cases = []
    with open(topic, encoding="utf-8") as file:
        for number, case in enumerate(yaml.safe_load(file)):
            folder = f"{tmp_path}/{number}"
            write(folder, case["files"])
            cases.append((case["name"], os.path.join(folder, case.get("directory", "")).rstrip("/"), case.get("options", []), case.get("error")))
    assert len({name for name, *_ in cases}) == len(cases), "two cases of one name"
    show(differences(commands, cases), len(cases))


def test_random_overlays(commands, tmp_path):
    first, last = (int(number) for number in os.environ.get("WEIR_PARITY_SEEDS", "0:500").split(":"))
    cases = []
    for seed in range(first, last):
        write(f"{tmp_path}/{seed}", generate.tree(seed))
        cases.append((f"seed {seed}", f"{tmp_path}/{seed}", (), MANY))
    show(differences(commands, cases), len(cases))


def kustomizations(top):
    """The directories below, and this one, that have a kustomization."""
    for folder, _, names in sorted(os.walk(top)):
        if {"kustomization.yaml", "kustomization.yml", "Kustomization"} & set(names):
            yield folder


@pytest.mark.skipif("WEIR_PARITY_TREES" not in os.environ, reason="WEIR_PARITY_TREES names no trees")
@pytest.mark.parametrize("order", ["legacy", "none"])
def test_trees_of_others(commands, order):
    """With neither git nor a network a remote base of the reference ends where ours does. What both print is the same, in both orders."""
    commands = [["env", "PATH=", "HTTP_PROXY=http://127.0.0.1:9", "HTTPS_PROXY=http://127.0.0.1:9", *command] for command in commands]
    cases = [(folder, folder, ("--load-restrictor=LoadRestrictionsNone", f"--reorder={order}"), REMOTE) for top in os.environ["WEIR_PARITY_TREES"].split(":") for folder in kustomizations(top)]
    assert cases
    show(differences(commands, cases), len(cases))


# Every field of a kustomization file: a text (str), a bool, a number, a list of texts, a map of texts, an object, a list of objects.
SELECTOR = dict.fromkeys(["group", "version", "kind", "name", "namespace", "labelSelector", "annotationSelector"], str)
OPTIONS = {"delimiter": str, "index": int, "encoding": str, "create": bool}
CHANGES = {"labels": dict, "annotations": dict, "disableNameSuffixHash": bool, "immutable": bool}
GENERATOR = {"name": str, "namespace": str, "behavior": str, "literals": list, "files": list, "envs": list, "env": str, "options": CHANGES}
IMAGE = dict.fromkeys(["name", "newName", "newTag", "tagSuffix", "digest"], str)
PATCH = {"path": str, "patch": str, "target": SELECTOR, "options": {"allowNameChange": bool, "allowKindChange": bool}}
FIELDS = {
    "apiVersion": str, "kind": str, "metadata": {"name": str, "namespace": str, "labels": dict, "annotations": dict}, "openapi": dict, "namePrefix": str, "nameSuffix": str,
    "namespace": str, "commonLabels": dict, "commonAnnotations": dict, "patchesStrategicMerge": list, "patchesJson6902": [PATCH], "patches": [PATCH], "images": [IMAGE], "imageTags": [IMAGE],
    "labels": [{"pairs": dict, "includeSelectors": bool, "includeTemplates": bool, "fields": [{"group": str, "version": str, "kind": str, "path": str, "create": bool}]}],
    "replacements": [{"path": str, "source": {**dict.fromkeys(["group", "version", "kind", "name", "namespace", "fieldPath"], str), "options": OPTIONS}, "sourceValue": str,
                      "targets": [{"select": SELECTOR, "reject": [SELECTOR], "fieldPaths": list, "options": OPTIONS}]}],
    "replicas": [{"name": str, "count": int}], "vars": [{"name": str, "objref": dict.fromkeys(["apiVersion", "group", "version", "kind", "name", "namespace"], str), "fieldref": {"fieldPath": str}}],
    "sortOptions": {"order": str, "legacySortOptions": {"orderFirst": list, "orderLast": list}}, "resources": list, "components": list, "crds": list, "bases": list,
    "configMapGenerator": [GENERATOR], "secretGenerator": [{**GENERATOR, "type": str}], "generatorOptions": CHANGES, "configurations": list, "generators": list, "transformers": list,
    "validators": list, "buildMetadata": list,
}


def wrong_types(fields, wrap=lambda value: value):
    """Kustomizations with one value of a wrong type each."""
    for name, kind in fields.items():
        def inside(value, name=name):
            return wrap({name: value})
        if isinstance(kind, dict):
            yield inside("x")
            yield from wrong_types(kind, inside)
        elif isinstance(kind, list):
            yield from (inside("x"), inside(["x"]))
            yield from wrong_types(kind[0], lambda value, inside=inside: inside([value]))
        else:
            yield from {str: [inside(5)], bool: [inside("x")], int: [inside("x")], list: [inside("x"), inside([5])], dict: [inside("x"), inside({"a": 5})]}[kind]


def test_wrong_types(commands, tmp_path):
    cases = []
    for number, kustomization in enumerate(wrong_types(FIELDS)):
        write(f"{tmp_path}/{number}", {"kustomization.yaml": yaml.safe_dump(kustomization)})
        cases.append((str(kustomization), f"{tmp_path}/{number}"))
    show(differences(commands, cases), len(cases))
