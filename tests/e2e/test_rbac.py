"""The rights of manifests/install.yaml: enough to work with, and no more than are said there."""
import yaml

from cluster.controllers import NAMESPACE, ROOT
from cluster.kube import Kube, find_condition
from cluster.process import until


def installed():
    with open(f"{ROOT}/manifests/install.yaml") as f:
        return [o for o in yaml.safe_load_all(f) if o]


def allowed(kube, namespace=None, **attributes):
    """What the API server says to a SelfSubjectAccessReview."""
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": {"namespace": namespace or "", **attributes}}}
    return kube.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)["status"]["allowed"]


def as_controller(stack, name):
    return Kube(stack.plane.write_kubeconfig(f"kubeconfig-as-{name}", stack.kube.token_of(NAMESPACE, name)))


def test_whole_manifest_is_accepted(stack):
    """Everything in it, the Deployments too, as the API server sees it with strict validation."""
    for o in installed():
        path = stack.kube.path(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"], o["apiVersion"])
        stack.kube.request("PATCH", f"{path}?fieldManager=strict&force=true&dryRun=All&fieldValidation=Strict", o, "application/apply-patch+yaml")


def test_source_controller_has_no_more_than_it_needs(stack):
    kube = as_controller(stack, "source-controller")
    assert allowed(kube, "default", verb="get", resource="secrets")
    assert all(allowed(kube, verb=verb, resource="secrets") for verb in ("list", "watch"))
    assert allowed(kube, "default", verb="patch", group="source.toolkit.fluxcd.io", resource="gitrepositories", subresource="status")
    assert allowed(kube, NAMESPACE, verb="update", group="coordination.k8s.io", resource="leases")
    for verb, group, resource in (("create", "", "secrets"), ("delete", "apps", "deployments"), ("create", "", "pods"), ("create", "rbac.authorization.k8s.io", "clusterrolebindings")):
        assert not allowed(kube, "default", verb=verb, group=group, resource=resource), (verb, resource)


def test_normal_work_needs_no_more_rights(space):
    """A source, a Kustomization, a push, a deletion: no answer of the API server to a controller was 403."""
    def refused():
        return sum(value for name, labels, value in space.stack.source.metrics() if name == "rest_client_requests_total" and labels["code"] == "403")
    before = refused()
    repository = space.deploy({"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n"}, targetNamespace=space.name, wait=True)
    space.ready("Kustomization", revision=space.push(repository, {"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata: {k: v}\n"}))
    space.delete("Kustomization")
    space.gone("Kustomization")
    for controller in space.stack.controllers.values():
        forbidden = [record for record in controller.log() if "forbidden" in str(record).lower() and space.name in str(record)]
        assert not forbidden
    # In the accounts' names that tests give it the other one is refused things all the time.
    assert refused() == before


ROLE = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [get]}]
"""
BINDING = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: tenant, namespace: "${NS}"}]
"""


SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: {ports: [{port: %d}]}\n"
HELD = """\
apiVersion: v1
kind: Secret
metadata: {name: held, annotations: {kustomize.toolkit.fluxcd.io/force: enabled}, finalizers: [example.com/hold]}
immutable: true
stringData: {k: "%d"}
"""


def test_rights_lost_and_given_back(own_stack, space_in):
    """RBAC lost in the middle of a run: said on the objects, and when it is back all goes on without a restart."""
    retry = ["--min-retry-delay=200ms", "--max-retry-delay=2s"]
    stack = own_stack(spoils=True, flags={"kustomize-controller": [*retry, "--custom-apply-stage-kinds=rbac.authorization.k8s.io/Role,v1/Nope"], "source-controller": retry})
    space = space_in(stack)
    # Before all that: whoever is no administrator may bind a Role only if it is there, which the stage of its own sees to.
    space.apply("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: tenant}\n---\n" +
                BINDING.replace("reader", "tenant", 1).replace("kind: Role, name: reader", "kind: ClusterRole, name: admin"))
    space.source(space.repository({"role.yaml": ROLE, "binding.yaml": BINDING.replace("${NS}", space.name)}), "roles")
    space.kustomization("roles", sourceRef={"kind": "GitRepository", "name": "roles"}, targetNamespace=space.name, serviceAccountName="tenant")
    space.ready("Kustomization", "roles")
    # The second revision makes the Secret anew, which its finalizer holds up: the run waits there, with the ConfigMap, which comes before Secrets, made.
    repository = space.deploy({"s.yaml": HELD % 1, "b.yaml": SERVICE % 80}, targetNamespace=space.name, retryInterval="1s", timeout="10m")
    revision = space.push(repository, {"s.yaml": HELD % 2, "b.yaml": SERVICE % 81, "made.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: made}\n"})
    space.wait("Secret", "held", lambda o: o["metadata"].get("deletionTimestamp"), 20)
    bindings = [b for b in stack.kube.list("ClusterRoleBinding") if any(s.get("name") == "kustomize-controller" for s in b.get("subjects") or []) and "admin" in b["roleRef"]["name"]]
    assert bindings
    for b in bindings:
        stack.kube.delete("ClusterRoleBinding", b["metadata"]["name"])
    kube = as_controller(stack, "kustomize-controller")
    until(lambda: not allowed(kube, space.name, verb="patch", resource="services"), 10, "the rights gone", 0.1)
    space.patch("Secret", "held", {"metadata": {"finalizers": None}})
    o = space.not_ready("Kustomization", seconds=30)
    assert "forbidden" in find_condition(o)["message"].lower()
    entries = {e["id"] for e in o["status"]["inventory"]["entries"]}
    assert entries == {f"{space.name}_{name}" for name in ("held__Secret", "made__ConfigMap", "b__Service")}, "what was made is not forgotten"
    for b in bindings:
        stack.kube.apply([{k: v for k, v in b.items() if k != "metadata"} | {"metadata": {"name": b["metadata"]["name"], "labels": b["metadata"].get("labels", {})}}])
    space.ready("Kustomization", revision=revision, seconds=60)
    assert space.get("Service", "b")["spec"]["ports"][0]["port"] == 81 and space.get("Secret", "held")["data"] == {"k": "Mg=="}
    space.patch("Secret", "held", {"metadata": {"finalizers": None}})
    assert all(c.process.running for c in stack.controllers.values())
