"""A small Kubernetes client for tests: one HTTPS connection per thread, server-side apply of manifests, waits that watch."""
import base64
import http.client
import json
import ssl
import threading
import time
import urllib.parse

import yaml

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"


class ApiError(AssertionError):
    def __init__(self, status, body, what):
        self.status, self.body = status, body
        super().__init__(f"{what}: {status} {body.get('message', body) if isinstance(body, dict) else body!r}")


class Kube:
    """Speaks to the cluster of a kubeconfig. Kinds are named as in manifests ("Deployment"); their groups come from discovery."""

    def __init__(self, kubeconfig):
        with open(kubeconfig) as f:
            config = yaml.safe_load(f)
        context = next(c["context"] for c in config["contexts"] if c["name"] == config["current-context"])
        cluster = next(c["cluster"] for c in config["clusters"] if c["name"] == context["cluster"])
        user = next(u["user"] for u in config["users"] if u["name"] == context["user"])
        self.host = urllib.parse.urlsplit(cluster["server"])
        authority = cluster.get("certificate-authority-data")
        self.tls = ssl.create_default_context(cadata=base64.b64decode(authority).decode() if authority else None, cafile=cluster.get("certificate-authority"))
        self.tls.check_hostname = not cluster.get("insecure-skip-tls-verify")
        if cluster.get("insecure-skip-tls-verify"):
            self.tls.verify_mode = ssl.CERT_NONE
        self.token = user.get("token")
        if "client-certificate" in user:
            self.tls.load_cert_chain(user["client-certificate"], user["client-key"])
        self.kinds = {}
        self.local = threading.local()

    # -- requests

    def connect(self, timeout=60):
        return http.client.HTTPSConnection(self.host.hostname, self.host.port or 443, context=self.tls, timeout=timeout)

    def headers(self, content_type="application/json"):
        headers = {"Accept": "application/json", "Content-Type": content_type}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        return headers

    def call(self, method, path, body=None, content_type="application/json"):
        """(status, body) of one request; the body is decoded if it is JSON. A busy server is asked again, a broken connection made anew."""
        end = time.monotonic() + 15
        while True:
            status, answer = self.try_call(method, path, body, content_type)
            if status != 429 or time.monotonic() > end:
                return status, answer
            time.sleep(0.2)

    def try_call(self, method, path, body=None, content_type="application/json"):
        """One request, whatever the server says to it."""
        data = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
        for attempt in range(3):
            connection = getattr(self.local, "connection", None)
            if connection is None:
                connection = self.local.connection = self.connect()
            try:
                connection.request(method, path, data, self.headers(content_type))
                response = connection.getresponse()
                answer = response.read()
                return response.status, json.loads(answer) if answer[:1] in (b"{", b"[") else answer.decode(errors="replace")
            except (OSError, http.client.HTTPException):
                connection.close()
                self.local.connection = None
                if attempt == 2:
                    raise

    def request(self, method, path, body=None, content_type="application/json"):
        """The body of the answer; ApiError for a status of 400 and more."""
        status, answer = self.call(method, path, body, content_type)
        if status >= 400:
            raise ApiError(status, answer, f"{method} {path}")
        return answer

    # -- where a kind lives

    def discover(self):
        """Reads which kinds there are. The preferred version of a group is named by the kind alone, others by "kind.version.group"."""
        kinds = {}
        paths = [("/api/v1", "v1", True)]
        for group in self.request("GET", "/apis")["groups"]:
            for version in group["versions"]:
                paths.append((f"/apis/{version['groupVersion']}", version["groupVersion"], version == group["preferredVersion"]))
        for path, group_version, preferred in paths:
            status, answer = self.call("GET", path)
            if status != 200:
                continue
            for resource in answer["resources"]:
                if "/" not in resource["name"]:
                    found = (path, resource["name"], resource["namespaced"], group_version)
                    kinds[group_version, resource["kind"]] = found
                    if preferred:
                        kinds.setdefault(resource["kind"], found)
        self.kinds = kinds

    def path(self, kind, namespace=None, name="", api_version=None):
        key = (api_version, kind) if api_version else kind
        if key not in self.kinds:
            self.discover()
        if key not in self.kinds:
            raise ApiError(404, f"the server has no kind {key}", "discovery")
        prefix, plural, namespaced, _ = self.kinds[key]
        return prefix + (f"/namespaces/{namespace}" if namespaced and namespace else "") + f"/{plural}" + (f"/{name}" if name else "")

    # -- objects

    def get(self, kind, name, namespace=None):
        """The object, or None."""
        status, answer = self.call("GET", self.path(kind, namespace, name))
        if status == 404:
            return None
        if status >= 400:
            raise ApiError(status, answer, f"get {kind}/{name}")
        return answer

    def list(self, kind, namespace=None, selector=None):
        query = "?" + urllib.parse.urlencode({"labelSelector": selector}) if selector else ""
        answer = self.request("GET", self.path(kind, namespace) + query)
        return [{"apiVersion": answer["apiVersion"], "kind": kind, **o} for o in answer["items"]]

    def create_namespace(self, name, labels=None):
        return self.request("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels or {}}})

    def apply(self, manifests, namespace=None, manager="user", force=True):
        """Server-side apply of YAML text or a list of objects, in order; returns the objects as they are now."""
        objects = [o for o in yaml.safe_load_all(manifests) if o] if isinstance(manifests, str) else manifests
        return [self._apply(o, o["metadata"].get("namespace", namespace), manager, force) for o in objects]

    def _apply(self, o, namespace, manager, force):
        query = f"?fieldManager={manager}" + ("&force=true" if force else "")
        end = time.monotonic() + 15
        while True:
            try:
                return self.request("PATCH", self.path(o["kind"], namespace, o["metadata"]["name"], o["apiVersion"]) + query, o, APPLY)
            except ApiError as e:
                # A kind whose CRD is new, or an object of a namespace that is new.
                if e.status not in (403, 404) or time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def patch(self, kind, name, namespace, patch, manager="somebody", content_type=MERGE, subresource=None):
        path = self.path(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        force = "&force=true" if content_type == APPLY else ""
        return self.request("PATCH", f"{path}?fieldManager={manager}{force}", patch, content_type)

    def annotate(self, kind, name, namespace, **annotations):
        """Annotations by name; "__" stands for "/" and is given as a dictionary where that is not enough."""
        return self.patch(kind, name, namespace, {"metadata": {"annotations": {k.replace("__", "/"): v for k, v in annotations.items()}}})

    def reconcile(self, kind, name, namespace):
        """Asks for a reconcile as the command line does; returns the token that status.lastHandledReconcileAt will show."""
        token = str(time.time_ns())
        self.patch(kind, name, namespace, {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}}, manager="flux-client-side-apply")
        return token

    def delete(self, kind, name, namespace=None):
        status, answer = self.call("DELETE", self.path(kind, namespace, name), {"propagationPolicy": "Background"})
        if status >= 400 and status != 404:
            raise ApiError(status, answer, f"delete {kind}/{name}")

    # -- waiting

    def watch(self, kind, namespace, name, version, seconds):
        """
        Yields the events (type, object) after a resource version, until the time is over or the connection ends. namespace and name may be None: all.
        """
        selector = {"fieldSelector": f"metadata.name={name}"} if name else {}
        query = urllib.parse.urlencode({"watch": "1", "resourceVersion": version, "timeoutSeconds": max(1, int(seconds) + 1), **selector})
        connection = self.connect(timeout=max(seconds, 0.1))
        try:
            connection.request("GET", f"{self.path(kind, namespace)}?{query}", headers=self.headers())
            response = connection.getresponse()
            if response.status == 200:
                for line in response:
                    event = json.loads(line)
                    yield event["type"], event["object"]
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()

    def wait(self, kind, name, namespace, condition, seconds=30, what=""):
        """Returns the object (None: absent) as soon as condition(object) is true; AssertionError with its status after the deadline."""
        end = time.monotonic() + seconds
        o = None
        while time.monotonic() < end:
            try:
                o = self.get(kind, name, namespace)
                if condition(o):
                    return o
                if o:
                    version = o["metadata"]["resourceVersion"]
                else:
                    # Read again after the version from which on is watched: what came between the two is in no event.
                    version = self.request("GET", self.path(kind, namespace) + "?limit=1")["metadata"]["resourceVersion"]
                    o = self.get(kind, name, namespace)
                    if condition(o):
                        return o
                for event, o in self.watch(kind, namespace, name, version, end - time.monotonic()):
                    if event == "ERROR":
                        break
                    if event == "DELETED":
                        o = None
                    if condition(o):
                        return o
            except (OSError, http.client.HTTPException, json.JSONDecodeError):
                time.sleep(0.05)
            except ApiError as e:
                if e.status < 500 and e.status != 429:
                    raise
                time.sleep(0.05)
        state = json.dumps(o.get("status", o), indent=1) if o else "absent"
        raise AssertionError(f"{kind}/{namespace}/{name} not {what or 'as expected'} within {seconds} s: {state[:4000]}")

    def observe(self, kind, namespace=None, name=None, seconds=600):
        """
        Watches in the background from now on; returns a list that grows by (monotonic time, type, object). A watch that the server ends, as it does with one that
        reads slower than there are events, goes on where it ended; it is over when the server is.
        """
        path = self.path(kind, namespace)
        version = self.request("GET", path + "?limit=1")["metadata"]["resourceVersion"]
        seen = []

        def follow(version):
            end, failures = time.monotonic() + seconds, 0
            while time.monotonic() < end and failures < 20:
                start, before = time.monotonic(), len(seen)
                for event, o in self.watch(kind, namespace, name, version, end - start):
                    if event == "ERROR":
                        break
                    version = o["metadata"]["resourceVersion"]
                    seen.append((time.monotonic(), event, o))
                failures = failures + 1 if len(seen) == before and time.monotonic() < start + 1 else 0
                time.sleep(0.1)
        threading.Thread(target=follow, args=(version,), daemon=True).start()
        return seen

    def wait_gone(self, kind, name, namespace=None, seconds=30):
        return self.wait(kind, name, namespace, lambda o: o is None, seconds, "gone")

    def wait_condition(self, kind, name, namespace, status="True", reason=None, message=None, type="Ready", current=True, handled=None, revision=None, seconds=30):
        """
        Waits for a condition of the present generation. message: a part of its text; handled: the token of reconcile(); revision: a part of the revision
        applied or fetched.
        """
        def holds(o):
            c = find_condition(o, type)
            if not c or c["status"] != status or (reason and c["reason"] != reason) or (message and message not in c["message"]):
                return False
            if current and c.get("observedGeneration") != o["metadata"]["generation"]:
                return False
            if current and status == "True" and o["status"].get("observedGeneration") != o["metadata"]["generation"]:
                return False
            if handled and o["status"].get("lastHandledReconcileAt") != handled:
                return False
            now = o["status"].get("lastAppliedRevision") or (o["status"].get("artifact") or {}).get("revision", "")
            return not revision or revision in now
        return self.wait(kind, name, namespace, holds, seconds, f"{type}={status} {reason or ''} {message or ''} {revision or ''}")

    def wait_ready(self, kind, name, namespace, **more):
        return self.wait_condition(kind, name, namespace, **more)

    # -- what else tests read

    def events(self, namespace, kind=None, name=None, reason=None):
        """The core/v1 events about an object, oldest first."""
        found = [e for e in self.request("GET", f"/api/v1/namespaces/{namespace}/events")["items"]
                 if (not kind or e["involvedObject"].get("kind") == kind) and (not name or e["involvedObject"].get("name") == name) and (not reason or e["reason"] == reason)]
        return sorted(found, key=lambda e: (e.get("lastTimestamp") or e.get("eventTime") or "", int(e["metadata"]["resourceVersion"])))

    def metric_samples(self, name):
        """The samples of one metric of the API server, (labels, value) each: of all of them there are tens of thousands."""
        lines = [line for line in self.request("GET", "/metrics").splitlines() if line.startswith(name + "{")]
        return [(labels, value) for _, labels, value in parse_metrics("\n".join(lines))]

    def token_of(self, namespace, service_account, seconds=86400):
        """A token of a service account, as its pod would have."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        return self.request("POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": seconds}})["status"]["token"]


def find_condition(o, type="Ready"):
    """The condition of an object, or None."""
    return next((c for c in ((o or {}).get("status") or {}).get("conditions") or [] if c["type"] == type), None)


def parse_metrics(text):
    """Prometheus text as a list of (name, labels, value)."""
    samples = []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        series, _, value = line.rpartition(" ")
        name, _, rest = series.partition("{")
        labels = {}
        if rest:
            for pair in _split_labels(rest[:-1]):
                key, _, quoted = pair.partition("=")
                labels[key] = quoted[1:-1].replace('\\"', '"').replace("\\n", "\n").replace("\\\\", "\\")
        samples.append((name, labels, float(value)))
    return samples


def _split_labels(text):
    """The pairs of k="v",k="v": a comma inside quotes does not end one."""
    start, quoted, i = 0, False, 0
    while i < len(text):
        if text[i] == "\\":
            i += 1
        elif text[i] == '"':
            quoted = not quoted
        elif text[i] == "," and not quoted:
            yield text[start:i]
            start = i + 1
        i += 1
    if start < len(text):
        yield text[start:]


def metric(samples, metric_name, **labels):
    """The sum of the samples of a metric that have these labels."""
    return sum(value for n, l, value in samples if n == metric_name and all(l.get(k) == v for k, v in labels.items()))
