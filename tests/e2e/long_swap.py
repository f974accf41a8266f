"""
Flux's own controllers are replaced by ours on one control plane, and ours by Flux's again, as a team does that tries weir and goes back: the other side finds
everything as it would have left it. It takes a build of Flux's controllers, so it belongs to the long run (make soak).
"""
import glob
import json
import os

import pytest

from cluster.cluster import flux_tool
from cluster.controllers import CONTROLLERS, NAMESPACE, Controller, install
from cluster.process import free_port, until
from cluster.workload import application

COUNT = int(os.environ.get("WEIR_SWAP_COUNT", "40"))

# A fifth object for each Kustomization.
APP_KUSTOMIZATION = """\
resources: [app.yaml]
configMapGenerator:
- name: ${name}
  literals: ["team=${name}"]
"""

# One of many kinds, spelled as people spell them: defaults left out, quantities that the server writes otherwise, the CRD beside its object.
ZOO = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: beasts.zoo.example.com
spec:
  group: zoo.example.com
  names: {kind: Beast, listKind: BeastList, plural: beasts, singular: beast}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {legs: {type: integer, default: 4}, name: {type: string}}}}}}
---
apiVersion: zoo.example.com/v1
kind: Beast
metadata: {name: leo, namespace: "${namespace}"}
spec: {name: Leo}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "${namespace}:keeper"}
rules: [{apiGroups: [zoo.example.com], resources: [beasts], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: keeper, namespace: "${namespace}"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "${namespace}:keeper"}
subjects: [{kind: ServiceAccount, name: default, namespace: "${namespace}"}]
---
apiVersion: v1
kind: Namespace
metadata: {name: "${namespace}-zoo", labels: {team: zoo}}
---
apiVersion: v1
kind: Secret
metadata: {name: password, namespace: "${namespace}"}
stringData: {password: hunter2}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: text, namespace: "${namespace}", annotations: {example.com/empty: ""}}
data: {"yes": "true", number: "007", long: "line one\\n\\nline three\\n"}
binaryData: {bytes: AAECAw==}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: "${namespace}"}
spec:
  replicas: 0
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers: [{name: db, image: "example.com/db:1", volumeMounts: [{name: data, mountPath: /data}], livenessProbe: {tcpSocket: {port: 5432}}}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: "1024Mi"}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: "${namespace}"}
spec:
  schedule: "@daily"
  suspend: true
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: job, image: example.com/job, env: [{name: EMPTY, value: ""}]}]}}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: db, namespace: "${namespace}"}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: db}
  maxReplicas: 3
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: db, namespace: "${namespace}"}
spec: {minAvailable: "50%", selector: {matchLabels: {app: db}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: "${namespace}"}
spec: {podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {}}], ports: [{port: 5432}]}]}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: quota, namespace: "${namespace}"}
spec: {hard: {requests.cpu: "1000", requests.memory: 1024Gi, pods: "100"}}
---
apiVersion: v1
kind: LimitRange
metadata: {name: limits, namespace: "${namespace}"}
spec: {limits: [{type: Container, default: {cpu: 0.5, memory: 0.5Gi}}]}
"""
KINDS = ("ServiceAccount Service Deployment Ingress ConfigMap CustomResourceDefinition Beast ClusterRole RoleBinding Namespace Secret StatefulSet CronJob "
         "HorizontalPodAutoscaler PodDisruptionBudget NetworkPolicy ResourceQuota LimitRange").split()


class Side:
    """One pair of controllers, Flux's or ours. Both serve artifacts at one address, as behind one Service; each has storage of its own, as a new pod has."""

    def __init__(self, stack, label, binaries, port):
        self.stack, self.controllers = stack, {}
        for name in CONTROLLERS:
            kubeconfig = stack.plane.write_kubeconfig(f"kubeconfig-{label}-{name}", stack.kube.token_of(NAMESPACE, name))
            flags = [f"--storage-addr=127.0.0.1:{port}", f"--storage-adv-addr=127.0.0.1:{port}"] if name == "source-controller" else ["--requeue-dependency=2s"]
            self.controllers[name] = Controller(stack.plane.workspace, name, kubeconfig, binaries, flags, label=f"{label}-{name}")

    def start(self):
        self.stack.controllers = self.controllers
        for controller in self.controllers.values():
            controller.start()

    def stop(self):
        for controller in self.controllers.values():
            assert controller.process.stop() == 0

    def records(self):
        return [record for controller in self.controllers.values() for record in controller.log()]


@pytest.fixture
def stack(own_stack):
    """A stack with sides (Flux, weir), neither of which runs yet."""
    flux_tool("source-controller")
    flux = os.path.dirname(flux_tool("kustomize-controller"))
    stack = own_stack(start=False, spoils=True)
    install(stack.kube, glob.glob(f"{flux}/crds/*.yaml"))
    port = free_port()
    stack.controllers = {}
    stack.sides = [Side(stack, "flux", flux, port), Side(stack, "weir", None, port)]
    return stack


def app(version):
    """Quantities are spelled as the server would not."""
    return application(f"example.com/app:{version}", team="${name}", cpu='"0.1"', limit='"67108864"')


def names():
    return [f"app-{i:03}" for i in range(COUNT)] + ["zoo"]


def deploy(space):
    repository = space.repository({"app/app.yaml": app("1"), "app/kustomization.yaml": APP_KUSTOMIZATION, "zoo/zoo.yaml": ZOO})
    space.source(repository)
    for name in names():
        space.kustomization(name, path="./zoo" if name == "zoo" else "./app", wait=name != "zoo", targetNamespace=None if name == "zoo" else space.name,
                            postBuild={"substitute": {"name": name, "namespace": space.name}})
    return repository


def settled(space, revision):
    """All that there is is Ready at a revision, and has handled a request that was made now."""
    for kind, all_names in (("GitRepository", ["app"]), ("Kustomization", names())):
        tokens = {name: space.reconcile(kind, name) for name in all_names}
        for name, token in tokens.items():
            space.ready(kind, name, handled=token, revision=revision, seconds=60)


def applied(space):
    """(kind, name) -> object, of everything that carries the labels of a Kustomization of this test."""
    found = {}
    for kind in KINDS:
        if kind == "Beast" and not space.get("CustomResourceDefinition", "beasts.zoo.example.com"):
            continue
        for o in space.kube.list(kind, None, f"kustomize.toolkit.fluxcd.io/namespace={space.name}"):
            found[kind, o["metadata"]["name"]] = o
    return found


def fields(o):
    """Which manager owns which fields: without the times."""
    return [{k: v for k, v in entry.items() if k != "time"} for entry in o["metadata"]["managedFields"]]


def state(space):
    """What the controllers' own objects hold and the other side goes on from."""
    kept = {}
    for o in space.kube.list("Kustomization", space.name):
        status = {k: o["status"].get(k) for k in ("inventory", "lastAppliedRevision", "lastAttemptedRevision", "observedGeneration")}
        kept["Kustomization", o["metadata"]["name"]] = {
            "finalizers": o["metadata"]["finalizers"], "status": status,
            "conditions": [{k: c.get(k) for k in ("type", "status", "reason")} for c in o["status"]["conditions"]],
            "managers": managers(o), "history": [snapshot["digest"] for snapshot in o["status"]["history"]]}
    for o in space.kube.list("GitRepository", space.name):
        artifact = {k: o["status"]["artifact"].get(k) for k in ("revision", "url", "path")}
        kept["GitRepository", o["metadata"]["name"]] = {
            "finalizers": o["metadata"]["finalizers"], "artifact": artifact, "managers": managers(o),
            "conditions": [{k: c.get(k) for k in ("type", "status", "reason")} for c in o["status"]["conditions"]]}
    return kept


def managers(o):
    return sorted((entry["manager"], entry["operation"], entry.get("subresource", "")) for entry in o["metadata"]["managedFields"])


def differences(before, after):
    """The keys whose values are not the same, with both, as text."""
    found = []
    for key in sorted(set(before) | set(after)):
        a, b = before.get(key), after.get(key)
        if a != b:
            found.append(f"{key}:\n  before {json.dumps(a, sort_keys=True)}\n  after  {json.dumps(b, sort_keys=True)}")
    return "\n".join(found)


def versions(objects):
    return {key: o["metadata"]["resourceVersion"] for key, o in objects.items()}


def outputs(records, space):
    """What a side's log says became of each object that it applied: the last word about each."""
    found = {}
    for record in records:
        if record.get("msg", "").startswith("server-side apply") and record.get("namespace") == space.name:
            found.update(record["output"])
    return found


def hand_over(space, old, new, revision):
    """From one side to the other: what was applied is not written, and what the objects hold is the same."""
    before, before_state, seen = applied(space), state(space), len(new.records())
    assert len(before) >= 5 * COUNT + 14
    old.stop()
    new.start()
    settled(space, revision)
    after = applied(space)
    assert differences(versions(before), versions(after)) == "", "something was written"
    assert differences({k: fields(o) for k, o in before.items()}, {k: fields(o) for k, o in after.items()}) == ""
    assert differences(before_state, state(space)) == ""
    said = outputs(new.records()[seen:], space)
    assert len(said) == len(before) and set(said.values()) == {"unchanged"}, said


def push(space, repository, image, **commit):
    """A change that the side which runs applies to every Deployment."""
    revision = repository.commit({"app/app.yaml": app(image)}, **commit)
    settled(space, revision)
    for o in space.kube.list("Deployment", space.name):
        assert o["spec"]["template"]["spec"]["containers"][0]["image"] == f"example.com/app:{image}"
    return revision


def test_there_and_back(stack, space_in):
    """Applied by Flux, taken over by weir, changed there, given back, changed there, taken over again."""
    flux, weir = stack.sides
    space = space_in(stack)
    flux.start()
    repository = deploy(space)
    settled(space, repository.head())
    hand_over(space, flux, weir, repository.head())
    hand_over(space, weir, flux, repository.head())
    hand_over(space, flux, weir, push(space, repository, "2"))
    hand_over(space, weir, flux, push(space, repository, "3"))


def test_what_one_side_made_the_other_removes(stack, space_in):
    """Pruning and finalizers, of the Kustomizations and of the source: nothing is left behind in either direction."""
    flux, weir = stack.sides
    space = space_in(stack)
    for old, new in ((flux, weir), (weir, flux)):
        old.start()
        repository = deploy(space)
        settled(space, repository.head())
        old.stop()
        new.start()
        settled(space, push(space, repository, "2", delete=["app/kustomization.yaml"]))
        assert not space.kube.list("ConfigMap", space.name, f"kustomize.toolkit.fluxcd.io/namespace={space.name},kustomize.toolkit.fluxcd.io/name=app-000")
        for name in names():
            space.kube.delete("Kustomization", name, space.name)
        for name in names():
            space.gone("Kustomization", name, seconds=120)
        space.delete("GitRepository")
        space.gone("GitRepository")
        until(lambda: not applied(space), 60, lambda: f"all gone: {sorted(applied(space))}", 0.5)
        new.stop()
