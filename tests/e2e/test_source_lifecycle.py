"""GitRepository at its edges: what it refuses by name, what it leaves behind, and what it does when it cannot clean up."""
import datetime
import os

import pytest

from artifact import artifact_of, download
from cluster.controllers import Controller
from cluster.kube import find_condition
from cluster.process import until
from peers.ssh import SshServer, keygen

FILES = {"c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\n"}
UNSUPPORTED = {
    "recurseSubmodules": True, "include": [{"repository": {"name": "other"}}], "sparseCheckout": ["deploy"], "verify": {"secretRef": {"name": "keys"}},
    "provider": "github",
}


@pytest.mark.parametrize("field", UNSUPPORTED)
def test_unsupported_field_is_refused_by_name(space, git_server, field):
    """Never half done: no fetch, Stalled, the field's name; without the field it goes on."""
    repository = space.repository(FILES)
    space.source(repository, **{field: UNSUPPORTED[field]})
    o = space.kube.wait_condition("GitRepository", "app", space.name, "True", type="Stalled")
    assert f"spec.{field} is not supported" in find_condition(o, "Stalled")["message"]
    assert find_condition(o)["status"] == "False" and not find_condition(o, "Reconciling")
    assert o["status"]["observedGeneration"] == o["metadata"]["generation"]
    assert not git_server.seen(repository.name)
    space.spec("GitRepository", **{field: None})
    o = space.ready("GitRepository", revision=repository.head())
    assert not find_condition(o, "Stalled") and not find_condition(o, "FetchFailed")


def test_include_that_is_gone_is_not_missed(space):
    """A condition that Flux left behind must not keep the object from being ready."""
    repository = space.repository(FILES)
    space.source(repository)
    o = space.ready("GitRepository")
    left = {"type": "IncludeUnavailable", "status": "True", "reason": "NotFound", "message": "gone", "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": 1}
    status, answer = space.kube.call("PATCH", space.kube.path("GitRepository", space.name, "app") + "/status",
                                     {"status": {"conditions": o["status"]["conditions"] + [left]}}, "application/merge-patch+json")
    assert status == 200, answer
    space.reconcile("GitRepository")
    space.kube.wait("GitRepository", "app", space.name, lambda o: not find_condition(o, "IncludeUnavailable"))
    space.ready("GitRepository")


def set_status(space, **fields):
    status, answer = space.kube.call("PATCH", space.kube.path("GitRepository", space.name, "app") + "/status", {"status": fields}, "application/merge-patch+json")
    assert status == 200, answer


def test_what_was_outdated_is_found_out_anew(space, git_server):
    """A run that ended between the fetch and the storage left ArtifactOutdated; one that cannot fetch does not know."""
    repository = space.repository(FILES)
    space.source(repository)
    o = space.ready("GitRepository")
    left = {"type": "ArtifactOutdated", "status": "True", "reason": "NewRevision", "message": "new upstream revision 'main@sha1:x'",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}
    git_server.rules[repository.name] = {"status": 404}
    set_status(space, conditions=o["status"]["conditions"] + [left])
    space.reconcile("GitRepository")
    o = space.not_ready("GitRepository", reason="GitOperationFailed")
    assert not find_condition(o, "ArtifactOutdated")


def test_revision_as_flux_once_wrote_it(space, git_server):
    """main/<commit> is main@sha1:<commit>: nothing is fetched, nothing is written."""
    repository = space.repository(FILES)
    space.source(repository)
    o = space.ready("GitRepository")
    set_status(space, artifact={**o["status"]["artifact"], "revision": f"main/{repository.head()}"})
    fetches = len(git_server.seen(repository.name, "/git-upload-pack"))
    token = space.reconcile("GitRepository")
    space.wait("GitRepository", "app", lambda o: o["status"].get("lastHandledReconcileAt") == token, 15, "acknowledged")
    o = space.ready("GitRepository")
    assert len(git_server.seen(repository.name, "/git-upload-pack")) == fetches
    assert artifact_of(o)["revision"] == f"main/{repository.head()}"
    assert find_condition(o)["message"] == f"stored artifact for revision 'main@sha1:{repository.head()}'"


@pytest.mark.parametrize("url", ["http://[::1/x.git", "https://", "ssh://git@host:port/x.git", "https://a b/x.git"])
def test_url_that_is_none(space, url):
    """Only a change of the object helps: Stalled, no retry."""
    space.source(url)
    o = space.kube.wait_condition("GitRepository", "app", space.name, "True", type="Stalled")
    assert find_condition(o, "Stalled")["reason"] == "URLInvalid" and f"failed to parse url '{url}': " in find_condition(o)["message"]
    assert find_condition(o, "FetchFailed")["reason"] == "URLInvalid" and not find_condition(o, "Reconciling")
    assert o["status"]["observedGeneration"] == o["metadata"]["generation"]


def failures(space):
    """When the runs of the object failed, in seconds."""
    return [datetime.datetime.fromisoformat(record["ts"].replace("Z", "+00:00")).timestamp() for record in space.stack.source.log()
            if record["msg"] == "Reconciler error" and record.get("namespace") == space.name]


def test_retries_of_a_missing_secret(space):
    """0.75, 1.5 s after the failures; once the Secret is there, the next one ends it, and the count begins anew."""
    repository = space.repository(FILES)
    space.source(repository)
    digest = artifact_of(space.ready("GitRepository"))["digest"]
    space.spec("GitRepository", secretRef={"name": "credentials"})
    o = space.not_ready("GitRepository", reason="AuthenticationFailed")
    assert find_condition(o, "FetchFailed")["reason"] == "AuthenticationFailed" and artifact_of(o)["digest"] == digest
    assert find_condition(o, "Reconciling")["reason"] == "ProgressingWithRetry"
    until(lambda: len(failures(space)) >= 3, 30, "two retries", 0.1)
    times = failures(space)
    for i, delay in enumerate((0.75, 1.5)):
        assert delay - 0.01 <= times[i + 1] - times[i] < delay + 1.5, (i, times)
    space.secret("credentials", username="ada", password="secret")
    space.ready("GitRepository", seconds=30)
    space.wait_event("GitRepository", "Succeeded", f"stored artifact for commit 'main@sha1:{repository.head()}'")
    count = len(failures(space))
    space.spec("GitRepository", secretRef={"name": "another"})
    until(lambda: len(failures(space)) >= count + 2, 15, "a retry", 0.05)
    times = failures(space)[count:]
    assert 0.74 <= times[1] - times[0] < 1.5 + 0.75


def test_retries_are_bounded(own_stack, space_in):
    """--max-retry-delay: the fifth retry waits no longer than the third."""
    stack = own_stack(flags={"source-controller": ["--min-retry-delay=250ms", "--max-retry-delay=1s"]})
    space = space_in(stack)
    space.source(space.repository(FILES), secretRef={"name": "credentials"})
    until(lambda: len(failures(space)) >= 6, 30, "five retries", 0.1)
    times = failures(space)
    for i, delay in enumerate((0.25, 0.5, 1, 1, 1)):
        assert delay - 0.01 <= times[i + 1] - times[i] < delay + 0.9, (i, times)


def test_service_account_is_refused_by_name(space):
    space.source(space.repository(FILES), provider="azure", serviceAccountName="robot")
    o = space.kube.wait_condition("GitRepository", "app", space.name, "True", type="Stalled")
    assert "is not supported" in find_condition(o, "Stalled")["message"]


def test_old_artifact_stays_while_the_server_is_away(space, git_server):
    repository = space.repository(FILES)
    space.source(repository)
    artifact = artifact_of(space.ready("GitRepository"))
    git_server.rules[repository.name] = {"status": 503}
    space.reconcile("GitRepository")
    o = space.not_ready("GitRepository", reason="GitOperationFailed")
    assert artifact_of(o) == artifact and find_condition(o, "ArtifactInStorage")["status"] == "True"
    download(artifact)


# As in a pod: without the right to write where a mode forbids it.
WITHOUT_RIGHTS = [] if os.geteuid() else ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


def test_storage_that_cannot_be_cleaned_keeps_the_object(own_stack, space_in):
    """The finalizer stays, the reason is told, and the deletion ends once the storage allows it."""
    stack = own_stack(start=False)
    old = stack.source
    stack.controllers["source-controller"] = Controller(stack.plane.workspace, "source-controller", old.process.env["KUBECONFIG"], os.environ.get("WEIR_BINARIES"),
                                                        wrapper=WITHOUT_RIGHTS)
    space = space_in(stack.start())
    space.source(space.repository(FILES))
    space.ready("GitRepository")
    folder = f"{stack.source.storage}/gitrepository/{space.name}/app"
    os.chmod(folder, 0o500)
    space.delete("GitRepository")
    event = space.wait_event("GitRepository", "GarbageCollectionFailed", "garbage collection for deleted resource failed")
    assert event["type"] == "Warning" and "Permission denied" in event["message"].replace("permission", "Permission")
    assert space.get("GitRepository")["metadata"]["finalizers"] == ["finalizers.fluxcd.io"]
    os.chmod(folder, 0o700)
    space.gone("GitRepository", seconds=60)
    assert not os.path.exists(folder)


def test_deleted_while_suspended(space):
    """Also while somebody else's finalizer keeps it: its artifact is not shown any more, and requests are acknowledged."""
    space.source(space.repository(FILES))
    space.ready("GitRepository")
    space.spec("GitRepository", suspend=True)
    space.patch("GitRepository", "app", {"metadata": {"finalizers": ["finalizers.fluxcd.io", "example.com/mine"]}})
    space.delete("GitRepository")
    o = space.wait("GitRepository", "app", lambda o: o["metadata"]["finalizers"] == ["example.com/mine"] and "artifact" not in o["status"], 15, "finalizer")
    assert o["status"]["observedGeneration"] == o["metadata"]["generation"]
    token = space.reconcile("GitRepository")
    space.wait("GitRepository", "app", lambda o: o["status"].get("lastHandledReconcileAt") == token, 15, "acknowledged")
    space.patch("GitRepository", "app", {"metadata": {"finalizers": None}})
    space.gone("GitRepository")


def test_trailing_line_break_is_hinted_at(space, git_server):
    repository = space.repository(FILES)
    git_server.rules[repository.name] = {"auth": {"basic": ("ada", "right")}}
    space.secret("credentials", username="ada", password="right\n")
    space.source(repository, secretRef={"name": "credentials"})
    message = find_condition(space.not_ready("GitRepository", reason="GitOperationFailed"))["message"]
    assert "authentication required: (what the secret holds ends in a line break)" in message and "right" not in message


def test_algorithms_of_ssh_are_the_operators_choice(own_stack, space_in, git_server, workspace, tmp_path):
    """--ssh-kex-algos: one that the server does not speak ends in the handshake, one that it does works."""
    sshd = SshServer(workspace, git_server.folder, f"sshd-{os.urandom(3).hex()}", ["KexAlgorithms curve25519-sha256"])
    private, public = keygen(str(tmp_path / "key"))
    sshd.authorize(public)
    stack = own_stack(flags={"source-controller": ["--ssh-kex-algos=ecdh-sha2-nistp256,ecdh-sha2-nistp384", "--ssh-hostkey-algos=ssh-ed25519"]})
    space = space_in(stack)
    repository = space.repository(FILES)
    space.secret("ssh", identity=private, known_hosts=sshd.known_hosts("ed25519"))
    space.source(sshd.url(repository.name), secretRef={"name": "ssh"})
    assert "ssh: handshake failed" in find_condition(space.not_ready("GitRepository", reason="GitOperationFailed"))["message"]
    flags = ["--ssh-kex-algos=ecdh-sha2-nistp256,curve25519-sha256", "--ssh-hostkey-algos=ssh-ed25519"]
    stack.source.process.stop()
    Controller(stack.plane.workspace, "source-controller", stack.source.process.env["KUBECONFIG"], os.environ.get("WEIR_BINARIES"), flags, label="second").start()
    space.ready("GitRepository", revision=repository.head())


def test_object_that_leaves_the_shard_leaves_its_files(own_stack, space_in):
    stack = own_stack(flags={"source-controller": ["--watch-label-selector=!sharding.fluxcd.io/key"]})
    space = space_in(stack)
    repository = space.repository(FILES)
    space.source(repository)
    space.source(repository, "stays")
    space.ready("GitRepository")
    space.ready("GitRepository", "stays")
    folder = f"{stack.source.storage}/gitrepository/{space.name}/app"
    assert os.path.isdir(folder)
    space.patch("GitRepository", "app", {"metadata": {"labels": {"sharding.fluxcd.io/key": "two"}}})

    def gone():
        space.reconcile("GitRepository", "stays")
        return not os.path.exists(folder)
    until(gone, 20, "the files gone", 0.2)
    assert os.path.isdir(f"{stack.source.storage}/gitrepository/{space.name}/stays")
    space.patch("GitRepository", "app", {"metadata": {"finalizers": None}})


def test_vanished_object_leaves_nothing_after_a_restart(own_stack, space_in):
    stack = own_stack()
    space = space_in(stack)
    repository = space.repository(FILES)
    space.source(repository)
    space.source(repository, "stays")
    space.ready("GitRepository")
    space.ready("GitRepository", "stays")
    stack.source.process.stop()
    space.patch("GitRepository", "app", {"metadata": {"finalizers": None}})
    space.delete("GitRepository")
    space.gone("GitRepository")
    root = f"{stack.source.storage}/gitrepository/{space.name}"
    open(f"{root}/stays/x.tar.gz.0123abcd.tmp", "w").close()
    stack.source.start()
    until(lambda: os.listdir(root) == ["stays"] and not [n for n in os.listdir(f"{root}/stays") if n.endswith(".tmp")], 20,
          lambda: f"only what is there: {os.listdir(root)} {os.listdir(f'{root}/stays')}")
    download(artifact_of(space.get("GitRepository", "stays")))
