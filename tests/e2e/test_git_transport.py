"""How GitRepository reaches a server: credentials, certificates, proxies, ssh; and servers that do not behave."""
import base64
import errno
import hashlib
import hmac
import os
import re
import secrets
import threading
import time

import pytest

from artifact import artifact_of, download, files
from cluster.kube import find_condition
from cluster.process import free_port, until
from peers.git import GitServer
from peers.proxy import HttpProxy, Socks5Proxy
from peers.raw import RawServer
from peers.ssh import SshServer, keygen, pkcs8

FILES = {"c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\n"}


def message(o):
    return find_condition(o)["message"]


def read(path):
    with open(path) as f:
        return f.read()


def no_secret_shown(space, *secrets):
    """Neither in the object, nor in its events, nor in the log."""
    texts = [str(space.get("GitRepository")["status"]), str(space.events("GitRepository")), space.stack.source.process.output()]
    for secret in secrets:
        assert not any(secret in text for text in texts)


# -- https

@pytest.mark.parametrize("auth, data, user_info", [
    ({"basic": ("ada", "p:äss wörd")}, {"username": "ada", "password": "p:äss wörd"}, ""),
    ({"basic": ("ada", "urlsecret")}, None, "ada:urlsecret"),
    ({"basic": ("ada", "onlypassword")}, {"username": "ada", "password": "onlypassword"}, "ada"),
    ({"bearer": "tokentokentoken"}, {"bearerToken": "tokentokentoken"}, ""),
    ({"bearer": "tokentokentoken"}, {"bearerToken": "tokentokentoken", "username": "ada", "password": "otherother"}, ""),
], ids=["basic", "url", "url-user", "bearer", "bearer-wins"])
def test_credentials(space, git_server, auth, data, user_info):
    repository = space.repository(FILES)
    git_server.rules[repository.name] = {"auth": auth}
    space.source(git_server.url(repository.name, user_info), **({"secretRef": {"name": "credentials"}} if data else {}))
    if data:
        space.secret("credentials", **data)
    space.ready("GitRepository", revision=repository.head())
    no_secret_shown(space, *(v for k, v in (data or {}).items() if k != "username"))


def test_bearer_beside_a_user_in_the_url(space, git_server):
    space.secret("credentials", bearerToken="tokentokentoken")
    space.source(git_server.url(space.repository(FILES).name, "ada:secret"), secretRef={"name": "credentials"})
    assert "basic auth and bearer token cannot be set at the same time" in message(space.not_ready("GitRepository"))


def test_password_without_user(space, git_server):
    space.secret("credentials", password="secretsecret")
    space.source(space.repository(FILES), secretRef={"name": "credentials"})
    assert "'password' requires 'username' to be set" in message(space.not_ready("GitRepository", reason="AuthenticationFailed"))
    no_secret_shown(space, "secretsecret")


def test_wrong_credentials(space, git_server):
    repository = space.repository(FILES)
    git_server.rules[repository.name] = {"auth": {"basic": ("ada", "right")}}
    space.secret("credentials", username="ada", password="wrongwrong")
    space.source(repository, secretRef={"name": "credentials"})
    assert "authentication required" in message(space.not_ready("GitRepository", reason="GitOperationFailed"))
    no_secret_shown(space, "wrongwrong")


def held_in_memory(pid, *texts):
    """Which of these bytes are somewhere in what the process can write to."""
    found = set()
    try:
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for line in maps:
                extent, rights, *_ = line.split()
                if not rights.startswith("rw"):
                    continue
                start, end = (int(part, 16) for part in extent.split("-"))
                memory.seek(start)
                try:
                    content = memory.read(end - start)
                except OSError as e:
                    if e.errno != errno.EIO:   # unmapped meanwhile
                        raise
                    continue
                found |= {text for text in texts if text in content}
    except (FileNotFoundError, ProcessLookupError):
        """The process of one job, which is over."""
    return found


def test_credentials_do_not_stay_in_memory(space, git_server):
    """Nothing of a Secret is in the controller once it was used: not decoded, not as the API server sent it, not as a header."""
    repository = space.repository(FILES)
    password = secrets.token_hex(24)
    git_server.rules[repository.name] = {"auth": {"basic": ("ada", password)}}
    space.secret("credentials", username="ada", password=password)
    space.source(repository, secretRef={"name": "credentials"})
    space.ready("GitRepository", revision=repository.head())
    forms = [password.encode(), base64.b64encode(password.encode()), base64.b64encode(f"ada:{password}".encode())]
    controller = space.stack.source
    # What came last is in a buffer of the connection until the next answer.
    until(lambda: not any(held_in_memory(pid, *forms) for pid in controller.tree()), 20, lambda: {pid: held_in_memory(pid, *forms) for pid in controller.tree()}, 0.5)


def test_private_authority(space, tls_git_server, authority):
    repository = space.repository(FILES)
    space.source(tls_git_server.url(repository.name))
    assert "certificate" in message(space.not_ready("GitRepository", reason="GitOperationFailed"))
    space.secret("tls", **{"ca.crt": read(authority.certificate)})
    space.spec("GitRepository", secretRef={"name": "tls"})
    space.ready("GitRepository", revision=repository.head())


def test_authorities_of_the_system(own_stack, space_in, tls_git_server, authority):
    """SSL_CERT_FILE, wherever it is; what is written into it later counts without a restart."""
    stack = own_stack(start=False)
    bundle = f"{stack.plane.workspace.folder('system')}/bundle.pem"
    with open(bundle, "w") as f:
        f.write("# nobody yet\n")
    stack.source.process.env["SSL_CERT_FILE"] = bundle
    space = space_in(stack.start())
    repository = space.repository(FILES)
    space.source(tls_git_server.url(repository.name))
    assert "tls: failed to verify certificate: x509: certificate signed by unknown authority" in message(space.not_ready("GitRepository", reason="GitOperationFailed"))
    with open(bundle, "a") as f:
        f.write(read(authority.certificate))
    space.ready("GitRepository", revision=repository.head())


def test_mutual_tls(space, git_server, authority, certificate):
    server = GitServer(git_server.folder, certificate, client_ca=authority.certificate)
    own, key = authority.issue(f"client-{space.name}")
    repository = space.repository(FILES)
    space.secret("tls", **{"ca.crt": read(authority.certificate)})
    space.source(server.url(repository.name), secretRef={"name": "tls"})
    assert "remote error: tls: certificate required" in message(space.not_ready("GitRepository", reason="GitOperationFailed"))
    space.secret("tls", **{"ca.crt": read(authority.certificate), "tls.crt": read(own), "tls.key": read(key)})
    space.ready("GitRepository", revision=repository.head())
    no_secret_shown(space, read(key)[40:80])
    server.close()


@pytest.mark.parametrize("kind", ["http", "https", "socks5"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_proxy_with_credentials(space, git_server, tls_git_server, authority, certificate, kind, tls):
    if kind == "https":
        # The CA of the object is also that of its proxy.
        proxy = HttpProxy(("ada", "proxysecret"), certificate)
    else:
        proxy = HttpProxy(("ada", "proxysecret")) if kind == "http" else Socks5Proxy(("ada", "proxysecret"))
    server = tls_git_server if tls else git_server
    repository = space.repository(FILES)
    space.secret("proxy", address=proxy.url, username="ada", password="proxysecret")
    space.secret("tls", **{"ca.crt": read(authority.certificate)})
    space.source(server.url(repository.name), proxySecretRef={"name": "proxy"}, secretRef={"name": "tls"})
    space.ready("GitRepository", revision=repository.head())
    assert f"127.0.0.1:{server.port}" in proxy.targets
    no_secret_shown(space, "proxysecret")
    proxy.close()


def test_proxy_secret_that_is_wrong(space):
    space.secret("proxy", address="ftp://127.0.0.1:1")
    space.source(space.repository(FILES), proxySecretRef={"name": "proxy"})
    assert "proxy URL must use one of the supported schemes (http, https, socks5), got 'ftp'" in message(space.not_ready("GitRepository"))


def test_redirect_to_another_host_carries_no_credentials(space, git_server):
    other = GitServer(git_server.folder)
    repository = space.repository(FILES)
    git_server.rules[repository.name] = {"redirect": other.url(repository.name)}
    space.secret("credentials", username="ada", password="secretsecret")
    space.source(repository, secretRef={"name": "credentials"})
    space.ready("GitRepository", revision=repository.head())
    assert any("Authorization" in headers for _, _, headers in git_server.seen(repository.name, "/info/refs"))
    assert other.seen(repository.name, "/git-upload-pack") and not any("Authorization" in headers for _, _, headers in other.seen(repository.name))
    other.close()


# -- ssh

@pytest.fixture(scope="module")
def sshd(workspace, git_server):
    return SshServer(workspace, git_server.folder, "sshd-transport")


@pytest.mark.parametrize("kind, bits, passphrase", [("ed25519", None, ""), ("ecdsa", 256, ""), ("ecdsa", 384, ""), ("ecdsa", 521, ""), ("rsa", 3072, ""), ("ed25519", None, "open sesame")])
def test_ssh_keys(space, sshd, tmp_path, kind, bits, passphrase):
    repository = space.repository(FILES)
    private, public = keygen(str(tmp_path / "key"), kind, passphrase, bits)
    sshd.authorize(public)
    space.secret("ssh", identity=private, known_hosts=sshd.known_hosts(), **({"password": passphrase} if passphrase else {}))
    space.source(sshd.url(repository.name), secretRef={"name": "ssh"})
    space.ready("GitRepository", revision=repository.head())
    no_secret_shown(space, private.splitlines()[1])


@pytest.mark.parametrize("passphrase", ["", "open sesame"])
def test_ssh_key_in_pkcs8(space, sshd, tmp_path, passphrase):
    repository = space.repository(FILES)
    private, public = pkcs8(str(tmp_path / "key"), passphrase)
    sshd.authorize(public)
    space.secret("ssh", identity=private, known_hosts=sshd.known_hosts(), **({"password": passphrase} if passphrase else {}))
    space.source(sshd.url(repository.name), secretRef={"name": "ssh"})
    space.ready("GitRepository", revision=repository.head())


def test_ssh_without_secret(space, sshd):
    space.source(sshd.url(space.repository(FILES).name))
    assert "invalid 'ssh' auth option: 'identity' is required" in message(space.not_ready("GitRepository", reason="AuthenticationFailed"))


def test_ssh_encrypted_key_without_password(space, sshd, tmp_path):
    private, _ = keygen(str(tmp_path / "key"), passphrase="open sesame")
    space.secret("ssh", identity=private, known_hosts=sshd.known_hosts())
    space.source(sshd.url(space.repository(FILES).name), secretRef={"name": "ssh"})
    text = message(space.not_ready("GitRepository"))
    assert f"SSH identity key is encrypted but no 'password' field was provided in the secret '{space.name}/ssh'" in text


def hashed(line):
    """A known_hosts line as HashKnownHosts writes it."""
    host, rest = line.split(" ", 1)
    salt = os.urandom(20)
    digest = hmac.new(salt, host.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()} {rest}"


KNOWN_HOSTS = [
    ("one-kind", lambda s: s.known_hosts("ed25519"), None),
    ("ecdsa-only", lambda s: s.known_hosts("ecdsa"), None),
    ("rsa-only", lambda s: s.known_hosts("rsa"), None),
    ("hashed", lambda s: "".join(hashed(line) + "\n" for line in s.known_hosts().splitlines()), None),
    ("wildcard", lambda s: s.known_hosts(host=f"[127.0.0.*]:{s.port}"), None),
    ("list-and-comment", lambda s: "# ours\n\n" + s.known_hosts(host=f"example.com,[127.0.0.1]:{s.port}"), None),
    ("negated", lambda s: s.known_hosts(host=f"[127.0.0.*]:{s.port},![127.0.0.1]:{s.port}"), "knownhosts: key is unknown"),
    ("other-host", lambda s: s.known_hosts(host="example.com"), "knownhosts: key is unknown"),
    ("forgotten-port", lambda s: s.known_hosts(host="127.0.0.1"), "knownhosts: key is unknown"),
    ("other-key", lambda s: f"[127.0.0.1]:{s.port} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n", "knownhosts: key mismatch"),
    ("revoked", lambda s: s.known_hosts() + "@revoked * " + s.known_hosts("ed25519").split(" ", 1)[1] + "@revoked * " + s.known_hosts("ecdsa").split(" ", 1)[1]
     + "@revoked * " + s.known_hosts("rsa").split(" ", 1)[1], "knownhosts: key is revoked"),
    ("authority", lambda s: "".join(f"@cert-authority {line}\n" for line in s.known_hosts().splitlines()),
     "knownhosts: only an @cert-authority line is for this host, and host certificates are not supported"),
    ("authority-of-others", lambda s: f"@cert-authority *.example.com {s.host_keys['ed25519']}\n" + s.known_hosts(), None),
]


@pytest.mark.parametrize("lines, part", [case[1:] for case in KNOWN_HOSTS], ids=[case[0] for case in KNOWN_HOSTS])
def test_known_hosts(space, sshd, tmp_path, lines, part):
    repository = space.repository(FILES)
    private, public = keygen(str(tmp_path / "key"))
    sshd.authorize(public)
    space.secret("ssh", identity=private, known_hosts=lines(sshd))
    space.source(sshd.url(repository.name), secretRef={"name": "ssh"})
    if part is None:
        space.ready("GitRepository", revision=repository.head())
    else:
        assert part in message(space.not_ready("GitRepository", reason="GitOperationFailed"))


def test_unknown_host_is_named(space, sshd, tmp_path):
    """Host, port and the fingerprint that was offered: what a person compares."""
    private, _ = keygen(str(tmp_path / "key"))
    space.secret("ssh", identity=private, known_hosts="example.com " + sshd.host_keys["ed25519"] + "\n")
    space.source(sshd.url(space.repository(FILES).name), secretRef={"name": "ssh"})
    text = message(space.not_ready("GitRepository", reason="GitOperationFailed"))
    assert re.search(rf"the server at 127\.0\.0\.1:{sshd.port} offered \S+ SHA256:[A-Za-z0-9+/]{{43}} \(known_hosts names this server '\[127\.0\.0\.1\]:{sshd.port}'\)", text), text


@pytest.mark.parametrize("kind", ["http", "socks5"])
def test_ssh_through_a_proxy(space, sshd, tmp_path, kind):
    proxy = (HttpProxy if kind == "http" else Socks5Proxy)(("ada", "proxysecret"))
    repository = space.repository(FILES)
    private, public = keygen(str(tmp_path / "key"))
    sshd.authorize(public)
    space.secret("ssh", identity=private, known_hosts=sshd.known_hosts())
    space.secret("proxy", address=proxy.url, username="ada", password="proxysecret")
    space.source(sshd.url(repository.name), secretRef={"name": "ssh"}, proxySecretRef={"name": "proxy"})
    space.ready("GitRepository", revision=repository.head())
    assert f"127.0.0.1:{sshd.port}" in proxy.targets
    no_secret_shown(space, "proxysecret")
    proxy.close()


def test_ssh_through_an_https_proxy(space, sshd, tmp_path):
    private, _ = keygen(str(tmp_path / "key"))
    space.secret("ssh", identity=private, known_hosts=sshd.known_hosts())
    space.secret("proxy", address="https://127.0.0.1:1")
    space.source(sshd.url(space.repository(FILES).name), secretRef={"name": "ssh"}, proxySecretRef={"name": "proxy"})
    assert "an https proxy cannot carry ssh: use an http or socks5 proxy" in message(space.not_ready("GitRepository", reason="GitOperationFailed"))


def test_ssh_wrong_passphrase(space, sshd, tmp_path):
    private, public = keygen(str(tmp_path / "key"), passphrase="open sesame")
    sshd.authorize(public)
    space.secret("ssh", identity=private, known_hosts=sshd.known_hosts(), password="closed sesame")
    space.source(sshd.url(space.repository(FILES).name), secretRef={"name": "ssh"})
    text = message(space.not_ready("GitRepository", reason="GitOperationFailed"))
    assert "unable to construct auth method with options: ssh: the private key in 'identity' cannot be read" in text and "'password' is not its passphrase" in text
    no_secret_shown(space, "closed sesame")


def test_ssh_repository_that_is_not_there(space, sshd, tmp_path):
    private, public = keygen(str(tmp_path / "key"))
    sshd.authorize(public)
    space.secret("ssh", identity=private, known_hosts=sshd.known_hosts())
    space.source(sshd.url("no-such-repository"), secretRef={"name": "ssh"})
    url = sshd.url("no-such-repository")
    assert f"unable to clone: repository not found: git repository: '{url}': " in message(space.not_ready("GitRepository", reason="GitOperationFailed"))


def trickle(connection):
    for byte in b"SSH-2.0-" + b"x" * 1000:
        connection.sendall(bytes([byte]))
        time.sleep(1)


def silence(connection):
    while connection.recv(4096):
        pass


def noise(connection):
    connection.sendall(b"SSH-2.0-noise\r\n")
    while True:
        connection.sendall(os.urandom(4096))


def banners(connection):
    while True:
        connection.sendall(b"a banner before the version\r\n" * 100)


def packet_without_end(connection):
    """A version, then a packet that says that it has 2 GiB."""
    connection.sendall(b"SSH-2.0-large\r\n\x7f\xff\xff\xff\x04\x14")
    silence(connection)


@pytest.mark.parametrize("talk", [trickle, silence, noise, banners, packet_without_end], ids=lambda f: f.__name__)
def test_ssh_server_that_does_not_behave(space, sshd, tmp_path, talk):
    """The deadline ends it at the latest; the next object is served meanwhile."""
    server = RawServer(talk)
    private, _ = keygen(str(tmp_path / "key"))
    space.secret("ssh", identity=private, known_hosts=sshd.known_hosts(host=f"[127.0.0.1]:{server.port}"))
    space.source(f"ssh://git@127.0.0.1:{server.port}/x.git", secretRef={"name": "ssh"}, timeout="3s")
    until(lambda: server.connections, 10, "the fetch begun")
    bystander(space)
    start = time.monotonic()
    text = message(space.not_ready("GitRepository", reason="GitOperationFailed", seconds=20))
    assert time.monotonic() - start < 15
    assert "ssh: handshake failed" in text or "deadline exceeded" in text, text
    server.close()


def test_rsa_entry_and_a_server_of_sha2_only(space, workspace, git_server, tmp_path):
    """An ssh-rsa line says what the key is, not which hash signs: a server that refuses SHA-1 is still known."""
    server = SshServer(workspace, git_server.folder, f"sshd-{space.name}", ["HostKeyAlgorithms rsa-sha2-512,rsa-sha2-256", "PubkeyAcceptedAlgorithms rsa-sha2-512,rsa-sha2-256"])
    repository = space.repository(FILES)
    private, public = keygen(str(tmp_path / "key"), "rsa", bits=3072)
    server.authorize(public)
    space.secret("ssh", identity=private, known_hosts=server.known_hosts("rsa"))
    space.source(server.url(repository.name), secretRef={"name": "ssh"})
    space.ready("GitRepository", revision=repository.head())


@pytest.mark.parametrize("option", ["KexAlgorithms diffie-hellman-group14-sha1", "MACs hmac-sha1\nCiphers aes256-ctr"], ids=["key-exchange", "mac"])
def test_ssh_server_of_old(space, workspace, git_server, tmp_path, option):
    """What Flux offers last is offered last here too."""
    server = SshServer(workspace, git_server.folder, f"sshd-{space.name}", [option])
    repository = space.repository(FILES)
    private, public = keygen(str(tmp_path / "key"))
    server.authorize(public)
    space.secret("ssh", identity=private, known_hosts=server.known_hosts())
    space.source(server.url(repository.name), secretRef={"name": "ssh"})
    space.ready("GitRepository", revision=repository.head())


def test_ssh_key_that_nobody_authorized(space, sshd, tmp_path):
    private, _ = keygen(str(tmp_path / "key"))
    space.secret("ssh", identity=private, known_hosts=sshd.known_hosts())
    space.source(sshd.url(space.repository(FILES).name), secretRef={"name": "ssh"})
    assert "unable to authenticate" in message(space.not_ready("GitRepository", reason="GitOperationFailed"))


# -- servers that do not behave

def bystander(space):
    """Another object of the same controller, which must not notice."""
    repository = space.repository(FILES)
    space.source(repository, "bystander")
    space.ready("GitRepository", "bystander", seconds=10)
    return repository


def test_server_that_trickles(space, git_server):
    """One byte a second: the deadline ends it, and the others are served meanwhile."""
    repository = space.repository(FILES)
    git_server.rules[repository.name] = {"trickle": 1}
    space.source(repository, timeout="3s")
    until(lambda: git_server.seen(repository.name), 10, "the fetch begun")
    bystander(space)
    start = time.monotonic()
    o = space.not_ready("GitRepository", reason="GitOperationFailed", seconds=20)
    assert "deadline exceeded" in message(o) and time.monotonic() - start < 15


def test_server_that_answers_nothing(space, git_server):
    repository = space.repository(FILES)
    gate = threading.Event()
    git_server.rules[repository.name] = {"hang": gate}
    space.source(repository, timeout="2s")
    until(lambda: git_server.seen(repository.name), 10, "the fetch begun")
    bystander(space)
    assert "deadline exceeded" in message(space.not_ready("GitRepository", reason="GitOperationFailed", seconds=20))
    git_server.rules[repository.name] = {}
    gate.set()
    space.ready("GitRepository", revision=repository.head())


def test_delta_bomb(space, git_server):
    """A pack of some kilobytes whose deltas expand to 16 GiB ends as a condition of its object; the controller and the others stay as they are."""
    repository = space.repository(FILES)
    pid = space.stack.source.process.pid
    git_server.rules[repository.name] = {"bomb": 1 << 34}
    space.source(repository, timeout="20s")
    until(lambda: git_server.seen(repository.name, "/git-upload-pack"), 10, "the fetch begun")
    bystander(space)
    assert "failed to apply delta" in message(space.not_ready("GitRepository", reason="GitOperationFailed", seconds=40))
    assert space.stack.source.process.pid == pid and space.stack.source.process.running
    until(lambda: space.stack.source.pss() < 64 << 20, 20, lambda: f"memory given back: {space.stack.source.pss() >> 20} MiB")
    git_server.rules[repository.name] = {}
    space.reconcile("GitRepository")
    space.ready("GitRepository", revision=repository.head())


@pytest.mark.parametrize("status", [404, 403, 500])
def test_status_of_the_server(space, git_server, status):
    repository = space.repository(FILES)
    git_server.rules[repository.name] = {"status": status}
    space.source(repository)
    space.not_ready("GitRepository", reason="GitOperationFailed")
    git_server.rules[repository.name] = {}
    o = space.ready("GitRepository", revision=repository.head())
    assert set(files(download(artifact_of(o)))) == {"c.yaml"}


def test_nobody_listens(space):
    """The address that refused is named, and whether it is the proxy's."""
    port = free_port()
    space.source(f"http://127.0.0.1:{port}/x.git")
    assert f"info/refs?service=git-upload-pack\": dial tcp 127.0.0.1:{port}: connect: connection refused" in message(space.not_ready("GitRepository"))
    space.secret("proxy", address=f"http://127.0.0.1:{port}")
    space.source("http://git.example.com/x.git", "proxied", proxySecretRef={"name": "proxy"})
    assert f": proxyconnect tcp: dial tcp 127.0.0.1:{port}: connect: connection refused" in message(space.not_ready("GitRepository", "proxied"))


def hang_up(connection):
    connection.recv(65536)


def promise_more(connection):
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\nContent-Length: 100\r\n\r\n001e# service=git-upload-pack\n")


def begin_and_leave(connection):
    """What came is being read by the time that the rest is missing."""
    promise_more(connection)
    time.sleep(0.3)


def speak_ssh(connection):
    connection.recv(65536)
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")


@pytest.mark.parametrize("talk, text", [(hang_up, "EOF"), (promise_more, "unexpected EOF"), (begin_and_leave, "unexpected EOF"), (speak_ssh, "net/http: HTTP/1.x transport connection broken: malformed HTTP response")],
                         ids=lambda value: getattr(value, "__name__", ""))
def test_server_that_is_none(space, talk, text):
    """How a connection ended, in the words that users of Flux know."""
    server = RawServer(talk)
    space.source(f"http://127.0.0.1:{server.port}/x.git")
    assert message(space.not_ready("GitRepository")).endswith(f'/x.git/info/refs?service=git-upload-pack": {text}')
    server.close()


def test_what_a_proxy_has_against_us(space, git_server, sshd, certificate, tmp_path):
    """Who refused, which proxy it was and for which server; an authority that is missing is the proxy's, not the server's."""
    repository, dead = space.repository(FILES), free_port()
    socks, tls = Socks5Proxy(("ada", "proxysecret")), HttpProxy(None, certificate)
    server, host = f"127.0.0.1:{git_server.port}", f"127.0.0.1:{sshd.port}"
    private, _ = keygen(str(tmp_path / "key"))
    space.secret("ssh", identity=private, known_hosts=sshd.known_hosts())
    space.secret("anonymous", address=socks.url)
    space.secret("wrong", address=socks.url, username="ada", password="secretsecret")
    space.secret("dead", address=f"socks5://127.0.0.1:{dead}")
    space.secret("unknown", address=tls.url)
    space.secret("nameless", address="socks5://proxy.invalid:1080")
    space.secret("plain", address=f"https://{server}")
    through = f"socks connect tcp 127.0.0.1:{socks.port}->"
    refused = [("anonymous", repository.url, f"{through}{server}: no acceptable authentication methods"),
               ("wrong", repository.url, f"{through}{server}: username/password authentication failed"),
               ("unknown", repository.url, "proxyconnect tcp: tls: failed to verify certificate: x509: certificate signed by unknown authority"),
               ("nameless", repository.url, "proxyconnect tcp: dial tcp: lookup proxy.invalid: no such host"),
               ("plain", repository.url, "proxyconnect tcp: tls: first record does not look like a TLS handshake"),
               ("wrong", sshd.url(repository.name), f"{through}{host}: username/password authentication failed"),
               ("dead", sshd.url(repository.name), f"socks connect tcp 127.0.0.1:{dead}->{host}: dial tcp 127.0.0.1:{dead}: connect: connection refused")]
    for i, (secret, url, _) in enumerate(refused):
        space.source(url, f"app-{i}", proxySecretRef={"name": secret}, **({"secretRef": {"name": "ssh"}} if url.startswith("ssh") else {}))
    for i, (_, _, text) in enumerate(refused):
        assert message(space.not_ready("GitRepository", f"app-{i}")).endswith(f": {text}")
    for proxy in (socks, tls):
        proxy.close()
