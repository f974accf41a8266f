"""An API server as seen from its door: a relay that ends TLS, writes down every request with its time, and can shut the door."""
import re
import select
import socket
import ssl
import time

from peers.proxy import Tcp

REQUEST = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE) (\S+) HTTP/1\.1\r\n")


def end(pair):
    for s in pair:
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Tap:
    """
    requests: (monotonic seconds, method, path) of what came in, over HTTP/1.1. After refuse() a request is written down, goes nowhere, and its connection
    ends without an answer; until resume().
    """

    def __init__(self, target_port, certificate, key):
        self.target_port, self.requests, self.connections = target_port, [], []
        self.refusing = False
        self.inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.inside.load_cert_chain(certificate, key)
        self.outside = ssl.create_default_context()
        self.outside.check_hostname = False
        self.outside.verify_mode = ssl.CERT_NONE
        self.server = Tcp(self._handle)
        self.port = self.server.port

    def _handle(self, client):
        client = self.inside.wrap_socket(client, server_side=True)
        with self.outside.wrap_socket(socket.create_connection(("127.0.0.1", self.target_port), timeout=30)) as upstream:
            pair = (client, upstream)
            self.connections.append(pair)
            try:
                self._carry(*pair)
            except OSError:
                pass
            end(pair)
            self.connections.remove(pair)

    def _carry(self, client, upstream):
        """Both ways in one thread: a TLS connection of Python's is not made for one that reads while another writes."""
        rest = b""
        for s in (client, upstream):
            s.setblocking(False)
        while True:
            for source in [s for s in (client, upstream) if s.pending()] or select.select([client, upstream], [], [])[0]:
                try:
                    data = source.recv(65536)
                except ssl.SSLWantReadError:
                    continue
                if source is client:
                    rest = self._note(rest + data)
                if not data or self.refusing:
                    return
                sink = upstream if source is client else client
                sink.setblocking(True)
                sink.sendall(data)
                sink.setblocking(False)

    def _note(self, text):
        seen = 0
        for match in REQUEST.finditer(text):
            self.requests.append((time.monotonic(), match[1].decode(), match[2].decode()))
            seen = match.end()
        return text[seen:][-4096:]   # the start of a line that the next piece ends

    def refuse(self):
        self.refusing = True
        for pair in list(self.connections):
            end(pair)

    def resume(self):
        self.refusing = False

    def close(self):
        self.refuse()
        self.server.close()
