"""GitRepository: which commit is chosen, what the object says about it, and when work is done or left."""
import os

import pytest

from artifact import artifact_of, download, files
from cluster.kube import ApiError, find_condition, metric
from cluster.process import until

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata:\n  k: %s\n"


def fetched(o):
    return artifact_of(o)["revision"]


def test_branch_becomes_an_artifact(space):
    repository = space.repository({"c.yaml": CONFIG % "1"})
    space.source(repository)
    o = space.ready("GitRepository")
    head = repository.head()
    ready = find_condition(o)
    assert (ready["reason"], ready["message"]) == ("Succeeded", f"stored artifact for revision 'main@sha1:{head}'")
    assert {c["type"] for c in o["status"]["conditions"]} == {"Ready", "ArtifactInStorage"}
    artifact = artifact_of(o)
    assert artifact["path"] == f"gitrepository/{space.name}/app/{head}.tar.gz"
    assert artifact["url"] == f"http://{space.stack.source.storage_address}/{artifact['path']}"
    assert artifact["revision"] == f"main@sha1:{head}"
    assert files(download(artifact)) == {"c.yaml": (CONFIG % "1").encode()}
    assert o["metadata"]["finalizers"] == ["finalizers.fluxcd.io"]
    assert o["status"]["observedGeneration"] == o["metadata"]["generation"]


def test_new_commit_is_announced(space, sink):
    """By an event, and by one write of the object."""
    repository = space.repository({"c.yaml": CONFIG % "1"}, message="the first")
    space.source(repository, interval="500ms")
    before = space.ready("GitRepository")["metadata"]["resourceVersion"]
    seen = space.kube.observe("GitRepository", space.name, "app")
    revision = repository.commit({"c.yaml": CONFIG % "2"}, message="the second line of work")
    after = space.ready("GitRepository", revision=revision)["metadata"]["resourceVersion"]
    versions = until(lambda: after in (v := {o["metadata"]["resourceVersion"] for _, _, o in list(seen)}) and v, 15, "the write seen")
    assert versions - {before} == {after}
    event = space.wait_event("GitRepository", "NewArtifact", "the second line of work")
    assert event["type"] == "Normal" and event["message"] == "stored artifact for commit 'the second line of work'"
    assert event["source"]["component"] == "source-controller"
    posted = until(lambda: [e for e in sink.about("GitRepository", "app", space.name, "NewArtifact") if "second" in e["message"]], 15, "the event posted")[0]
    artifact = artifact_of(space.get("GitRepository"))
    assert posted["severity"] == "info" and posted["reportingController"] == "source-controller"
    assert posted["metadata"] == {"source.toolkit.fluxcd.io/revision": artifact["revision"], "source.toolkit.fluxcd.io/digest": artifact["digest"]}


def test_unchanged_repository_costs_a_listing(space, git_server):
    """Ten intervals without a commit: the server is asked for its refs, nothing is fetched, the object is not written, however the commit was chosen."""
    files, repositories, before = {"c.yaml": CONFIG % "1"}, {}, {}
    for name in ("branch", "semver", "commit", "name"):
        repositories[name] = repository = space.repository(files, tag="1.0.0")
        ref = {"branch": {"branch": "main"}, "semver": {"semver": "1.x"}, "commit": {"branch": "main", "commit": repository.head()}, "name": {"name": "refs/heads/main"}}[name]
        space.source(repository, name, ref=ref, interval="200ms")
    for name in repositories:
        before[name] = space.ready("GitRepository", name)["metadata"]["resourceVersion"]

    def seen(name, what):
        return git_server.seen(repositories[name].name, what)
    fetches, listings = ({name: len(seen(name, what)) for name in repositories} for what in ("/git-upload-pack", "/info/refs"))
    until(lambda: all(len(seen(name, "/info/refs")) >= listings[name] + 10 for name in ("branch", "semver", "name")), 30, "ten listings")
    for name in repositories:
        assert not [r for r in seen(name, "/git-upload-pack")[fetches[name]:] if r[2].get("Git-Protocol") != "version=2"], name
        assert space.get("GitRepository", name)["metadata"]["resourceVersion"] == before[name], name


@pytest.mark.parametrize("state", ["ready", "failing", "suspended"])
def test_request_is_acknowledged(space, git_server, state):
    repository = space.repository({"c.yaml": CONFIG % "1"})
    if state == "failing":
        git_server.rules[repository.name] = {"status": 404}
    space.source(repository, suspend=state == "suspended")
    if state == "ready":
        space.ready("GitRepository")
    elif state == "failing":
        space.not_ready("GitRepository", reason="GitOperationFailed")
    asked = len(git_server.seen(repository.name))
    token = space.reconcile("GitRepository")
    space.wait("GitRepository", "app", lambda o: (o.get("status") or {}).get("lastHandledReconcileAt") == token, 15, "acknowledged")
    assert (len(git_server.seen(repository.name)) > asked) == (state != "suspended")
    if state == "failing":
        space.spec("GitRepository", suspend=True)
        generation = space.get("GitRepository")["metadata"]["generation"]
        o = space.wait("GitRepository", "app", lambda o: o["status"].get("observedGeneration") == generation, 15, "suspension seen")
        assert find_condition(o, "Reconciling")["observedGeneration"] == generation


def test_suspended_source_does_not_move(space):
    repository = space.repository({"c.yaml": CONFIG % "1"})
    space.source(repository)
    first = space.ready("GitRepository")
    space.spec("GitRepository", suspend=True)
    revision = repository.commit({"c.yaml": CONFIG % "2"})
    token = space.reconcile("GitRepository")
    o = space.wait("GitRepository", "app", lambda o: o["status"].get("lastHandledReconcileAt") == token, 15)
    assert artifact_of(o) == artifact_of(first)
    space.spec("GitRepository", suspend=None)
    space.ready("GitRepository", revision=revision)
    space.wait_event("GitRepository", "NewArtifact")


def test_missing_secret_recovers(space, git_server, sink):
    repository = space.repository({"c.yaml": CONFIG % "1"})
    git_server.rules[repository.name] = {"auth": {"basic": ("ada", "secret")}}
    space.source(repository, secretRef={"name": "credentials"})
    o = space.not_ready("GitRepository", reason="AuthenticationFailed", message="credentials")
    assert find_condition(o, "FetchFailed")["status"] == "True"
    o = space.wait("GitRepository", "app", lambda o: (find_condition(o, "Reconciling") or {}).get("reason") == "ProgressingWithRetry", 15)
    space.secret("credentials", username="ada", password="secret")
    o = space.ready("GitRepository", revision=repository.head())
    assert not find_condition(o, "FetchFailed") and not find_condition(o, "Reconciling")


def test_labelled_secret_that_changes_is_used_at_once(space, git_server):
    """The interval is an hour, and nothing failed that would be tried again. A Secret without the label is not watched."""
    repository, other = space.repository({"c.yaml": CONFIG % "1"}), space.repository({"c.yaml": CONFIG % "2"})
    for r in (repository, other):
        git_server.rules[r.name] = {"auth": {"basic": ("ada", "secret")}}
    for name in ("labelled", "plain"):
        space.secret(name, username="ada", password="secret")
    space.patch("Secret", "labelled", {"metadata": {"labels": {"reconcile.fluxcd.io/watch": "Enabled"}}})
    space.source(repository, secretRef={"name": "labelled"})
    space.source(other, "other", secretRef={"name": "plain"})
    space.ready("GitRepository")
    space.ready("GitRepository", "other")
    asked = len(git_server.seen(other.name))
    space.secret("plain", username="ada", password="new")
    space.secret("labelled", username="ada", password="new")
    assert "authentication required" in find_condition(space.not_ready("GitRepository", reason="GitOperationFailed"))["message"]
    assert len(git_server.seen(other.name)) == asked


def test_failed_fetch_that_recovers_is_announced(space, git_server):
    repository = space.repository({"c.yaml": CONFIG % "1"})
    space.source(repository)
    space.ready("GitRepository")
    git_server.rules[repository.name] = {"status": 500}
    space.reconcile("GitRepository")
    space.not_ready("GitRepository", reason="GitOperationFailed")
    git_server.rules[repository.name] = {}
    space.ready("GitRepository")
    space.wait_event("GitRepository", "Succeeded", "stored artifact for commit")


def test_precedence_of_references(space):
    """commit, name, tag, semver, branch: the first that is there wins."""
    repository = space.repository({"c.yaml": CONFIG % "0"})
    ids = {"commit": repository.commit({"c.yaml": CONFIG % "commit"}), "name": repository.commit({"c.yaml": CONFIG % "name"}),
           "tag": repository.commit({"c.yaml": CONFIG % "tag"}, tag="release"), "semver": repository.commit({"c.yaml": CONFIG % "semver"}, tag="1.2.3"),
           "branch": repository.commit({"c.yaml": CONFIG % "branch"})}
    repository.set_ref("refs/heads/named", ids["name"])
    ref = {"commit": ids["commit"], "name": "refs/heads/named", "tag": "release", "semver": ">=1.0.0", "branch": "main"}
    # A commit beside a name is looked for there: the name's branch contains it.
    expected = {"commit": None, "name": f"refs/heads/named@sha1:{ids['name']}", "tag": f"release@sha1:{ids['tag']}", "semver": f"1.2.3@sha1:{ids['semver']}",
                "branch": f"main@sha1:{ids['branch']}"}
    space.source(repository, ref=dict(ref))
    for field in ("commit", "name", "tag", "semver", "branch"):
        o = space.ready("GitRepository", revision=ids[field])
        if expected[field]:
            assert fetched(o) == expected[field]
        space.patch("GitRepository", "app", {"spec": {"ref": {field: None}}})
        del ref[field]
        if not ref:
            break


@pytest.mark.parametrize("annotated", [False, True], ids=["lightweight", "annotated"])
def test_tag_that_moves(space, annotated):
    repository = space.repository({"c.yaml": CONFIG % "1"}, tag="release", annotated=annotated)
    space.source(repository, ref={"tag": "release"})
    assert fetched(space.ready("GitRepository")) == f"release@sha1:{repository.head()}"
    revision = space.push(repository, {"c.yaml": CONFIG % "2"}, tag="release", annotated=annotated)
    assert fetched(space.ready("GitRepository", revision=revision)) == f"release@sha1:{revision}"


@pytest.mark.parametrize("range, tag", [("*", "1.0.0"), (">=0.1.0 <0.2.1", "0.2.0"), (">=1.0.0-0 <1.1.0-0", "1.0.1-rc.1"), ("~0.1", "0.1.1"), ("2.x", None)])
def test_semver_ranges(space, range, tag):
    repository = space.repository({"c.yaml": CONFIG % "0"})
    ids = {}
    for version in ("0.1.0", "0.1.1", "0.2.0", "v0.2.1", "1.0.0", "1.0.1-rc.1", "not-a-version"):
        ids[version] = repository.commit({"c.yaml": CONFIG % version}, tag=version)
    space.source(repository, ref={"semver": range})
    if tag is None:
        assert f"no match found for semver: {range}" in find_condition(space.not_ready("GitRepository", reason="GitOperationFailed"))["message"]
    else:
        assert fetched(space.ready("GitRepository")) == f"{tag}@sha1:{ids[tag]}"


def test_equal_versions_the_newest_commit_wins(space):
    repository = space.repository({"c.yaml": CONFIG % "0"})
    repository.commit({"c.yaml": CONFIG % "b"}, tag="1.0.0+b")
    newest = repository.commit({"c.yaml": CONFIG % "a"}, tag="1.0.0+a")
    space.source(repository, ref={"semver": "1.0.0"})
    assert fetched(space.ready("GitRepository")) == f"1.0.0+a@sha1:{newest}"


def test_ref_outside_of_branches(space):
    """A merge request's ref, whose commit is on no branch."""
    repository = space.repository({"c.yaml": CONFIG % "main"})
    merged = repository.commit({"c.yaml": CONFIG % "merged"}, branch="gone")
    repository.set_ref("refs/pull/7/merge", merged)
    repository.delete_ref("refs/heads/gone")
    space.source(repository, ref={"name": "refs/pull/7/merge"})
    o = space.ready("GitRepository")
    assert fetched(o) == f"refs/pull/7/merge@sha1:{merged}"
    assert files(download(artifact_of(o)))["c.yaml"] == (CONFIG % "merged").encode()


def test_commit_alone(space):
    repository = space.repository({"c.yaml": CONFIG % "1"})
    old = repository.head()
    repository.commit({"c.yaml": CONFIG % "2"})
    space.source(repository, ref={"commit": old, "branch": "main"})
    o = space.ready("GitRepository")
    assert fetched(o) == f"main@sha1:{old}"
    assert files(download(artifact_of(o)))["c.yaml"] == (CONFIG % "1").encode()
    space.apply([{"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": {"name": "bare"},
                  "spec": {"interval": "1h", "url": repository.url, "ref": {"commit": old}}}])
    assert fetched(space.ready("GitRepository", "bare")) == f"sha1:{old}"


@pytest.mark.parametrize("way", ["branch", "semver", "commit", "name"])
def test_one_commit_is_fetched_and_no_history(space, git_server, way):
    """However it is chosen: itself, its tree and its file. (The other tags have objects of their own, and so has what came before and after.)"""
    repository, packs = space.repository({"c.yaml": CONFIG % "1"}, tag="0.9.0"), []
    chosen = repository.commit({"c.yaml": CONFIG % "2"}, tag="1.0.0")
    repository.set_ref("refs/pull/7/merge", chosen)
    if way != "branch":
        repository.commit({"c.yaml": CONFIG % "3"}, tag="2.0.0")
    git_server.rules[repository.name] = {"pack": lambda pack: (pack and packs.append(int.from_bytes(pack[8:12], "big"))) or pack}
    ref = {"branch": {"branch": "main"}, "semver": {"semver": "1.x"}, "commit": {"commit": chosen, "branch": "main"}, "name": {"name": "refs/pull/7/merge"}}[way]
    space.source(repository, ref=ref)
    space.ready("GitRepository", revision=chosen)
    assert packs == [3]


def test_commit_of_a_server_that_hands_out_tips_only(space, git_server):
    """Then it is looked for in the history of its branch."""
    repository = space.repository({"c.yaml": CONFIG % "1"})
    old = repository.head()
    repository.commit({"c.yaml": CONFIG % "2"})
    text = f"ERR upload-pack: not our ref {old}\n"
    answer = (200, "application/x-git-upload-pack-result", f"{len(text) + 4:04x}{text}".encode())
    refused = []
    git_server.rules[repository.name] = {"reply": lambda path, body: (refused.append(path) or answer) if f"want {old}".encode() in body else None}
    space.source(repository, ref={"commit": old, "branch": "main"})
    o = space.ready("GitRepository")
    assert refused and fetched(o) == f"main@sha1:{old}"
    assert files(download(artifact_of(o)))["c.yaml"] == (CONFIG % "1").encode()


def test_commit_that_is_not_there(space):
    repository = space.repository({"c.yaml": CONFIG % "1"})
    space.source(repository, ref={"commit": "1" * 40, "branch": "main"})
    o = space.not_ready("GitRepository", reason="GitOperationFailed")
    assert "object not found" in find_condition(o)["message"]


def test_empty_repository(space):
    repository = space.repository()
    space.source(repository)
    o = space.not_ready("GitRepository", reason="EmptyGitRepository")
    assert "git repository is empty" in find_condition(o)["message"]


def test_missing_branch(space):
    space.source(space.repository({"c.yaml": CONFIG % "1"}), ref={"branch": "x"})
    o = space.not_ready("GitRepository", reason="GitOperationFailed")
    assert "couldn't find remote ref \"refs/heads/x\"" in find_condition(o)["message"]


def test_ignore_rules_changed_at_the_same_commit(space):
    repository = space.repository({"keep.yaml": CONFIG % "1", "drop.yaml": CONFIG % "2"})
    space.source(repository)
    first = artifact_of(space.ready("GitRepository"))
    space.spec("GitRepository", ignore="drop.yaml\n")
    o = space.wait("GitRepository", "app", lambda o: o["status"].get("observedIgnore") == "drop.yaml\n", 15)
    o = space.ready("GitRepository")
    second = artifact_of(o)
    assert (second["revision"], second["path"]) == (first["revision"], first["path"])
    assert second["digest"] != first["digest"]
    assert set(files(download(second))) == {"keep.yaml"}


def test_what_is_left_out_is_said(space):
    """A range beside a tag, and symbolic links: neither is an error, and whoever wonders finds it in the events."""
    repository = space.repository({"c.yaml": CONFIG % "1", "link": ("symlink", "c.yaml"), "d/link": ("symlink", "../c.yaml")}, tag="v1.0.0")
    space.source(repository, ref={"tag": "v1.0.0", "semver": ">=2.0.0"})
    assert fetched(space.ready("GitRepository")) == f"v1.0.0@sha1:{repository.head()}"
    assert space.wait_event("GitRepository", "SemverIgnored")["message"] == "spec.ref.semver is ignored because spec.ref.tag is set"
    assert space.wait_event("GitRepository", "SymlinksDropped")["message"] == "2 symbolic links are not part of the artifact"


def test_branch_rewritten(space):
    """A forced push that drops history is just another commit."""
    repository = space.repository({"c.yaml": CONFIG % "1"})
    first = repository.head()
    repository.commit({"c.yaml": CONFIG % "2"})
    space.source(repository)
    space.ready("GitRepository", revision=repository.head())
    repository.set_ref("refs/heads/main", first)
    space.reconcile("GitRepository")
    assert fetched(space.ready("GitRepository", revision=first)) == f"main@sha1:{first}"


def test_deletion_leaves_nothing(space):
    space.source(space.repository({"c.yaml": CONFIG % "1"}))
    space.ready("GitRepository")
    controller = space.stack.source
    folder = f"{controller.storage}/gitrepository/{space.name}/app"
    assert os.path.isdir(folder)

    def runs():
        return metric(controller.metrics(), "gotk_reconcile_duration_seconds_count", kind="GitRepository", name="app", namespace=space.name)
    until(lambda: runs() >= 1, 10, "a run counted")
    space.delete("GitRepository")
    space.gone("GitRepository")
    assert not os.path.exists(folder)
    until(lambda: runs() == 0, 10, "no series left")


def test_changes_of_the_spec_are_taken_up(space):
    one, other = space.repository({"c.yaml": CONFIG % "one"}), space.repository({"c.yaml": CONFIG % "other"}, branch="next")
    space.source(one)
    space.ready("GitRepository", revision=one.head())
    space.spec("GitRepository", url=other.url, ref={"branch": "next"})
    assert fetched(space.ready("GitRepository", revision=other.head("next"))) == f"next@sha1:{other.head('next')}"


@pytest.mark.parametrize("bad", [{"interval": "5"}, {"timeout": "1h"}, {"url": "ftp://example.com/x"}])
def test_api_server_rejects(space, bad):
    with pytest.raises(ApiError) as e:
        space.source("https://example.com/x.git", **bad)
    assert e.value.status == 422
