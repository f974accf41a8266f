"""Artifact servers that mean harm, or nothing at all: what each sends ends as a condition that says what was wrong, and nothing of it stays."""
import gzip
import hashlib
import http.server
import io
import os
import tarfile
import threading

import pytest

from cluster.kube import find_condition
from cluster.process import until
from space import GIT

CONFIG = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata:\n  k: v\n"


class Artifacts:
    """Serves whatever a test says at /: a function that gets the request's handler."""

    def __init__(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.requests += 1
                try:
                    outer.answer(self)
                except OSError:
                    """The client left."""

            def log_message(self, *_):
                pass
        self.answer, self.requests = None, 0
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def serve(self, data):
        def answer(request):
            request.send_response(200)
            request.send_header("Content-Length", str(len(data)))
            request.end_headers()
            request.wfile.write(data)
        self.answer = answer
        return data

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def artifacts():
    artifacts = Artifacts()
    yield artifacts
    artifacts.close()


def advertise(space, url, data, **artifact):
    """A GitRepository that nobody fetches and that says it has this artifact."""
    generation = space.source("http://127.0.0.1:1/none", suspend=True)["metadata"]["generation"]
    digest = hashlib.sha256(data).hexdigest()
    status = {"observedGeneration": generation, "artifact": {"path": "x", "url": url, "revision": f"main@sha1:{digest[:40]}", "digest": f"sha256:{digest}",
                                                             "lastUpdateTime": "2026-01-01T00:00:00Z", **artifact}}
    space.kube.request("PATCH", space.kube.path("GitRepository", space.name, "app") + "/status?fieldManager=test&force=true",
                       {"apiVersion": GIT, "kind": "GitRepository", "metadata": {"name": "app"}, "status": status}, "application/apply-patch+yaml")


def archive(*names):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(CONFIG)
            tar.addfile(member, io.BytesIO(CONFIG))
    return gzip.compress(data.getvalue())


def test_directories_without_end_leave_nothing_behind(space, artifacts):
    """An archive whose directories nest deeper than a process has descriptors: its unpacked tree goes away like any other."""
    advertise(space, artifacts.url, artifacts.serve(archive("d/" * 1900 + "c.yaml")))
    space.kustomization(targetNamespace=space.name, retryInterval="1h")
    message = find_condition(space.not_ready("Kustomization", reason="BuildFailed"))["message"]
    temporary = space.stack.kustomize.temporary
    assert "nested deeper" in message and temporary not in message
    before = [entry.name for entry in os.scandir(temporary) if os.path.isdir(f"{temporary}/{entry.name}/d")]
    until(lambda: not any(os.path.exists(f"{temporary}/{name}") for name in before), 20, "the tree removed", 0.2)


def test_server_that_sends_more_than_there_is(space, artifacts):
    """No more is read than the source says its artifact has; what it says of itself is trusted no further than its digest."""
    good = archive("c.yaml")
    sent = []

    def endless(request):
        request.send_response(200)
        request.end_headers()
        sent.append(0)
        while True:
            sent[-1] += request.wfile.write(good)
    artifacts.answer = endless
    advertise(space, artifacts.url, good, size=len(good))
    space.kustomization(targetNamespace=space.name, retryInterval="1h")
    message = find_condition(space.not_ready("Kustomization", reason="ArtifactFailed"))["message"]
    digest = hashlib.sha256(good).hexdigest()
    assert message == f"failed to verify archive: computed digest doesn't match provided 'sha256:{digest}' (check whether file size exceeds max download size)"
    # What is on its way between the two of them, and not a second time.
    assert len(sent) == 1 and sent[0] < 64 << 20
    artifacts.serve(good)
    space.reconcile("Kustomization")
    space.ready("Kustomization")


def unavailable(request):
    request.send_response(503)
    request.send_header("Content-Length", "0")
    request.end_headers()


def test_server_that_is_down_holds_nobody_up(space, space_in, artifacts):
    """Eight that try again keep no place of the four workers, and the next artifact ends their trying."""
    artifacts.answer = unavailable
    advertise(space, artifacts.url, b"")
    names = [f"app-{i}" for i in range(8)]
    for name in names:
        space.kustomization(name, targetNamespace=space.name, nameSuffix=f"-{name}", retryInterval="1h")
    until(lambda: artifacts.requests, 15, "a first attempt")
    other = space_in(space.stack)
    other.source(other.repository({"c.yaml": CONFIG.decode()}))
    other.kustomization(targetNamespace=other.name)
    other.ready("Kustomization", seconds=8)
    good = artifacts.serve(archive("c.yaml"))
    advertise(space, artifacts.url, good)
    for name in names:
        space.ready("Kustomization", name, seconds=8)


def test_retries_that_the_timeout_cuts_short_say_why(space, artifacts):
    """The last word is the deadline's, but the reader is told what was tried again until then."""
    artifacts.answer = unavailable
    advertise(space, artifacts.url, b"")
    space.kustomization(targetNamespace=space.name, timeout="30s", retryInterval="1h")
    message = find_condition(space.not_ready("Kustomization", reason="ArtifactFailed", seconds=60))["message"]
    assert message.startswith("context deadline exceeded") and f"failed to download archive from {artifacts.url} (status: 503)" in message
