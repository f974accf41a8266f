#!/usr/bin/env python3
"""A real Kubernetes control plane on loopback, without a container: etcd, kube-apiserver, kube-controller-manager.

    cluster.py up [--kubeconfig FILE]     starts one, prints the path of its kubeconfig, stays until it is ended
    cluster.py tool NAME                  prints the path of a pinned tool (kubectl, kustomize, etcd, ...), built if need be

As a module: ControlPlane(). Every one has its own ports and its own directory in memory; any number run side by side. No kubelet runs: a Deployment
without replicas becomes ready, one with replicas stays in progress.
"""
import argparse
import base64
import http.client
import json
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from cluster.process import Workspace, free_port, until  # noqa: E402

CONTROLLERS = ("deployment replicaset statefulset daemonset job garbage-collector namespace serviceaccount clusterrole-aggregation endpointslice "
               "root-ca-certificate-publisher ttl-after-finished").split()


def tools(names):
    """The paths of pinned tools: those of KUBEBUILDER_ASSETS (envtest's convention) where they are there, else our own build."""
    paths = {name: os.path.join(os.environ.get("KUBEBUILDER_ASSETS", "/nonexistent"), name) for name in names}
    missing = [name for name in names if not os.access(paths[name], os.X_OK)]
    if missing:
        folder = subprocess.run([f"{HERE}/build", *missing], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        paths.update({name: os.path.join(folder, name) for name in missing})
    return [paths[name] for name in names]


def tool(name):
    return tools([name])[0]


def flux_tool(name):
    """The path of one of Flux's own programs: flux, source-controller, kustomize-controller."""
    folder = subprocess.run([f"{HERE}/build-flux", name], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return os.path.join(folder, name)


def promtool():
    """The path of Prometheus' promtool."""
    return os.path.join(subprocess.run([f"{HERE}/build-promtool"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip(), "promtool")


def http_get(port, path, token=None, https=True):
    """(status, body) of one GET on loopback; (0, b"") while nobody answers."""
    try:
        connection = (http.client.HTTPSConnection("127.0.0.1", port, context=ssl._create_unverified_context(), timeout=5) if https
                      else http.client.HTTPConnection("127.0.0.1", port, timeout=5))
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


class ControlPlane:
    """
    etcd, API server and the controllers of Kubernetes, without some of them if they are named. start() returns when all is ready; admin is the path of a
    kubeconfig that may do everything.
    """

    def __init__(self, without=()):
        self.workspace = Workspace("cluster")
        self.etcd_port, self.peer_port, self.port, self.manager_port = (free_port() for _ in range(4))
        self.server = f"https://127.0.0.1:{self.port}"
        self.token = secrets.token_urlsafe(24)
        self.admin = f"{self.workspace.path}/kubeconfig"
        self._prepare(without)

    def _prepare(self, without):
        workspace = self.workspace
        etcd, apiserver, manager = tools(["etcd", "kube-apiserver", "kube-controller-manager"])
        keys = workspace.folder("keys")
        tokens = workspace.write("keys/tokens.csv", f'{self.token},admin,admin,"system:masters"\n', 0o600)
        subprocess.run(["openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", f"{keys}/sa.key"], check=True)
        self.certificate = f"{keys}/apiserver.crt"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj", "/CN=kubernetes",
                        "-addext", "subjectAltName=IP:127.0.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc",
                        "-addext", "basicConstraints=critical,CA:TRUE", "-keyout", f"{keys}/apiserver.key", "-out", self.certificate], check=True, capture_output=True)
        self.write_kubeconfig("kubeconfig", self.token)
        url = f"http://127.0.0.1:{self.etcd_port}"
        peer = f"http://127.0.0.1:{self.peer_port}"
        self.etcd = workspace.process("etcd", [
            etcd, f"--data-dir={workspace.path}/etcd", "--unsafe-no-fsync", f"--listen-client-urls={url}", f"--advertise-client-urls={url}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}", "--log-level=warn"])
        self.apiserver = workspace.process("kube-apiserver", [
            apiserver, f"--etcd-servers={url}", "--bind-address=127.0.0.1", f"--secure-port={self.port}", f"--tls-cert-file={self.certificate}",
            f"--tls-private-key-file={keys}/apiserver.key", "--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=RBAC", f"--token-auth-file={tokens}",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={keys}/sa.key", f"--service-account-signing-key-file={keys}/sa.key",
            "--api-audiences=https://kubernetes.default.svc", "--allow-privileged", "--profiling=false", "--shutdown-delay-duration=0s"])
        self.manager = workspace.process("kube-controller-manager", [
            manager, "--leader-elect=false", f"--kubeconfig={self.admin}", f"--service-account-private-key-file={keys}/sa.key", "--kube-api-qps=200",
            "--kube-api-burst=400", f"--root-ca-file={self.certificate}", "--bind-address=127.0.0.1", f"--secure-port={self.manager_port}",
            f"--cert-dir={keys}", "--controllers=" + ",".join(f"{name}-controller" for name in CONTROLLERS if name not in without)])

    def start(self):
        self.etcd.start()
        until(lambda: http_get(self.etcd_port, "/health", https=False)[0] == 200 or self._ended(self.etcd), 30, self.etcd.tail, 0.02)
        self.start_apiserver()
        self.manager.start()
        return self

    def start_apiserver(self):
        """Starts the API server alone (after a kill), and waits until it serves."""
        self.apiserver.start()
        self.wait_ready()

    def wait_ready(self, seconds=120):
        until(lambda: http_get(self.port, "/readyz", self.token)[0] == 200 or self._ended(self.apiserver), seconds, self.apiserver.tail, 0.05)

    @staticmethod
    def _ended(process):
        if not process.running:
            raise RuntimeError(f"{process.name} ended:\n{process.tail()}")
        return False

    def write_kubeconfig(self, name, token, server=None):
        """A kubeconfig for the bearer of a token, in the workspace; returns its path. server: another address, such as a proxy's."""
        with open(self.certificate, "rb") as f:
            ca = base64.b64encode(f.read()).decode()
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "weir",
                  "clusters": [{"name": "weir", "cluster": {"server": server or self.server, "certificate-authority-data": ca}}],
                  "users": [{"name": "weir", "user": {"token": token}}],
                  "contexts": [{"name": "weir", "context": {"cluster": "weir", "user": "weir"}}]}
        return self.workspace.write(name, json.dumps(config, indent=2), 0o600)

    def etcd_call(self, path, body, accepted=None):
        """One call of etcd's JSON gateway. An error of the accepted code is an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.etcd_port, timeout=30)
        connection.request("POST", path, json.dumps(body))
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        assert response.status == 200 or (accepted is not None and answer.get("code") == accepted), answer
        return answer

    def compact(self):
        """Forgets every old revision: a watch that resumes from one of them gets 410 Gone."""
        revision = self.etcd_call("/v3/kv/range", {"key": base64.b64encode(b"x").decode()})["header"]["revision"]
        # Nothing may have been written since the last time: out of range (11), as gRPC calls it.
        self.etcd_call("/v3/kv/compaction", {"revision": revision, "physical": True}, accepted=11)

    def end_others(self):
        """Ends the processes that were started in the workspace beside these three, and removes their logs and folders."""
        own = (self.etcd, self.apiserver, self.manager)
        for process in [process for process in self.workspace.processes if process not in own]:
            process.remove()

    def stop(self):
        self.workspace.close()

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()


def up(path):
    """Runs a control plane until a signal ends it."""
    def end(*_):
        raise SystemExit(0)
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    with ControlPlane() as cluster:
        if path:
            shutil.copy(cluster.admin, path)
        print(path or cluster.admin, flush=True)
        signal.pause()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up").add_argument("--kubeconfig")
    commands.add_parser("tool").add_argument("name")
    arguments = parser.parse_args()
    if arguments.command == "up":
        up(arguments.kubeconfig)
    else:
        print(tool(arguments.name))


if __name__ == "__main__":
    main()
