"""Git repositories and servers that mean harm: each ends as one condition of one object, with a text that says what happened."""
import itertools
import os

import pytest

from artifact import artifact_of, download, files, members
from cluster.kube import find_condition
from cluster.process import until
from peers.git import advertisement, git, make_pack, object_id, pack_entry, pkt

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\n"
REFS, RESULT = "application/x-git-upload-pack-advertisement", "application/x-git-upload-pack-result"


@pytest.fixture(autouse=True)
def controller_stays(space):
    """Whatever a test here sends: nobody is restarted, memory is given back, and another object is served afterwards."""
    process = space.stack.source.process
    before = process.pid
    yield
    assert process.running and process.pid == before
    space.source(space.repository({"after.yaml": CONFIG}), "after")
    space.ready("GitRepository", "after", seconds=20)
    until(lambda: space.stack.source.pss() < 32 << 20, 30, lambda: f"small again: {space.stack.source.pss() >> 20} MiB", 0.2)


def refused(space, part, reason="GitOperationFailed", seconds=40):
    """The object says so, in words that JSON and people can hold."""
    condition = find_condition(space.not_ready("GitRepository", reason=reason, seconds=seconds))
    assert part in condition["message"], condition["message"]
    assert len(condition["message"]) < 4096
    return condition["message"]


def write(repository, kind, data):
    return git("hash-object", "-t", kind, "-w", "--literally", "--stdin", cwd=repository.bare, data=data, text=False).decode().strip()


def tree(repository, *entries):
    """A tree that git's own commands would not make: entries are (mode, name, id), in this order."""
    return write(repository, "tree", b"".join(mode.encode() + b" " + (name if isinstance(name, bytes) else name.encode()) + b"\0" + bytes.fromhex(oid) for mode, name, oid in entries))


def point(repository, tree, message="hostile"):
    commit = git("commit-tree", "-m", message, tree, cwd=repository.bare)
    repository.set_ref("refs/heads/main", commit)
    return commit


@pytest.fixture
def hostile(space):
    """A repository with one good commit, to make worse, and its object, which is not there yet."""
    repository = space.repository({"a.yaml": CONFIG})
    repository.blob = write(repository, "blob", b"text\n")
    return repository


# -- trees

@pytest.mark.parametrize("name", ["..", ".", ".git", ".GIT", ".Git", "a/b", "../../../../tmp/weir-was-here"])
def test_names_that_are_none(space, hostile, name):
    point(hostile, tree(hostile, ("100644", name, hostile.blob), ("100644", "z", hostile.blob)))
    space.source(hostile)
    refused(space, f"the repository holds the invalid path '{name}'")


def test_git_folder_below(space, hostile):
    hooks = tree(hostile, ("100755", "post-checkout", hostile.blob))
    inner = tree(hostile, ("40000", "hooks", hooks))
    point(hostile, tree(hostile, ("40000", "sub", tree(hostile, ("40000", ".git", inner)))))
    space.source(hostile)
    refused(space, "the repository holds the invalid path 'sub/.git'")


@pytest.mark.parametrize("second", ["100644", "40000", "120000"])
def test_one_name_twice(space, hostile, second):
    """Which of the two a reader of the artifact would see is anybody's guess."""
    other = tree(hostile, ("100644", "x", hostile.blob)) if second == "40000" else hostile.blob
    point(hostile, tree(hostile, ("100644", "a", hostile.blob), ("100644", "a.b", hostile.blob), (second, "a", other)))
    space.source(hostile)
    refused(space, "the repository holds the path 'a' twice")


def test_names_that_differ_in_case(space, hostile):
    point(hostile, tree(hostile, ("100644", "A.yaml", hostile.blob), ("100644", "a.yaml", hostile.blob)))
    space.source(hostile)
    assert set(files(download(artifact_of(space.ready("GitRepository"))))) == {"A.yaml", "a.yaml"}


def test_names_that_are_no_text(space, hostile):
    names = [b"\xff\xfe", b"new\nline", b"back\\slash", b"\x1b[31m", "ümläut".encode(), b"a" * 255]
    point(hostile, tree(hostile, *(("100644", name, hostile.blob) for name in sorted(names))))
    space.source(hostile)
    assert len(files(download(artifact_of(space.ready("GitRepository"))))) == len(names)


def test_modes(space, hostile):
    """A submodule is an empty folder, a link is left out whatever it points at, modes of old count as what they are."""
    link = write(hostile, "blob", b"/etc/passwd")
    point(hostile, tree(hostile, ("120000", "link", link), ("100664", "old", hostile.blob), ("100755", "run", hostile.blob), ("160000", "sub", "1" * 40)))
    space.source(hostile)
    data = download(artifact_of(space.ready("GitRepository")))
    assert {m.name: (m.isdir(), m.mode) for m in members(data)} == {".": (True, 0o750), "old": (False, 0o600), "run": (False, 0o700), "sub": (True, 0o750)}


@pytest.mark.parametrize("mode", ["0", "170000", "104777", "20644"])
def test_modes_that_are_none(space, hostile, mode):
    """No device, no set-uid bit: a file."""
    point(hostile, tree(hostile, (mode, "odd", hostile.blob), ("100644", "z", hostile.blob)))
    space.source(hostile)
    odd = members(download(artifact_of(space.ready("GitRepository"))))[1]
    assert odd.isreg() and odd.mode == (0o700 if mode == "104777" else 0o600)


def test_file_that_is_a_tree(space, hostile):
    inner = tree(hostile, ("100644", "x", hostile.blob))
    point(hostile, tree(hostile, ("100644", "file", inner)))
    space.source(hostile)
    refused(space, "the file 'file' is a tree")


def test_path_without_end(space, hostile):
    inner = hostile.blob
    mode = "100644"
    for _ in range(20):
        inner, mode = tree(hostile, (mode, "n" * 250, inner)), "40000"
    point(hostile, inner)
    space.source(hostile)
    refused(space, "the repository has a path of more than 4096 bytes")


def test_folders_without_end(space, hostile):
    inner, mode = hostile.blob, "100644"
    for _ in range(600):
        inner, mode = tree(hostile, (mode, "d", inner)), "40000"
    point(hostile, inner)
    space.source(hostile)
    refused(space, "nested deeper than 512")


def test_tree_bomb(space, hostile):
    """Ten levels of ten entries that are the same tree: eleven objects, ten thousand million files."""
    inner, mode = hostile.blob, "100644"
    for _ in range(10):
        inner, mode = tree(hostile, *((mode, f"f{i}", inner) for i in range(10))), "40000"
    point(hostile, inner)
    space.source(hostile)
    refused(space, "the repository has more than 1000000 files")


def test_hundred_thousand_files(space, hostile):
    folders = [("40000", f"d{i:03}", tree(hostile, *(("100644", f"f{j:03}", hostile.blob) for j in range(1000)))) for i in range(100)]
    point(hostile, tree(hostile, *folders))
    space.source(hostile)
    assert len(files(download(artifact_of(space.ready("GitRepository", seconds=60))))) == 100000


def test_file_that_is_too_large(space, hostile):
    """A file of zeros: some kilobytes on the wire."""
    large = write(hostile, "blob", bytes(129 << 20))
    point(hostile, tree(hostile, ("100644", "large", large)))
    space.source(hostile)
    refused(space, "the file 'large' has 135266304 bytes, the limit is 134217728")


# -- commits, tags, references

@pytest.mark.parametrize("subject", [b"\xff\xfe not utf-8", b"a" * 1000000, b"", b"\x00zero", b"tab\tand\x1b[31m"])
def test_subject(space, hostile, subject):
    head = git("rev-parse", "main^{tree}", cwd=hostile.bare)
    commit = write(hostile, "commit", f"tree {head}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\n".encode() + subject + b"\n")
    hostile.set_ref("refs/heads/main", commit)
    space.source(hostile)
    space.ready("GitRepository", revision=commit)
    space.wait_event("GitRepository", "NewArtifact", "stored artifact for commit")


@pytest.mark.parametrize("kind", ["blob", "tree"])
def test_tag_of_no_commit(space, hostile, kind):
    oid = hostile.blob if kind == "blob" else git("rev-parse", "main^{tree}", cwd=hostile.bare)
    hostile.set_ref("refs/tags/odd", oid)
    space.source(hostile, ref={"tag": "odd"})
    refused(space, f"unable to resolve commit object for '{oid}': it is no commit")


def test_tag_of_a_tag(space, hostile):
    head = hostile.head()
    oid = head
    for i in range(30):
        oid = write(hostile, "tag", f"object {oid}\ntype {'tag' if i else 'commit'}\ntag t{i}\ntagger A <a@b> 1 +0000\n\nm\n".encode())
    hostile.set_ref("refs/tags/deep", oid)
    space.source(hostile, ref={"tag": "deep"})
    space.ready("GitRepository", revision=f"deep@sha1:{head}")


def served(git_server, repository, **rules):
    git_server.rules[repository.name] = rules


def listing(body):
    return lambda path, _: (200, REFS, body) if path.endswith("/info/refs") else None


HEAD_ID = b"1" * 40


SERVICE = pkt(b"# service=git-upload-pack\n") + b"0000"
LISTINGS = {
    "nothing": (b"", "could not read refs from remote repository"),
    "no-length": (b"zzzz", "invalid pkt-len found"),
    "length-of-one": (b"0001", "the server's answer is not that of a Git server"),
    "length-of-three": (b"0003", "the server's answer is not that of a Git server"),
    "cut-short": (b"fff0short", "could not read refs from remote repository"),
    "flush": (b"0000", "could not read refs from remote repository"),
    "empty-packets": (b"0004" * 10, "Invalid empty packet"),
    "other-service": (pkt(b"# service=git-receive-pack\n") + b"0000", "could not read refs from remote repository"),
    "no-id": (SERVICE + pkt(b"not an id refs/heads/main\n") + b"0000", "error parsing REF pkt-line"),
    "error": (SERVICE + pkt(b"ERR no \xff\xfe such repository\n"), ": no \ufffd\ufffd such repository"),
    "sha256": (SERVICE + pkt(b"2" * 64 + b" refs/heads/main\0object-format=sha256\n") + b"0000", "unknown remote object format 'sha256"),
    "commit-that-is-not-there": (advertisement((HEAD_ID, b"refs/heads/main")), f"remote error: upload-pack: not our ref {HEAD_ID.decode()}"),
}


@pytest.mark.parametrize("case", LISTINGS)
def test_listing_that_is_none(space, git_server, hostile, case):
    body, part = LISTINGS[case]
    served(git_server, hostile, reply=listing(body))
    space.source(hostile, timeout="5s")
    refused(space, part)


ODD = [b"refs/heads/\xff\xfe", b"refs/heads/../../x", b"refs/heads/a b", b"refs/heads/" + b"n" * 60000, b"refs/tags/1.0.0\x01", b"refs/heads/new\nline", b"x", b"", b"refs/tags/\xc3\x28^{}",
       b"refs/heads/{}", b"refs/heads/a:b", b"refs/heads/-x"]


def test_references_with_odd_names(space, git_server, hostile):
    head = hostile.head().encode()
    served(git_server, hostile, reply=listing(advertisement((head, b"HEAD"), *((head, name) for name in ODD), (head, b"refs/heads/main"))))
    space.source(hostile)
    space.ready("GitRepository", revision=hostile.head())


def test_references_without_end(space, git_server, hostile):
    start = advertisement((HEAD_ID, b"HEAD"))[:-4]
    block = b"".join(pkt(HEAD_ID + b" refs/heads/" + b"%06d" % i + b"x" * 900 + b"\n") for i in range(1000))
    served(git_server, hostile, reply=listing(itertools.chain([start], itertools.repeat(block))))
    space.source(hostile, timeout="30s")
    refused(space, "the server's list of references does not fit the memory of a fetch", seconds=60)


def test_half_a_million_references(space, git_server, hostile):
    head = hostile.head().encode()
    body = advertisement((head, b"HEAD"), *((head, b"refs/heads/b%06d" % i) for i in range(500000)), (head, b"refs/heads/main"))
    served(git_server, hostile, reply=listing(body))
    space.source(hostile)
    space.ready("GitRepository", revision=hostile.head(), seconds=60)


@pytest.mark.parametrize("body", [b"\xff\xfe\x00\x1b[31m bad", b"x" * 100000, "ä".encode() * 2000])
def test_refusal_that_is_no_text(space, git_server, hostile, body):
    served(git_server, hostile, reply=lambda path, _: (500, "text/plain", body))
    space.source(hostile)
    refused(space, "status code: 500")


def test_redirects_without_end(space, git_server, hostile):
    served(git_server, hostile, redirect=git_server.url(hostile.name))
    space.source(hostile)
    refused(space, "http redirect: too many redirects")
    assert len(git_server.seen(hostile.name)) >= 11


# -- packs

BLOB, OTHER = b"text\n", b"other\n"


def commit_of(tree_id, more=b""):
    return f"tree {tree_id}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nm\n".encode() + more


def entry(mode, name, oid):
    return mode + b" " + name + b"\0" + bytes.fromhex(oid)


TREE = entry(b"100644", b"a.yaml", object_id("blob", BLOB))
COMMIT = commit_of(object_id("tree", TREE))
OBJECTS = [("commit", COMMIT), ("tree", TREE), ("blob", BLOB)]


def pack_server(git_server, repository, answer, commit=COMMIT):
    """Advertises the commit and answers every fetch with these bytes after the negotiation."""
    oid = object_id("commit", commit).encode()

    def reply(path, body):
        if path.endswith("/info/refs"):
            return 200, REFS, advertisement((oid, b"HEAD"), (oid, b"refs/heads/main"))
        shallow = pkt(b"shallow " + oid) + b"0000" if b"deepen" in body else b""
        if b"done" not in body:
            return 200, RESULT, shallow
        return 200, RESULT, itertools.chain([shallow + pkt(b"NAK\n")], answer if not isinstance(answer, bytes) else [answer])
    git_server.rules[repository.name] = {"reply": reply}
    return oid.decode()


def band(number, data):
    return b"".join(pkt(bytes([number]) + data[i:i + 60000]) for i in range(0, len(data), 60000))


def sent(*objects, **lies):
    """A pack in its side band."""
    return band(1, make_pack(*objects, **lies)) + b"0000"


def one_entry(*parts):
    return band(1, b"PACK\0\0\0\2\0\0\0\1" + pack_entry(*parts)) + b"0000"


MISSING = f"unable to resolve commit object for '{object_id('commit', COMMIT)}': object not found"
ENDED = "could not read from remote repository"
NO_TRAILER = "missing trailer at the end of the pack"
PACKS = {
    "missing-blob": (sent(*OBJECTS[:2]), f"the file 'a.yaml': object not found - cannot read header for ({object_id('blob', BLOB)})"),
    "missing-tree": (sent(OBJECTS[0], OBJECTS[2]), f"the directory './': object not found - no match for id ({object_id('tree', TREE)})"),
    "another-object": (sent(("blob", OTHER)), MISSING),
    "empty-pack": (sent(), MISSING),
    "count-too-high": (sent(*OBJECTS, count=1000), "early EOF"),
    "count-too-low": (sent(*OBJECTS, count=1), "unexpected data at the end of the pack"),
    "count-of-millions": (sent(*OBJECTS, count=3900000), "early EOF"),
    "count-of-billions": (sent(*OBJECTS, count=0xffffffff), "too many objects"),
    "wrong-trailer": (sent(*OBJECTS, trailer=b"\0" * 20), "packfile trailer mismatch"),
    "truncated": (band(1, make_pack(*OBJECTS)[:-30]) + b"0000", NO_TRAILER),
    "cut-off": (sent(*OBJECTS)[:-10], ENDED),
    "garbage": (band(1, b"PACK" + b"\xff" * 1000) + b"0000", "wrong pack version"),
    "no-pack": (band(1, b"x" * 1000) + b"0000", "wrong pack signature"),
    "size-too-small": (one_entry(3, 5, b"w" * 100000), NO_TRAILER),
    "size-too-large": (one_entry(3, 1 << 40, b"w"), NO_TRAILER),
    "size-of-gigabytes": (one_entry(3, (1 << 31) - 1, b"w"), NO_TRAILER),
    "base-that-is-not-there": (one_entry(7, 2, b"\1\1", b"\x77" * 20), NO_TRAILER),
    "base-before-the-pack": (one_entry(6, 2, b"\1\1", b"\xff\xff\x7f"), NO_TRAILER),
    "error-band": (band(3, b"out of \xff\xfe patience\n"), "remote error: out of \ufffd\ufffd patience"),
    "error-band-of-50-KB": (band(3, b"z" * 50000), "remote error: zzz"),
    "unknown-band": (band(9, b"hello"), "error parsing REF pkt-line"),
    "nothing": (b"", ENDED),
    "progress-then-end": (band(2, b"counting \xff\r" * 1000), ENDED),
}


def test_pack_of_the_peer(space, git_server, hostile):
    """What the packs below are lies about is one that is taken."""
    oid = pack_server(git_server, hostile, sent(*OBJECTS))
    space.source(hostile)
    o = space.ready("GitRepository", revision=oid)
    assert files(download(artifact_of(o))) == {"a.yaml": BLOB}


@pytest.mark.parametrize("case", PACKS)
def test_pack_that_lies(space, git_server, hostile, case):
    answer, part = PACKS[case]
    pack_server(git_server, hostile, answer)
    space.source(hostile, timeout="10s")
    refused(space, part)


BAD_COMMIT = "failed to parse bad commit object"
OBJECT_LIES = {
    "commit-of-nothing": (b"", None, BAD_COMMIT),
    "commit-of-words": (b"nothing at all", None, BAD_COMMIT),
    "commit-without-tree": (commit_of("")[6:], None, BAD_COMMIT),
    "empty-name": (None, entry(b"100644", b"", object_id("blob", BLOB)), "can't parse filename"),
    "no-mode": (None, entry(b"", b"a", object_id("blob", BLOB)), "can't parse filemode"),
    "mode-of-words": (None, entry(b"hello", b"a", object_id("blob", BLOB)), "can't parse filemode"),
    "tree-cut-short": (None, TREE[:-3], "can't parse OID"),
    "tree-without-end-of-name": (None, b"100644 " + b"n" * 5000, "object is corrupted"),
    "folder-that-is-a-file": (None, entry(b"40000", b"folder", object_id("blob", BLOB)), "the directory './folder': the requested type does not match"),
}


@pytest.mark.parametrize("case", OBJECT_LIES)
def test_object_that_is_none(space, git_server, hostile, case):
    commit, data, part = OBJECT_LIES[case]
    data = TREE if data is None else data
    commit = commit_of(object_id("tree", data)) if commit is None else commit
    pack_server(git_server, hostile, sent(("commit", commit), ("tree", data), ("blob", BLOB)), commit)
    space.source(hostile, timeout="10s")
    refused(space, part)


def test_progress_without_end(space, git_server, hostile):
    pack_server(git_server, hostile, itertools.repeat(band(2, b"still counting\r" * 4000)))
    space.source(hostile, timeout="20s")
    refused(space, "the server sends more than 1073741824 bytes", seconds=60)


def test_keepalives_without_end(space, git_server, hostile):
    pack_server(git_server, hostile, itertools.repeat(b"0005\1" * 4000))
    space.source(hostile, timeout="3s")
    refused(space, "context deadline exceeded")


# -- size

def own_memory(controller):
    """Resident memory of the controller's process alone, without its children, in bytes."""
    with open(f"/proc/{controller.process.pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:")) * 1024


def test_large_repository(space, hostile):
    """100 MB of content that does not compress: fetched in bounded memory, which is the job's and not the controller's, and given back."""
    controller = space.stack.source
    for folder in (hostile.bare, hostile.work):   # git itself should not look for deltas in it
        git("config", "core.bigFileThreshold", "1m", cwd=folder)
        git("config", "core.compression", "0", cwd=folder)
    hostile.commit({f"data/{i}.bin": os.urandom(5 << 20) for i in range(20)})
    before, own, peak = own_memory(controller), [], []
    space.source(hostile, timeout="120s")

    def fetched():
        own.append(own_memory(controller))
        peak.append(controller.pss())
        return (find_condition(space.get("GitRepository")) or {}).get("status") in ("True", "False")
    until(fetched, 150, "the fetch over", 0.05)
    o = space.ready("GitRepository", revision=hostile.head())
    assert artifact_of(o)["size"] > 100 << 20
    assert max(own) - before < 4 << 20, "in the controller itself"
    assert max(peak) < 192 << 20, "in all"
    until(lambda: controller.pss() < 32 << 20, 30, lambda: f"given back: {controller.pss() >> 20} MiB", 0.2)
