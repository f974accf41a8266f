"""
What the end-to-end tests stand on: one control plane and one pair of controllers for the run, one namespace and one folder of repositories for each test.
A test that breaks a shared part (kills a controller, fills the disk) takes a stack of its own.
"""
import os
import re
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from cluster.cluster import ControlPlane  # noqa: E402
from cluster.controllers import NAMESPACE, Stack  # noqa: E402
from cluster.kube import ApiError, Kube  # noqa: E402
from cluster.process import Workspace  # noqa: E402
from peers.artifacts import Artifacts  # noqa: E402
from peers.certificates import Authority  # noqa: E402
from peers.git import GitServer, Repository  # noqa: E402
from peers.proxy import Link  # noqa: E402
from peers.sink import Sink  # noqa: E402
from space import KINDS, Space  # noqa: E402

# Another build of the controllers than ours, to hold the tests themselves against.
BINARIES = os.environ.get("WEIR_BINARIES")
# Waits that Flux's defaults make long, for tests that wait for them.
FLAGS = {"kustomize-controller": ["--requeue-dependency=2s"], "source-controller": []}


@pytest.fixture(scope="session")
def workspace():
    with Workspace("e2e") as workspace:
        yield workspace


@pytest.fixture(scope="session")
def authority(workspace):
    return Authority(workspace.folder("authority"))


@pytest.fixture(scope="session")
def certificate(authority):
    return authority.issue("server")


@pytest.fixture(scope="session")
def git_server(workspace):
    server = GitServer(workspace.folder("git"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def tls_git_server(workspace, git_server, certificate):
    """The same repositories over TLS, with a certificate of the private CA."""
    server = GitServer(git_server.folder, certificate)
    yield server
    server.close()


@pytest.fixture
def artifacts():
    artifacts = Artifacts()
    yield artifacts
    artifacts.close()


@pytest.fixture(scope="session")
def sink():
    sink = Sink()
    yield sink
    sink.close()


@pytest.fixture(scope="session")
def stack(sink):
    with ControlPlane() as plane:
        stack = Stack(plane, Kube(plane.admin), FLAGS, BINARIES, sink.url)
        stack.stays = True
        yield stack.start()


class Planes:
    """Control planes that one test after another may have, for as long as each leaves it as it was; a start takes seconds."""

    def __init__(self):
        self.free = []

    def take(self):
        if self.free:
            return self.free.pop()
        plane = ControlPlane()
        try:
            return plane.start()
        except BaseException:
            plane.stop()
            raise

    def give_back(self, plane):
        """Keeps the plane, if no object of ours is left there; the controllers of the test end."""
        plane.end_others()
        try:
            kube = Kube(plane.admin)
            left = any(kube.list(kind) for kind in KINDS)
            for lease in kube.list("Lease", NAMESPACE):
                kube.delete("Lease", lease["metadata"]["name"], NAMESPACE)
        except (OSError, ApiError):
            left = True
        if left:
            plane.stop()
        else:
            self.free.append(plane)

    def close(self):
        for plane in self.free:
            plane.stop()


@pytest.fixture(scope="session")
def planes():
    planes = Planes()
    yield planes
    planes.close()


def stacks(sink, planes, request):
    """
    Makes stacks of a test's own: own_stack(flags={...}) and what else Stack takes. spoils: nobody can have its control plane afterwards. linked: its controllers
    reach the API server through stack.link, which can freeze and be cut. apiserver: further flags of the API server; without: controllers of Kubernetes that it
    does without.
    """
    ends = []

    def end(plane, spoilt):
        if spoilt or getattr(request.node, "failed", False):
            plane.stop()
        else:
            planes.give_back(plane)

    def make(start=True, flags=None, spoils=False, linked=False, apiserver=(), without=(), **options):
        spoilt = bool(spoils or linked or apiserver or without or request.scope != "function")
        plane = ControlPlane(without) if spoilt else planes.take()
        ends.append(lambda: end(plane, spoilt))
        if spoilt:
            plane.apiserver.command += apiserver
            plane.start()
        link = Link(plane.port) if linked else None
        if link:
            ends.append(link.close)
        stack = Stack(plane, Kube(plane.admin), flags if flags is not None else FLAGS, BINARIES, sink.url, server=f"https://127.0.0.1:{link.port}" if link else None, **options)
        stack.link = link
        return stack.start() if start else stack
    yield make
    for close in reversed(ends):
        close()


own_stack = pytest.fixture(name="own_stack")(stacks)
# Stacks that stay until the end of the file.
file_stack = pytest.fixture(name="file_stack", scope="module")(stacks)


def identifier(request):
    """A name for what belongs to one test: its own name, as Kubernetes spells names, and unique."""
    plain = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    return f"{plain[:40].rstrip('-')}-{os.urandom(3).hex()}"


@pytest.fixture
def repository(git_server, request):
    """Makes repositories that git_server serves; names are the test's own."""
    def make(files=None, **commit):
        repository = Repository(git_server.folder, identifier(request))
        repository.url = git_server.url(repository.name)
        if files is not None:
            repository.commit(files, **commit)
        return repository
    return make


@pytest.fixture
def space_in(own_stack, git_server, repository, request):
    """Makes a test's namespace in a stack. (It ends before a stack of the test's own does: hence the first argument.)"""
    spaces = []

    def make(stack):
        space = Space(stack, identifier(request), git_server, repository)
        spaces.append(space)
        return space
    yield make
    for space in spaces:
        if getattr(request.node, "failed", False):
            space.report()
        space.close()


@pytest.fixture
def space(stack, space_in):
    """The namespace of this test in the shared stack."""
    return space_in(stack)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if outcome.get_result().failed:
        item.failed = True
