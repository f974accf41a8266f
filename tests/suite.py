#!/usr/bin/env python3
"""
All tests, one after another; a line for each part, with the time it took, and a last line of totals: "N passed, N failed". Exits with 1 if one failed.

The output of a part is kept in build/test/PART.log, and shown if it failed. Parts given as arguments are run alone.
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOGS = f"{ROOT}/build/test"
MAKE = os.environ.get("MAKE", "make")
JOBS = f"-j{len(os.sched_getaffinity(0))}"


def make(*arguments):
    return [MAKE, "--no-print-directory", JOBS, *arguments]


def unit(*arguments):
    """Unit programs are built by all processors and run one after another."""
    return [make("unit-programs", *arguments), [MAKE, "--no-print-directory", "unit", *arguments]]


def threaded():
    """The unit tests whose room or whose own text starts threads: the ones that ThreadSanitizer can say something about."""
    found = []
    for test in glob.glob("tests/unit/*/test_*.c") + glob.glob("tests/unit/engine/*/test_*.c"):
        room = re.sub(r"^tests/unit/(.*)/test_(.*)\.c$", r"\1/\2", test)
        texts = [test, *glob.glob(f"libshared/{room}*.c"), *glob.glob(f"{room}.c")]
        if any("pthread_" in open(path).read() for path in texts):
            found.append(test)
    return sorted(found)


def reproducible():
    """Builds the same files in another folder, one with a blank in its name and no history: the binaries must be the same, byte for byte."""
    copy = f"{ROOT}/build/some place else"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(ROOT, copy, symlinks=True, ignore=lambda folder, names: {"build", ".git"} if folder == ROOT else set())
    commit = subprocess.run(["git", "rev-parse", "--short=7", "HEAD"], capture_output=True, text=True).stdout.strip() or "0000000"
    commands = [os.path.dirname(path) for path in glob.glob("*-controller/command.c")]
    controllers = [os.path.dirname(path) for path in glob.glob("*-controller/main.c")]
    binaries = commands + [f"{name}-manager" if name in commands else name for name in controllers]
    return [make(f"COMMIT={commit}"), ["env", "-C", copy, *make(f"COMMIT={commit}")], *[["cmp", f"build/bin/{name}", f"{copy}/build/bin/{name}"] for name in binaries]]


PARTS = {
    "build": lambda: [make("all", "lib")],
    "unit": lambda: unit(),
    "headers": lambda: [make("check-headers")],
    "unit-asan": lambda: unit("MODE=asan"),
    "unit-tsan": lambda: unit("MODE=tsan", "UNIT_SOURCES=" + " ".join(threaded())) if threaded() else [],
    "clang": lambda: [make("CC=clang", "BUILD=build/clang", "all", "lib", "unit-programs")],
    "reproducible": reproducible,
    "fuzz": lambda: [make("fuzz-replay")],
    "e2e": lambda: [[sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=15", "tests/e2e"]],
}


def count(output):
    """What the programs of a part said about their tests: (passed, failed)."""
    totals = re.findall(r"^\S+.*: (\d+) passed, (\d+) failed$", output, re.M)
    if totals:
        return sum(int(p) for p, _ in totals), sum(int(f) for _, f in totals)
    last = re.findall(r"^(?:=+ )?((?:\d+ \w+(?:, )?)+) in [\d.]+s", output, re.M)
    if last:
        numbers = {word.rstrip("s"): int(n) for n, word in re.findall(r"(\d+) (\w+)", last[-1])}
        return numbers.get("passed", 0), numbers.get("failed", 0) + numbers.get("error", 0)
    return 0, 0


def run(name):
    """Runs one part; returns (passed, failed). A part whose programs count no tests is one test."""
    start, status = time.monotonic(), 0
    path = f"{LOGS}/{name}.log"
    with open(path, "wb") as log:
        for command in PARTS[name]():
            status = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL).returncode
            if status:
                break
    with open(path, errors="replace") as log:
        output = log.read()
    passed, failed = count(output)
    if status and not failed:
        failed = 1
    if not passed and not failed:
        passed = 1
    print(f"{name:14} {passed:5} passed {failed:4} failed {time.monotonic() - start:7.1f} s", flush=True)
    if failed:
        print("\n".join(output.splitlines()[-200:]), flush=True)
    return passed, failed


def main():
    os.chdir(ROOT)
    os.makedirs(LOGS, exist_ok=True)
    names = sys.argv[1:] or list(PARTS)
    # The control plane of the end-to-end tests, the command line of Flux and promtool are built meanwhile, if they never were.
    tools = subprocess.Popen("tests/cluster/build etcd kube-apiserver kube-controller-manager && tests/cluster/build-flux flux && tests/cluster/build-promtool",
                             shell=True, stdout=subprocess.DEVNULL) if "e2e" in names else None
    results = []
    for name in names:
        if name == "e2e":
            tools.wait()
        results.append(run(name))
    passed, failed = (sum(column) for column in zip(*results))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
