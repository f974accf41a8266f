"""An API server as seen from its door: a relay that ends TLS, writes down every request with its time, and can shut the door."""
import re
import socket
import ssl
import threading
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
            upstream.settimeout(None)
            pair = (client, upstream)
            self.connections.append(pair)
            other = threading.Thread(target=self._carry, args=(client, upstream, True), daemon=True)
            other.start()
            self._carry(upstream, client, False)
            other.join()
            self.connections.remove(pair)

    def _carry(self, source, sink, listens):
        rest = b""
        try:
            while data := source.recv(65536):
                if listens:
                    rest += data
                    seen = 0
                    for match in REQUEST.finditer(rest):
                        self.requests.append((time.monotonic(), match[1].decode(), match[2].decode()))
                        seen = match.end()
                    rest = rest[seen:][-4096:]   # the start of a line that the next piece ends
                if self.refusing:
                    break
                sink.sendall(data)
        except OSError:
            pass
        end((source, sink))

    def refuse(self):
        self.refusing = True
        for pair in list(self.connections):
            end(pair)

    def resume(self):
        self.refusing = False

    def close(self):
        self.refuse()
        self.server.close()
