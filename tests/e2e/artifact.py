"""What tests ask of a stored artifact."""
import gzip
import hashlib
import http.client
import io
import tarfile
import urllib.parse
import urllib.request


def artifact_of(o):
    return (o.get("status") or {}).get("artifact")


def request(method, url, headers=None):
    """(status, headers, body) of one request as it stands: nothing is followed or cleaned."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    connection.request(method, parts.path, headers=headers or {})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, {k.lower(): v for k, v in response.getheaders()}, body


def download(artifact):
    """The bytes of an artifact, held against its digest and size."""
    with urllib.request.urlopen(artifact["url"], timeout=30) as response:
        data = response.read()
    algorithm, _, digest = artifact["digest"].partition(":")
    assert hashlib.new(algorithm, data).hexdigest() == digest
    assert len(data) == artifact["size"]
    return data


def members(data):
    """The tar entries of an artifact."""
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as archive:
        return archive.getmembers()


def files(data):
    """path -> content of the regular files of an artifact."""
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as archive:
        return {m.name: archive.extractfile(m).read() for m in archive.getmembers() if m.isfile()}
