"""Git repositories and the servers they come from: smart HTTP as git itself speaks it, with faults where a test asks for them."""
import base64
import hashlib
import os
import struct
import subprocess
import threading
import time
import zlib

from peers.http import Handler, Server

ENVIRONMENT = {
    "PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": "/nonexistent", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0", "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.com", "GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.com",
}


def git(*arguments, cwd="/", env=None, text=True, data=None):
    """The output of one git command."""
    done = subprocess.run(["git", *arguments], cwd=cwd, env={**ENVIRONMENT, **(env or {})}, capture_output=True, text=text, input=data)
    if done.returncode:
        raise AssertionError(f"git {' '.join(arguments)}: {done.stderr}")
    return done.stdout.strip() if text else done.stdout


class Repository:
    """A bare repository that servers serve, and a work tree to make commits in."""

    def __init__(self, folder, name):
        self.name = name
        self.bare, self.work = f"{folder}/{name}.git", f"{folder}/.work/{name}"
        self.clock = 0
        os.makedirs(os.path.dirname(self.work), exist_ok=True)
        git("init", "-q", "--bare", "-b", "main", self.bare)
        # The fetch of a commit by its id, of any ref, and of a part of the history: what the big hosts allow.
        for key in ("uploadpack.allowAnySHA1InWant", "uploadpack.allowFilter", "http.receivepack"):
            git("config", key, "true", cwd=self.bare)
        git("init", "-q", "-b", "main", self.work)
        git("remote", "add", "origin", self.bare, cwd=self.work)

    def commit(self, files=None, delete=(), message="change", branch="main", tag=None, annotated=False, push=True):
        """
        Commits onto a branch and pushes it; returns the id. files: path -> text, bytes, or ("symlink", target), or ("executable", text). Dates are fixed,
        so the ids of a test are the same in every run.
        """
        self.clock += 1
        date = {"GIT_AUTHOR_DATE": f"2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE": f"2026-01-01T{self.clock // 3600:02}:{self.clock // 60 % 60:02}:{self.clock % 60:02}Z"}
        branches = git("branch", "--format=%(refname:short)", cwd=self.work).split()
        if branch in branches:
            git("checkout", "-q", branch, cwd=self.work)
        elif branches or branch != "main":
            git("checkout", "-q", "-B", branch, cwd=self.work)
        for path, content in (files or {}).items():
            self._write(os.path.join(self.work, path), content)
        for path in delete:
            git("rm", "-q", "-r", path, cwd=self.work)
        git("add", "-A", cwd=self.work)
        git("commit", "-q", "--allow-empty", "-m", message, cwd=self.work, env=date)
        for name in [tag] if isinstance(tag, str) else tag or ():
            git("tag", "-f", *(["-a", "-m", name] if annotated else []), name, cwd=self.work, env=date)
        if push:
            git("push", "-q", "-f", "--tags", "origin", branch, cwd=self.work)
        return git("rev-parse", "HEAD", cwd=self.work)

    @staticmethod
    def _write(path, content):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.islink(path):
            os.unlink(path)
        if isinstance(content, tuple) and content[0] == "symlink":
            os.symlink(content[1], path)
            return
        executable = isinstance(content, tuple)
        text = content[1] if executable else content
        with open(path, "wb") as f:
            f.write(text if isinstance(text, bytes) else text.encode())
        if executable:
            os.chmod(path, 0o755)

    def head(self, ref="main"):
        return git("rev-parse", ref, cwd=self.bare)

    def set_ref(self, ref, commit):
        git("update-ref", ref, commit, cwd=self.bare)

    def delete_ref(self, ref):
        git("update-ref", "-d", ref, cwd=self.bare)


class GitServer:
    """
    Serves every repository of a folder at URL/NAME.git. What differs for one repository is set in rules[NAME]:
      auth      {"basic": (user, password)} or {"bearer": token}: others get 401
      status    this status for every request
      redirect  a URL: 302 there, path and query kept
      trickle   seconds between two bytes of every answer
      bomb      the pack is one whose deltas expand to that many bytes
      hang      an Event: answers wait for it
      pack      a function of the pack that git made: the one that is sent
      reply     a function of (path, request's body): (status, content type, body or an iterator of its pieces), or None for git's own answer
    requests holds (method, path, headers) of everything that was asked.
    """

    def __init__(self, folder, certificate=None, client_ca=None):
        self.folder = folder
        self.rules = {}
        self.requests = []
        self.lock = threading.Lock()
        outer = self

        class GitHandler(Handler):
            def do_GET(self):
                outer.serve(self)
            do_POST = do_GET

        self.server = Server(GitHandler, certificate, client_ca)
        self.port, self.base = self.server.port, self.server.url

    def url(self, name, user_info=""):
        return self.base.replace("://", f"://{user_info}@" if user_info else "://") + f"/{name}.git"

    def repository(self, name):
        return Repository(self.folder, name)

    def seen(self, name, part=""):
        """The requests about one repository whose path contains part."""
        with self.lock:
            return [r for r in self.requests if r[1].startswith(f"/{name}.git") and part in r[1]]

    def close(self):
        self.server.close()

    def serve(self, handler):
        path, _, query = handler.path.partition("?")
        name = path.split(".git")[0].strip("/")
        rules = self.rules.get(name, {})
        body = handler.body()
        with self.lock:
            self.requests.append((handler.command, handler.path, dict(handler.headers)))
        if "hang" in rules:
            rules["hang"].wait(120)
        if "status" in rules:
            handler.answer(rules["status"], body=b"as the test wants it\n")
        elif "redirect" in rules:
            handler.answer(302, {"Location": rules["redirect"] + handler.path[len(f"/{name}.git"):]})
        elif "reply" in rules and (reply := rules["reply"](path, body)) is not None:
            self.send_pieces(handler, *reply)
        elif not self.allowed(rules.get("auth"), handler.headers.get("Authorization", "")):
            handler.answer(401, {"WWW-Authenticate": 'Basic realm="weir"'})
        else:
            self.backend(handler, rules, path, query, body)

    @staticmethod
    def allowed(auth, header):
        if not auth:
            return True
        if "bearer" in auth:
            return header == f"Bearer {auth['bearer']}"
        return header == "Basic " + base64.b64encode(":".join(auth["basic"]).encode()).decode()

    def backend(self, handler, rules, path, query, body):
        env = {**ENVIRONMENT, "GIT_PROJECT_ROOT": self.folder, "GIT_HTTP_EXPORT_ALL": "1", "REQUEST_METHOD": handler.command, "PATH_INFO": path,
               "QUERY_STRING": query, "CONTENT_TYPE": handler.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
               "HTTP_CONTENT_ENCODING": handler.headers.get("Content-Encoding", ""), "GIT_PROTOCOL": handler.headers.get("Git-Protocol", ""),
               "REMOTE_ADDR": "127.0.0.1", "REMOTE_USER": "ada"}
        output = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True).stdout
        head, _, output = output.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        status = int(headers.pop("Status", "200").split()[0])
        if "bomb" in rules and path.endswith("/git-upload-pack") and handler.command == "POST":
            output = replace_pack(output, delta_bomb(os.path.join(self.folder, path.strip("/").split("/")[0]), rules["bomb"]))
        if "pack" in rules and path.endswith("/git-upload-pack") and handler.command == "POST":
            output = replace_pack(output, rules["pack"](pack_of(output)))
        if "trickle" in rules:
            self.trickle(handler, status, headers, output, rules["trickle"])
        else:
            handler.answer(status, headers, output)

    @staticmethod
    def send_pieces(handler, status, kind, body):
        """An iterator ends with the connection: only then is the answer over."""
        if isinstance(body, bytes):
            handler.answer(status, {"Content-Type": kind}, body)
            return
        handler.close_connection = True
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Connection", "close")
        handler.end_headers()
        for piece in body:
            handler.wfile.write(piece)

    @staticmethod
    def trickle(handler, status, headers, body, pause):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        for i in range(len(body)):
            handler.wfile.write(body[i:i + 1])
            handler.wfile.flush()
            time.sleep(pause)


# -- a pack that is small on the wire and huge when its deltas are resolved

def size_bytes(n):
    out = bytearray()
    while True:
        out.append((n & 0x7f) | (0x80 if n > 0x7f else 0))
        n >>= 7
        if not n:
            return bytes(out)


def pack_entry(kind, size, data, base=b""):
    head = [(kind << 4) | (size & 15)]
    size >>= 4
    while size:
        head[-1] |= 0x80
        head.append(size & 0x7f)
        size >>= 7
    return bytes(head) + base + zlib.compress(data, 9)


def offset_bytes(distance):
    out = [distance & 0x7f]
    while distance := distance >> 7:
        distance -= 1
        out.insert(0, 0x80 | (distance & 0x7f))
    return bytes(out)


def delta_bomb(bare, size):
    """The objects of a repository, and beside them a chain of deltas whose end has about size bytes."""
    plain = subprocess.run(["git", "pack-objects", "--stdout", "--all", "--window=0", "-q"], cwd=bare, env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                           capture_output=True, check=True).stdout
    count = struct.unpack(">I", plain[8:12])[0]
    body = bytearray(plain[:-20])
    length, start = 1 << 16, len(body)
    body += pack_entry(3, length, b"w" * length)
    count += 1
    while length < size:
        # The next object is up to 4096 copies of the first 16 MiB of this one.
        step = min(length, 0xffffff)
        times = min(4096, -(-size // step))
        delta = size_bytes(length) + size_bytes(step * times) + (b"\xf0" + struct.pack("<I", step)[:3]) * times
        here = len(body)
        body += pack_entry(6, len(delta), delta, offset_bytes(here - start))
        start, length = here, step * times
        count += 1
    struct.pack_into(">I", body, 8, count)
    return bytes(body) + hashlib.sha1(body).digest()


def pkt(line):
    """One pkt-line."""
    return b"%04x" % (len(line) + 4) + line


def advertisement(*refs, capabilities=b"multi_ack multi_ack_detailed ofs-delta side-band-64k shallow no-progress allow-tip-sha1-in-want allow-reachable-sha1-in-want"):
    """The answer to info/refs: refs are (id, name) as bytes."""
    lines = [oid + b" " + name for oid, name in refs]
    lines[0] += b"\0" + capabilities
    return pkt(b"# service=git-upload-pack\n") + b"0000" + b"".join(pkt(line + b"\n") for line in lines) + b"0000"


def make_pack(*objects, count=None, trailer=None):
    """A pack of (type, bytes); count and trailer may lie."""
    body = b"PACK" + struct.pack(">II", 2, len(objects) if count is None else count)
    body += b"".join(pack_entry({"commit": 1, "tree": 2, "blob": 3, "tag": 4}[kind], len(data), data) for kind, data in objects)
    return body + (hashlib.sha1(body).digest() if trailer is None else trailer)


def object_id(kind, data):
    return hashlib.sha1(f"{kind} {len(data)}".encode() + b"\0" + data).hexdigest()


def pack_of(response):
    """The pack in the answer of upload-pack."""
    pack, at = b"", 0
    while at + 4 <= len(response):
        if response[at:at + 4] == b"PACK":
            return response[at:]
        size = int(response[at:at + 4], 16)
        if response[at + 4:at + 5] == b"\x01":
            pack += response[at + 5:at + size]
        at += max(size, 4)
    return pack


def replace_pack(response, pack):
    """The answer of upload-pack with another pack in it, in a side band or not."""
    raw = response.find(b"PACK")
    out, at = b"", 0
    while at + 4 <= len(response):
        try:
            size = int(response[at:at + 4], 16)
        except ValueError:
            return response[:at] + pack
        line = response[at + 4:at + size] if size >= 4 else b""
        if line[:1] == b"\x01":
            for i in range(0, len(pack), 65000):
                piece = pack[i:i + 65000]
                out += b"%04x\x01" % (len(piece) + 5) + piece
            return out + b"0000"
        out += response[at:at + max(size, 4)]
        at += max(size, 4)
    return response if raw < 0 else response[:raw] + pack
