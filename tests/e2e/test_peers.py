"""The peers themselves, shown with git's own client: what fails against weir is then weir's."""
import base64
import json
import os
import socket
import subprocess
import threading
import urllib.request

import pytest

from peers.git import ENVIRONMENT, GitServer, delta_bomb, git
from peers.proxy import HttpProxy, Link, Socks5Proxy
from peers.ssh import SshServer, keygen


def ls_remote(url, *config, env=None):
    """(exit status, output, errors) of git ls-remote."""
    words = [word for setting in config for word in ("-c", setting)]
    done = subprocess.run(["git", *words, "ls-remote", url], env={**ENVIRONMENT, **(env or {})}, capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout, done.stderr


def test_git_over_http(repository, git_server, tmp_path):
    repo = repository({"a.txt": "one", "run": ("executable", "#!/bin/sh\n"), "link": ("symlink", "a.txt")}, tag="v1", annotated=True)
    git("clone", "-q", "--depth=1", repo.url, str(tmp_path / "clone"))
    assert (tmp_path / "clone/a.txt").read_text() == "one"
    assert os.access(tmp_path / "clone/run", os.X_OK) and os.path.islink(tmp_path / "clone/link")
    assert "refs/tags/v1^{}" in ls_remote(repo.url)[1]
    assert git_server.seen(repo.name, "git-upload-pack")


@pytest.mark.parametrize("rule, header", [({"basic": ("ada", "pässword")}, "Basic " + base64.b64encode("ada:pässword".encode()).decode()),
                                          ({"bearer": "tok"}, "Bearer tok")], ids=["basic", "bearer"])
def test_git_wants_credentials(repository, git_server, rule, header):
    repo = repository({"a": "b"})
    git_server.rules[repo.name] = {"auth": rule}
    assert ls_remote(repo.url)[0] != 0
    assert ls_remote(repo.url, f"http.extraHeader=Authorization: {header}")[0] == 0


def test_git_over_tls_of_a_private_authority(repository, tls_git_server, authority):
    repo = repository({"a": "b"})
    url = tls_git_server.url(repo.name)
    assert "certificate" in ls_remote(url)[2]
    assert ls_remote(url, f"http.sslCAInfo={authority.certificate}")[0] == 0


def test_git_over_mutual_tls(repository, git_server, authority, certificate):
    repo = repository({"a": "b"})
    server = GitServer(git_server.folder, certificate, client_ca=authority.certificate)
    own, key = authority.issue("client")
    trust = f"http.sslCAInfo={authority.certificate}"
    assert ls_remote(server.url(repo.name), trust)[0] != 0
    assert ls_remote(server.url(repo.name), trust, f"http.sslCert={own}", f"http.sslKey={key}")[0] == 0
    server.close()


def test_git_answers_as_told(repository, git_server):
    repo = repository({"a": "b"})
    other = GitServer(git_server.folder)
    git_server.rules[repo.name] = {"redirect": other.url(repo.name)}
    assert ls_remote(repo.url)[0] == 0 and other.seen(repo.name, "info/refs")
    git_server.rules[repo.name] = {"status": 404}
    assert "not found" in ls_remote(repo.url)[2]
    other.close()


def test_git_trickles(repository, git_server):
    repo = repository({"a": "b"})
    git_server.rules[repo.name] = {"trickle": 0.05}
    with urllib.request.urlopen(f"{repo.url}/info/refs?service=git-upload-pack", timeout=10) as response:
        assert len(response.read1(100)) < 10


def test_git_sends_a_delta_bomb(repository, git_server, tmp_path):
    repo = repository({"a": "b"})
    assert len(delta_bomb(repo.bare, 1 << 34)) < 1 << 20
    git_server.rules[repo.name] = {"bomb": 1 << 20}
    git("clone", "-q", "--depth=1", "--bare", repo.url, str(tmp_path / "clone"))
    objects = git("cat-file", "--batch-check=%(objectsize)", "--batch-all-objects", cwd=str(tmp_path / "clone")).split()
    assert max(int(size) for size in objects) >= 1 << 20


def test_ssh_server(workspace, repository, git_server, tmp_path):
    server = SshServer(workspace, git_server.folder)
    repo = repository({"a": "b"})
    (tmp_path / "known_hosts").write_text(server.known_hosts())
    for kind, bits in (("ed25519", None), ("ecdsa", 384), ("rsa", 2048)):
        key = str(tmp_path / kind)
        command = {"GIT_SSH_COMMAND": f"ssh -F none -i {key} -o IdentitiesOnly=yes -o UserKnownHostsFile={tmp_path}/known_hosts -o BatchMode=yes"}
        public = keygen(key, kind, bits=bits)[1]
        assert ls_remote(server.url(repo.name), env=command)[0] != 0
        server.authorize(public)
        status, out, err = ls_remote(server.url(repo.name), env=command)
        assert status == 0 and "refs/heads/main" in out, err + server.process.tail()


@pytest.mark.parametrize("kind", ["http", "https", "socks5"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_proxies(repository, git_server, tls_git_server, authority, certificate, kind, tls):
    """With curl: the library that Debian's git speaks HTTP with hangs when TLS runs inside TLS."""
    repo = repository({"a": "b"})
    target = tls_git_server if tls else git_server
    proxy = Socks5Proxy(("ada", "secret")) if kind == "socks5" else HttpProxy(("ada", "secret"), certificate if kind == "https" else None)

    def fetch(user_info=""):
        url = proxy.url.replace("socks5://", "socks5h://").replace("://", f"://{user_info}")
        return subprocess.run(["curl", "-sSf", "-m", "10", "--cacert", authority.certificate, "--proxy-cacert", authority.certificate, "-x", url,
                               target.url(repo.name) + "/info/refs?service=git-upload-pack"], capture_output=True, env=ENVIRONMENT)
    assert fetch().returncode != 0
    assert fetch("ada:wrong@").returncode != 0
    assert proxy.refused and not proxy.targets
    done = fetch("ada:secret@")
    assert b"refs/heads/main" in done.stdout, done.stderr
    assert f"127.0.0.1:{target.port}" in proxy.targets
    proxy.close()


def test_link_freezes_and_cuts(repository, git_server):
    link = Link(git_server.port)
    path = f"http://127.0.0.1:{link.port}/" + repository({"a": "b"}).name + ".git/info/refs?service=git-upload-pack"
    assert urllib.request.urlopen(path, timeout=5).status == 200
    link.freeze()
    with pytest.raises((socket.timeout, OSError)):
        urllib.request.urlopen(path, timeout=0.3)
    timer = threading.Timer(0.2, link.thaw)
    timer.start()
    assert urllib.request.urlopen(path, timeout=5).status == 200
    link.close()


def test_sink_keeps_what_is_posted(sink):
    event = {"involvedObject": {"kind": "GitRepository", "name": "n", "namespace": "peers"}, "reason": "NewArtifact"}
    request = urllib.request.Request(sink.url, json.dumps(event).encode(), {"Content-Type": "application/json"})
    assert urllib.request.urlopen(request, timeout=5).status == 202
    assert sink.wait(namespace="peers")["reason"] == "NewArtifact"
