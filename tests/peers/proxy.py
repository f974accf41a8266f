"""Forward proxies with credentials: HTTP (CONNECT and absolute URIs, over TLS if a certificate is given) and SOCKS5; and a link that can freeze."""
import base64
import select
import socket
import socketserver
import ssl
import struct
import threading
from urllib.parse import urlsplit


def receive(s):
    """What there is to read; None if a TLS record is not all there yet, or was none of the application's."""
    s.setblocking(False)
    try:
        return s.recv(65536)
    except (ssl.SSLWantReadError, BlockingIOError):
        return None
    finally:
        s.setblocking(True)


def pump(a, b):
    """Carries bytes both ways until one side ends."""
    pair = {a: b, b: a}
    while True:
        waiting = [s for s in pair if isinstance(s, ssl.SSLSocket) and s.pending()]
        for s in waiting or select.select(list(pair), [], [])[0]:
            data = receive(s)
            if data == b"":
                return
            if data:
                pair[s].sendall(data)


class Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, handle):
        class Connection(socketserver.BaseRequestHandler):
            def handle(self):
                try:
                    handle(self.request)
                except OSError:
                    pass
        super().__init__(("127.0.0.1", 0), Connection)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def handle_error(self, request, client_address):
        """A client that hangs up is not news."""

    def close(self):
        self.shutdown()
        self.server_close()


class HttpProxy:
    """targets: host:port of all that was let through; refused: how many came without the credentials (user, password)."""

    def __init__(self, credentials=None, certificate=None):
        self.targets, self.refused = [], 0
        self.expected = "Basic " + base64.b64encode(":".join(credentials).encode()).decode() if credentials else None
        self.tls = None
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*certificate)
        self.server = Tcp(self._handle)
        self.port = self.server.port
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"

    def _handle(self, client):
        if self.tls:
            client = self.tls.wrap_socket(client, server_side=True)
        head = b""
        while b"\r\n\r\n" not in head:
            data = client.recv(65536)
            if not data:
                return
            head += data
        head, _, rest = head.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        if self.expected and headers.get("proxy-authorization") != self.expected:
            self.refused += 1
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"weir\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        method, target, version = first.split(" ")
        connect = method == "CONNECT"
        place = target if connect else urlsplit(target).netloc.rpartition("@")[2]
        host, _, port = place.partition(":")
        self.targets.append(place)
        with socket.create_connection((host, int(port or 80)), timeout=30) as upstream:
            if connect:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                upstream.sendall(rest)
            else:
                # One request for one connection: the origin is asked to close it, so the next request comes here again.
                path = urlsplit(target)._replace(scheme="", netloc="").geturl()
                kept = [line for line in lines if not line.lower().startswith(("proxy-", "connection:"))]
                upstream.sendall("\r\n".join([f"{method} {path} {version}", *kept, "Connection: close", "", ""]).encode("latin-1") + rest)
            pump(client, upstream)

    def close(self):
        self.server.close()


class Socks5Proxy:
    """targets and refused as HttpProxy."""

    def __init__(self, credentials=None):
        self.credentials, self.targets, self.refused = credentials, [], 0
        self.server = Tcp(self._handle)
        self.port = self.server.port
        self.url = f"socks5://127.0.0.1:{self.port}"

    @staticmethod
    def _read(s, n):
        data = b""
        while len(data) < n:
            piece = s.recv(n - len(data))
            if not piece:
                raise OSError("the client left")
            data += piece
        return data

    def _handle(self, client):
        methods = self._read(client, self._read(client, 2)[1])
        wanted = 2 if self.credentials else 0
        if wanted not in methods:
            self.refused += 1
            client.sendall(b"\x05\xff")
            return
        client.sendall(bytes([5, wanted]))
        if wanted == 2:
            user = self._read(client, self._read(client, 2)[1]).decode()
            password = self._read(client, self._read(client, 1)[0]).decode()
            ok = (user, password) == tuple(self.credentials)
            client.sendall(b"\x01\x00" if ok else b"\x01\x01")
            if not ok:
                self.refused += 1
                return
        kind = self._read(client, 4)[3]
        if kind == 1:
            host = socket.inet_ntoa(self._read(client, 4))
        elif kind == 3:
            host = self._read(client, self._read(client, 1)[0]).decode()
        else:
            host = socket.inet_ntop(socket.AF_INET6, self._read(client, 16))
        port = struct.unpack(">H", self._read(client, 2))[0]
        self.targets.append(f"{host}:{port}")
        with socket.create_connection((host, port), timeout=30) as upstream:
            client.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
            pump(client, upstream)

    def close(self):
        self.server.close()


class Link:
    """
    A TCP relay to one port of loopback. freeze() leaves connections open and carries nothing more, as a network that drops packets, also on new ones until
    thaw(); abandon() does that to those that are open now, for good, as a load balancer whose backend stands still, and serves new ones; cut() resets what is
    open.
    """

    def __init__(self, target_port):
        self.target_port = target_port
        self.open = threading.Event()
        self.open.set()
        self.pairs = []
        self.server = Tcp(self._handle)
        self.port = self.server.port

    def _handle(self, client):
        with socket.create_connection(("127.0.0.1", self.target_port), timeout=30) as upstream:
            upstream.settimeout(None)
            pair = Pair(client, upstream)
            self.pairs.append(pair)
            other = threading.Thread(target=self._carry, args=(pair, client, upstream), daemon=True)
            other.start()
            self._carry(pair, upstream, client)
            other.join()
            if pair in self.pairs:
                self.pairs.remove(pair)

    def _carry(self, pair, source, sink):
        try:
            while True:
                data = source.recv(65536)
                self.open.wait()
                if not data:
                    break
                if not pair.abandoned:
                    sink.sendall(data)
        except OSError:
            pass
        if not pair.abandoned:
            pair.each(lambda s: s.shutdown(socket.SHUT_RDWR))

    def freeze(self):
        self.open.clear()

    def thaw(self):
        self.open.set()

    def abandon(self):
        for pair in self.pairs:
            pair.abandoned = True

    def cut(self):
        """Resets what is open now; new connections are served."""
        def reset(s):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.shutdown(socket.SHUT_RDWR)
        pairs, self.pairs = self.pairs, []
        for pair in pairs:
            pair.each(reset)

    def close(self):
        self.open.set()
        self.cut()
        self.server.close()


class Pair:
    """The two ends of a connection that is relayed."""

    def __init__(self, client, upstream):
        self.ends, self.abandoned = (client, upstream), False

    def each(self, deed):
        for s in self.ends:
            try:
                deed(s)
            except OSError:
                pass
