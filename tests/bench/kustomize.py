#!/usr/bin/env python3
"""
What a kustomize build costs, beside the reference command line on the same trees: CPU and peak memory of the whole process. Trees given as arguments are measured too.

    tests/bench/kustomize.py [--runs 5] [--reference] [DIR...]

Ours is kustomize-controller's command `build`, sandbox included. The reference takes minutes for the large trees, so it runs only for the small ones unless --reference
is given.
"""
import argparse
import os
import resource
import shutil
import subprocess
import tempfile

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web-{i}
spec:
  replicas: 1
  selector:
    matchLabels:
      app: web-{i}
  template:
    metadata:
      labels:
        app: web-{i}
    spec:
      containers:
      - name: web
        image: nginx:1.19
        envFrom:
        - configMapRef:
            name: settings-{i}
        ports:
        - containerPort: 80
"""
OTHERS = """\
---
apiVersion: v1
kind: Service
metadata:
  name: web-{i}
spec:
  selector:
    app: web-{i}
  ports:
  - port: 80
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings-{i}
data:
  number: "{i}"
  text: some text
"""
OVERLAY = """\
resources: [../base]
namePrefix: p-
namespace: production
labels:
- pairs: {environment: production}
  includeSelectors: true
images:
- {name: nginx, newTag: "1.20"}
"""

# name, Deployments, with Service and ConfigMap, what it must cost in milliseconds and MiB
TREES = [("one Deployment", 1, False, 3, 5), ("500 Deployments", 500, False, 60, None), ("1 500 resources", 500, True, None, None), ("4 500 resources", 1500, True, 400, 60), ("15 000 resources", 5000, True, None, None)]


def make_tree(folder, count, others):
    os.makedirs(f"{folder}/base")
    os.makedirs(f"{folder}/overlay")
    with open(f"{folder}/base/all.yaml", "w", encoding="utf-8") as file:
        file.write("---\n".join(DEPLOYMENT.format(i=i) + (OTHERS.format(i=i) if others else "") for i in range(count)))
    with open(f"{folder}/base/kustomization.yaml", "w", encoding="utf-8") as file:
        file.write("resources: [all.yaml]\n")
    with open(f"{folder}/overlay/kustomization.yaml", "w", encoding="utf-8") as file:
        file.write(OVERLAY + ("replicas: [{name: web-0, count: 3}]\n" if count == 1 else ""))
    return f"{folder}/overlay"


def definitions(count):
    """Large CustomResourceDefinitions: schemas four levels deep with a description everywhere, as code generators write them."""
    def schema(depth, name):
        text = {"description": f"The {name} that this part of the object describes, in a sentence or two that somebody wrote for those who come after.", "type": "string"}
        return text if depth == 0 else {**text, "type": "object", "properties": {f"{name}{i}": schema(depth - 1, f"{name}{i}") for i in "abcde"}}
    for number in range(count):
        yield yaml.safe_dump({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"things{number}.example.com"},
            "spec": {"group": "example.com", "names": {"kind": f"Thing{number}", "plural": f"things{number}"}, "scope": "Namespaced",
                     "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema(4, "field")}}]}})


def make_definitions(folder):
    os.makedirs(f"{folder}/base")
    os.makedirs(f"{folder}/overlay")
    with open(f"{folder}/base/all.yaml", "w", encoding="utf-8") as file:
        file.write("---\n".join([*definitions(16), *(DEPLOYMENT.format(i=i) for i in range(51))]))
    with open(f"{folder}/base/kustomization.yaml", "w", encoding="utf-8") as file:
        file.write("resources: [all.yaml]\n")
    with open(f"{folder}/overlay/kustomization.yaml", "w", encoding="utf-8") as file:
        file.write(OVERLAY)
    return f"{folder}/overlay"


# Forked by a shell, so that neither the CPU nor the memory of this program counts.
LOOP = 'n=$1; shift; while [ "$n" -gt 0 ]; do "$@" >/dev/null || exit 1; n=$((n - 1)); done'


def measure(command, runs):
    """(milliseconds of CPU, MiB or nothing) of a run; the best of three averages."""
    milliseconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(["sh", "-c", LOOP, "sh", str(runs), *command], check=True, stderr=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        milliseconds.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000 / runs)
    time = shutil.which("time")
    if not time:
        return min(milliseconds), ""
    report = subprocess.run([time, "-f", "%M", *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True).stderr
    return min(milliseconds), f"{int(report.split()[-1]) / 1024:.1f}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5, help="how many to average")
    parser.add_argument("--reference", action="store_true", help="run the reference on the large trees too")
    parser.add_argument("trees", nargs="*")
    arguments = parser.parse_args()
    tools = subprocess.run([f"{ROOT}/tests/cluster/build", "kustomize"], check=True, capture_output=True, text=True).stdout.strip()
    ours = [f"{ROOT}/build/bin/kustomize-controller", "build"]
    print(f"{'tree':24} {'ms':>9} {'must':>6} {'MiB':>7} {'must':>6} {'reference ms':>13} {'MiB':>7}")
    with tempfile.TemporaryDirectory() as scratch:
        trees = [(name, make_tree(f"{scratch}/{number}", count, others), count <= 500 and not others, *must) for number, (name, count, others, *must) in enumerate(TREES)]
        trees.append(("67 resources, 3.5 MB CRDs", make_definitions(f"{scratch}/definitions"), False, 150, 40))
        trees += [(os.path.basename(os.path.abspath(path)), path, True, None, None) for path in arguments.trees]
        for name, folder, small, milliseconds, mebibytes in trees:
            cpu, memory = measure([*ours, folder], arguments.runs)
            line = f"{name:24} {cpu:9.1f} {milliseconds or '':>6} {memory:>7} {mebibytes or '':>6}"
            if small or arguments.reference:
                cpu, memory = measure([f"{tools}/kustomize", "build", folder], 1)
                line += f" {cpu:13.1f} {memory:>7}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
