"""Artifact servers that mean harm, or nothing at all: what each sends ends as a condition that says what was wrong, and nothing of it stays."""
import hashlib
import os

from cluster.kube import find_condition
from cluster.process import until
from peers.artifacts import archive

CONFIG = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata:\n  k: v\n"


def test_directories_without_end_leave_nothing_behind(space, artifacts):
    """An archive whose directories nest deeper than a process has descriptors: its unpacked tree goes away like any other."""
    space.advertise(artifacts.url, artifacts.serve(archive(CONFIG, "d/" * 1900 + "c.yaml")))
    space.kustomization(targetNamespace=space.name, retryInterval="1h")
    message = find_condition(space.not_ready("Kustomization", reason="BuildFailed"))["message"]
    temporary = space.stack.kustomize.temporary
    assert "nested deeper" in message and temporary not in message
    before = [entry.name for entry in os.scandir(temporary) if os.path.isdir(f"{temporary}/{entry.name}/d")]
    until(lambda: not any(os.path.exists(f"{temporary}/{name}") for name in before), 20, "the tree removed", 0.2)


def test_server_that_sends_more_than_there_is(space, artifacts):
    """No more is read than the source says its artifact has; what it says of itself is trusted no further than its digest."""
    good = archive(CONFIG, "c.yaml")
    sent = []

    def endless(request):
        request.send_response(200)
        request.end_headers()
        sent.append(0)
        while True:
            sent[-1] += request.wfile.write(good)
    artifacts.answer = endless
    space.advertise(artifacts.url, good, size=len(good))
    space.kustomization(targetNamespace=space.name, retryInterval="1h")
    message = find_condition(space.not_ready("Kustomization", reason="ArtifactFailed"))["message"]
    digest = hashlib.sha256(good).hexdigest()
    assert message == f"failed to verify archive: computed digest doesn't match provided 'sha256:{digest}' (check whether file size exceeds max download size)"
    # What is on its way between the two of them, and not a second time.
    assert len(sent) == 1 and sent[0] < 64 << 20
    artifacts.serve(good)
    space.reconcile("Kustomization")
    space.ready("Kustomization")


def test_server_that_is_down_holds_nobody_up(space, space_in, artifacts):
    """Eight that try again keep no place of the four workers, and the next artifact ends their trying."""
    artifacts.fail()
    space.advertise(artifacts.url, b"")
    names = [f"app-{i}" for i in range(8)]
    for name in names:
        space.kustomization(name, targetNamespace=space.name, nameSuffix=f"-{name}", retryInterval="1h")
    until(lambda: artifacts.requests, 15, "a first attempt")
    waiting = space.wait("Kustomization", names[0], lambda o: find_condition(o, "Reconciling"), what="says that it waits")
    assert find_condition(waiting, "Reconciling")["message"].endswith("(status: 503 Service Unavailable)"), waiting["status"]
    other = space_in(space.stack)
    other.source(other.repository({"c.yaml": CONFIG.decode()}))
    other.kustomization(targetNamespace=other.name)
    other.ready("Kustomization", seconds=8)
    good = artifacts.serve(archive(CONFIG, "c.yaml"))
    space.advertise(artifacts.url, good)
    for name in names:
        space.ready("Kustomization", name, seconds=8)
