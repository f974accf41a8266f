"""What the API server needs of a kubelet to answer `kubectl logs` and `flux logs`: a Node, a Pod on it for each controller, and /containerLogs/ over TLS."""
import datetime
import json
import time
import urllib.parse

from cluster.controllers import NAMESPACE
from peers.http import Handler, Server

NODE = "kubelet-peer"


class Kubelet:
    """
    A Node of a cluster that lives on 127.0.0.1, until close(). run() puts a Pod on it, whose log is a file that a process writes meanwhile; a line's time is its
    own "ts". certificate: (certificate, key) to serve with. requests holds the paths that the API server asked for.
    """

    def __init__(self, kube, certificate):
        self.kube, self.logs, self.requests = kube, {}, []
        outer = self

        class LogHandler(Handler):
            def do_GET(self):
                outer.serve(self)

        self.server = Server(LogHandler, certificate)
        # The taint keeps DaemonSets away: nobody would start their pods.
        taint = {"key": "weir.test/none", "effect": "NoSchedule"}
        kube.request("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, "spec": {"taints": [taint]}})
        kube.request("PATCH", f"/api/v1/nodes/{NODE}/status", {"status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "daemonEndpoints": {"kubeletEndpoint": {"Port": self.server.port}},
            "conditions": [{"type": "Ready", "status": "True"}]}}, "application/merge-patch+json")

    def run(self, deployment, log):
        """A running Pod of a Deployment's template."""
        template = deployment["spec"]["template"]
        name, namespace = deployment["metadata"]["name"] + "-0", deployment["metadata"]["namespace"]
        container = template["spec"]["containers"][0]["name"]
        self.kube.request("POST", f"/api/v1/namespaces/{namespace}/pods", {
            "apiVersion": "v1", "kind": "Pod", "metadata": {**template["metadata"], "name": name}, "spec": {**template["spec"], "nodeName": NODE}})
        self.kube.request("PATCH", f"/api/v1/namespaces/{namespace}/pods/{name}/status", {"status": {
            "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [{
                "name": container, "ready": True, "restartCount": 0, "image": "none", "imageID": "none", "state": {"running": {}}}]}}, "application/merge-patch+json")
        self.logs[f"/containerLogs/{namespace}/{name}/{container}"] = log

    def run_controllers(self, stack):
        """A Pod for each controller of a stack."""
        for name, controller in stack.controllers.items():
            self.run(self.kube.get("Deployment", name, NAMESPACE), controller.process.log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for path in self.logs:
            _, _, namespace, name, _ = path.split("/")
            self.kube.call("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}?gracePeriodSeconds=0")
        self.kube.call("DELETE", f"/api/v1/nodes/{NODE}")
        self.server.close()

    # -- the endpoint

    def serve(self, handler):
        path, _, query = handler.path.partition("?")
        self.requests.append(handler.path)
        if path not in self.logs:
            handler.answer(404, body=b"no such container\n")
            return
        options = {key: values[0] for key, values in urllib.parse.parse_qs(query).items()}
        with open(self.logs[path]) as log:
            lines = [line for line in log if written_since(line, options)]
            if "tailLines" in options:
                lines = lines[len(lines) - int(options["tailLines"]):]
            if options.get("follow") != "true":
                handler.answer(200, {"Content-Type": "text/plain"}, "".join(lines).encode())
                return
            self.follow(handler, log, lines)

    @staticmethod
    def follow(handler, log, lines):
        """Sends what is there and what comes, until the reader has gone."""
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.close_connection = True
        text = "".join(lines)
        while True:
            if text:
                data = text.encode()
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                handler.wfile.flush()
            else:
                time.sleep(0.05)
            text = log.read()


def written_since(line, options):
    """Whether a line is not older than the sinceSeconds or sinceTime of a request."""
    if "sinceSeconds" in options:
        start = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=int(options["sinceSeconds"]))
    elif "sinceTime" in options:
        start = datetime.datetime.fromisoformat(options["sinceTime"].replace("Z", "+00:00"))
    else:
        return True
    try:
        return datetime.datetime.fromisoformat(json.loads(line)["ts"].replace("Z", "+00:00")) >= start
    except (ValueError, KeyError):
        return False
