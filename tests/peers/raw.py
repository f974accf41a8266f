"""A TCP server that says what a test wants it to."""
import socket
import threading


class RawServer:
    """Each connection is given to talk(connection), in a thread of its own; one that hangs up is not news."""

    def __init__(self, talk):
        self.talk = talk
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection):
        with connection:
            try:
                self.talk(connection)
            except OSError:
                return

    def close(self):
        self.socket.close()
