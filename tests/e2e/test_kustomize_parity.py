"""
The kustomize engine beside the reference command line: same bytes, or both fail.

tests/kustomize/corpus holds our own overlays, a few lines each; tests/kustomize/generate.py makes random ones from a seed. WEIR_PARITY_SEEDS=FIRST:LAST runs other or more
of these than the usual 500.
"""
import concurrent.futures
import glob
import os
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


def compare(commands, folder, options=()):
    """None, or how the two differ."""
    reference, ours = (subprocess.run([*command, folder, *options], capture_output=True, timeout=120) for command in commands)
    if ours.returncode not in (0, 1):
        return f"ours ended with {ours.returncode}: {ours.stderr.decode(errors='replace')}"
    if reference.returncode != 0:
        # The reference ends with 2 where it panics.
        return None if ours.returncode == 1 and not ours.stdout else f"only the reference fails: {reference.stderr.decode(errors='replace')[:1000]}"
    if ours.returncode != 0:
        return f"only ours fails: {ours.stderr.decode(errors='replace')}"
    if ours.stdout != reference.stdout:
        return f"wanted:\n{reference.stdout.decode(errors='replace')}\ngot:\n{ours.stdout.decode(errors='replace')}"
    return None


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
            cases.append((case["name"], os.path.join(folder, case.get("directory", "")).rstrip("/"), case.get("options", [])))
    assert len({name for name, *_ in cases}) == len(cases), "two cases of one name"
    show(differences(commands, cases), len(cases))


def test_random_overlays(commands, tmp_path):
    first, last = (int(number) for number in os.environ.get("WEIR_PARITY_SEEDS", "0:500").split(":"))
    cases = []
    for seed in range(first, last):
        write(f"{tmp_path}/{seed}", generate.tree(seed))
        cases.append((f"seed {seed}", f"{tmp_path}/{seed}"))
    show(differences(commands, cases), len(cases))
