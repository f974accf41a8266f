"""Artifacts: the tar that is stored, the rules of what is left out, the server that hands it out, and how long it is kept."""
import concurrent.futures
import gzip
import hashlib
import os
import stat
import subprocess
import threading

import pytest

from artifact import artifact_of, download, files, members, request
from cluster.controllers import Controller
from cluster.kube import find_condition
from cluster.process import until


def stored(space, **options):
    return artifact_of(space.ready("GitRepository", **options))


def test_shape_of_the_tar(space):
    long = "/".join(["directory-of-twenty-"] * 6) + "/file.txt"
    repository = space.repository({"b/run.sh": ("executable", "#!/bin/sh\n"), "b/a.txt": "text", "a.txt": "first", "link": ("symlink", "a.txt"), long: "deep", "ümläut.txt": "u",
                                   "empty.txt": "", ".hidden": "h", "links-alone/link": ("symlink", "../a.txt")})
    space.source(repository)
    artifact = stored(space)
    data = download(artifact)
    assert data[:4] == b"\x1f\x8b\x08\x00" and data[4:8] == b"\0\0\0\0", "gzip without name and time"
    entries = members(data)
    names = [m.name for m in entries]
    assert names[0] == "." and "link" not in names and long in names and "ümläut.txt" in names
    assert [m.isdir() for m in entries if m.name.startswith("links-alone")] == [True], "a directory without anything in it"

    def walk(folder):
        """Depth first, in byte order of the names of each folder."""
        children = sorted((n for n in names if n != "." and n.rpartition("/")[0] == folder), key=lambda n: n.encode())
        return [name for child in children for name in [child, *walk(child)]]
    assert names[1:] == walk("")
    for m in entries:
        assert (m.uid, m.gid, m.uname, m.gname, m.mtime) == (0, 0, "", "", 0)
        assert m.isdir() or m.isreg()
        assert m.mode == (0o750 if m.isdir() else 0o700 if m.name == "b/run.sh" else 0o600)
    # PAX records only where USTAR cannot say it: the name that is not ASCII.
    raw = gzip.decompress(data)
    assert sum(raw[i + 156:i + 157] == b"x" for i in range(0, len(raw), 512) if raw[i + 257:i + 262] == b"ustar") == 1
    # A link goes: what it led to stays, in the very same bytes.
    assert download(stored(space, revision=space.push(repository, delete=["link"]))) == data


def test_equal_trees_give_equal_bytes(space):
    """Two repositories, two objects, the same files: the same digest."""
    tree = {"a/b.yaml": "x: 1\n", "z.sh": ("executable", "#!/bin/sh\n")}
    one, two = space.repository(tree, message="one"), space.repository(tree, message="two")
    space.source(one, "one")
    space.source(two, "two")
    assert artifact_of(space.ready("GitRepository", "one"))["digest"] == artifact_of(space.ready("GitRepository", "two"))["digest"]


def test_files_on_disk_are_private(space):
    space.source(space.repository({"a.yaml": "x: 1\n"}))
    path = f"{space.stack.source.storage}/{stored(space)['path']}"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600 and stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700


TREE = {name: "x" for name in ("deploy/app.yaml", "deploy/sub/b.yaml", "docs/readme.md", "photo.jpg", "a.zip", ".github/workflows/ci.yml", "sub/.goreleaser.yml", "foo", "dir/foo/x", "a/b",
                                "a/q/r/b", "#hash", "abc", "xbc", "keep/drop/kept.txt", "keep/drop/gone.txt")}
DEFAULTS = {"photo.jpg", "a.zip", ".github/workflows/ci.yml", "sub/.goreleaser.yml"}
IGNORE = [
    # name, spec.ignore, further files, what is left out
    ("defaults", None, {}, DEFAULTS),
    ("comment-only", "# nothing\n\n", {}, DEFAULTS),
    ("all-but", "/*\n!/deploy\n", {}, set(TREE) - {"deploy/app.yaml", "deploy/sub/b.yaml"}),
    ("any-depth", "**/b.yaml\n", {}, {"deploy/sub/b.yaml"}),
    ("between", "a/**/b\n", {}, {"a/b", "a/q/r/b"}),
    ("directory-only", "foo/\n", {}, {"dir/foo/x"}),
    ("name", "foo\n", {}, {"foo", "dir/foo/x"}),
    ("class", "[^a]bc\n", {}, {"xbc"}),
    ("escaped-hash", "\\#hash\n", {}, {"#hash"}),
    ("crlf", "abc\r\nxbc\r\n", {}, {"abc", "xbc"}),
    ("included-again-below", "keep/drop\n!keep/drop/kept.txt\n", {}, {"keep/drop/gone.txt"}),
    ("file-in-the-tree", None, {".sourceignore": "docs\n"}, {"docs/readme.md"}),
    ("file-below", None, {"deploy/.sourceignore": "/app.yaml\n"}, {"deploy/app.yaml"}),
    ("spec-wins", "!docs\n", {".sourceignore": "docs\n"}, set()),
]


@pytest.mark.parametrize("ignore, more, left_out", [case[1:] for case in IGNORE], ids=[case[0] for case in IGNORE])
def test_ignore_rules(space, ignore, more, left_out):
    space.source(space.repository({**TREE, **more}), **({"ignore": ignore} if ignore is not None else {}))
    assert set(files(download(stored(space)))) == (set(TREE) | set(more)) - left_out


def test_git_folder_never_leaves(space):
    """Not even if all is taken back in, as what Git keeps beside it is. (Of a tree that has one, test_hostile_git tells.)"""
    tree = {"a.yaml": "x: 1\n", ".gitignore": "zzz\n", ".gitattributes": "* text\n"}
    space.source(space.repository(tree), ignore="!*\n!.git\n")
    assert set(files(download(stored(space)))) == set(tree)


def test_server(space):
    repository = space.repository({"a.yaml": "x: 1\n"})
    space.source(repository)
    artifact = stored(space)
    url, base = artifact["url"], f"http://{space.stack.source.storage_address}"
    data = download(artifact)
    assert request("GET", base + "/")[0] == 200
    status, headers, body = request("HEAD", url)
    assert (status, body, int(headers["content-length"])) == (200, b"", len(data)) and headers["accept-ranges"] == "bytes"
    status, headers, body = request("GET", url, {"Range": "bytes=10-19"})
    assert (status, body, headers["content-range"]) == (206, data[10:20], f"bytes 10-19/{len(data)}")
    assert request("GET", url, {"Range": f"bytes={len(data)}-"})[0] == 416
    modified = request("GET", url)[1]["last-modified"]
    assert request("GET", url, {"If-Modified-Since": modified})[0] == 304
    assert request("GET", url.replace(repository.head(), "0" * 40))[0] == 404
    for path in ("/../../etc/passwd", "/gitrepository/../../../etc/passwd", "//etc/passwd", "/%2e%2e/%2e%2e/etc/passwd"):
        status, _, body = request("GET", base + path)
        assert b"root:" not in body and status != 200, path


def test_downloads_while_it_is_rewritten(space):
    """Every body that was handed out is one that was advertised."""
    repository = space.repository({"a.yaml": "x: 1\n", "noise": os.urandom(200_000), "b.yaml": "y: 1\n"})
    space.source(repository)
    advertised = {stored(space)["digest"]}
    url = artifact_of(space.get("GitRepository"))["url"]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        bodies = []
        for ignore in ("a.yaml\n", "b.yaml\n", "a.yaml\nb.yaml\n", "none\n"):
            bodies += [pool.submit(request, "GET", url) for _ in range(50)]
            space.spec("GitRepository", ignore=ignore)
            space.wait("GitRepository", "app", lambda o, i=ignore: o["status"].get("observedIgnore") == i, 20)
            advertised.add(stored(space)["digest"])
    for future in bodies:
        status, _, body = future.result()
        assert status == 200 and "sha256:" + hashlib.sha256(body).hexdigest() in advertised


def flip(path):
    """One byte, and nothing else that can be seen from outside."""
    before = os.stat(path)
    with open(path, "r+b") as f:
        f.seek(30)
        byte = f.read(1)
        f.seek(30)
        f.write(bytes([byte[0] ^ 0xff]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_flipped_byte_is_noticed(space):
    space.source(space.repository({"a.yaml": "x: 1\n"}))
    artifact = stored(space)
    flip(f"{space.stack.source.storage}/{artifact['path']}")
    token = space.reconcile("GitRepository")
    space.wait("GitRepository", "app", lambda o: o["status"].get("lastHandledReconcileAt") == token, 15)
    event = space.wait_event("GitRepository", "ArtifactVerificationFailed", "failed to verify integrity of artifact: computed digest doesn't match")
    assert event["type"] == "Warning"
    assert artifact_of(space.ready("GitRepository"))["digest"] == artifact["digest"]
    download(artifact)


def test_flipped_byte_is_noticed_at_the_start(own_stack, space_in):
    """What happened to a file while nobody looked."""
    stack = own_stack()
    space = space_in(stack)
    repository = space.repository({"a.yaml": "x: 1\n"})
    for name in ("app", "stays"):
        space.source(repository, name)
    artifact, other = stored(space), artifact_of(space.ready("GitRepository", "stays"))
    kept = os.stat(f"{stack.source.storage}/{other['path']}").st_ino
    stack.source.process.stop()
    flip(f"{stack.source.storage}/{artifact['path']}")
    stack.source.start()
    space.wait_event("GitRepository", "ArtifactVerificationFailed", "failed to verify integrity of artifact")
    until(lambda: request("GET", artifact["url"])[0] == 200, 15, "served again", 0.1)
    assert artifact_of(space.ready("GitRepository"))["digest"] == artifact["digest"]
    download(artifact)
    assert os.stat(f"{stack.source.storage}/{other['path']}").st_ino == kept, "what was whole is not made anew"


def test_old_artifacts_go(own_stack, space_in):
    """The present one and one before stay; older ones go, and with them their locks."""
    stack = own_stack(flags={"source-controller": ["--artifact-retention-ttl=1s"]})
    space = space_in(stack)
    repository = space.repository({"a.yaml": "x: 0\n"})
    space.source(repository)
    space.ready("GitRepository")
    for i in range(5):
        revision = space.push(repository, {"a.yaml": f"x: {i + 1}\n"})
        artifact = artifact_of(space.ready("GitRepository", revision=revision))
        download(artifact)
    folder = os.path.dirname(f"{stack.source.storage}/{artifact['path']}")

    def few():
        space.reconcile("GitRepository")
        names = os.listdir(folder)
        kept = [n for n in names if n.endswith(".tar.gz")]
        return len(kept) <= 2 and all(n[:-5] in kept for n in names if n.endswith(".lock"))
    until(few, 20, lambda: f"at most two artifacts in {os.listdir(folder)}", 0.5)
    assert f"{revision}.tar.gz" in os.listdir(folder)


def test_empty_storage_after_a_restart(own_stack, space_in, git_server):
    """A pod that moved: all objects say what is missing before the first, slow fetch is over; they end with the same digest, which is no news."""
    # Nothing here is a retry, the first run of a new object neither.
    stack = own_stack(flags={"source-controller": ["--concurrent=1", "--min-retry-delay=5m"]})
    space = space_in(stack)
    repository = space.repository({"a.yaml": "x: 1\n"})
    names = ("app", "other", "suspended")
    before = {}
    for name in names:
        space.source(repository, name)
        before[name] = artifact_of(space.ready("GitRepository", name))
    space.spec("GitRepository", "suspended", suspend=True)
    stack.source.process.stop()
    subprocess.run(["rm", "-rf", f"{stack.source.storage}/gitrepository"], check=True)
    release = git_server.rules[repository.name] = {"hang": threading.Event()}
    stack.source.start()
    missing = {"status": "Unknown", "reason": "Progressing", "message": "building artifact: disappeared from storage"}
    for name in ("app", "other"):
        o = space.wait("GitRepository", name, lambda o: not artifact_of(o), 15, "said to be missing")
        assert missing.items() <= find_condition(o).items() and not find_condition(o, "ArtifactInStorage")
        assert find_condition(o, "Reconciling")["message"] == missing["message"]
    assert artifact_of(space.get("GitRepository", "suspended")) == before["suspended"]
    release["hang"].set()
    for name in ("app", "other"):
        o = space.ready("GitRepository", name)
        assert artifact_of(o)["digest"] == before[name]["digest"]
        download(artifact_of(o))
        assert len(space.events("GitRepository", name, "NewArtifact")) == 1


# A folder of the controller is a file system of 256 KiB that nobody else sees.
SMALL_DISK = ["unshare", "--mount", *(["--user", "--map-root-user"] if os.geteuid() else []), "sh", "-c", 'mount -t tmpfs -o size=256k none "$SMALL" && exec "$@"', "sh"]


def with_small_disk(stack, folder):
    """Starts the stack with a source-controller whose folder has this size; folder: what to ask of the controller."""
    kubeconfig = stack.source.process.env["KUBECONFIG"]
    wrapper = ["env", f"SMALL={folder(stack.source)}", *SMALL_DISK]
    stack.controllers["source-controller"] = Controller(stack.plane.workspace, "source-controller", kubeconfig, wrapper=wrapper, binaries=os.environ.get("WEIR_BINARIES"))
    return stack.start()


def test_full_disk(space_in, own_stack):
    """ENOSPC while an artifact is written is a condition of that object; the one that is advertised is still whole, and the rest is served."""
    space = space_in(with_small_disk(own_stack(start=False), lambda c: c.storage))
    repository = space.repository({"a.yaml": "x: 1\n"})
    space.source(repository)
    good = stored(space)
    space.push(repository, {"big": os.urandom(1 << 20)})
    condition = find_condition(space.kube.wait_condition("GitRepository", "app", space.name, "True", type="StorageOperationFailed"), "StorageOperationFailed")
    assert condition["reason"] == "ArchiveOperationFailed" and "unable to archive artifact to storage: " in condition["message"] and "no space left on device" in condition["message"]
    assert artifact_of(space.get("GitRepository"))["digest"] == good["digest"]
    download(good)
    other = space.repository({"b.yaml": "y: 1\n"})
    space.source(other, "other")
    download(artifact_of(space.ready("GitRepository", "other")))
    revision = space.push(repository, {"c.yaml": "z: 1\n"}, delete=["big"])
    download(artifact_of(space.ready("GitRepository", revision=revision)))


def test_full_temporary_folder(space_in, own_stack):
    """ENOSPC while objects are received: said so, and what filled the disk is gone when the next fetch needs it."""
    space = space_in(with_small_disk(own_stack(start=False), lambda c: c.temporary))
    repository = space.repository({"a.yaml": "x: 1\n"})
    space.source(repository)
    good = stored(space)
    space.push(repository, {"big": os.urandom(1 << 20)})
    message = find_condition(space.not_ready("GitRepository", reason="GitOperationFailed"))["message"]
    assert "no space left on device" in message.lower(), message
    download(good)
    other = space.repository({"b.yaml": "y: 1\n"})
    space.source(other, "other")
    download(artifact_of(space.ready("GitRepository", "other")))
    revision = space.push(repository, {"c.yaml": "z: 1\n"}, delete=["big"])
    download(artifact_of(space.ready("GitRepository", revision=revision)))
