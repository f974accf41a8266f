"""A server of artifacts that does not have to mean well, and archives to serve."""
import gzip
import io
import tarfile

from peers.http import Handler, Server


class Artifacts:
    """Serves whatever answer, a function of the request's handler, says; requests counts them."""

    def __init__(self):
        outer = self

        class ArtifactHandler(Handler):
            def do_GET(self):
                outer.requests += 1
                try:
                    outer.answer(self)
                except OSError:
                    """The client left."""

        self.answer, self.requests = None, 0
        self.server = Server(ArtifactHandler)
        self.url = self.server.url + "/"

    def serve(self, data):
        self.answer = lambda request: request.answer(200, body=data)
        return data

    def fail(self):
        """Says that it is down."""
        self.answer = lambda request: request.answer(503)

    def close(self):
        self.server.close()


def archive(content, *names):
    """A compressed tar of files that all hold this."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(data.getvalue())
