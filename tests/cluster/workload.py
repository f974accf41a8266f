"""Workloads as teams write them, for tests that look at something else."""

# An account that may do in its namespace what an administrator of it may.
TENANT = """\
apiVersion: v1
kind: ServiceAccount
metadata: {name: tenant}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: tenant}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}
subjects: [{kind: ServiceAccount, name: tenant, namespace: "${NS}"}]
"""

_APPLICATION = """\
apiVersion: v1
kind: ServiceAccount
metadata:
  name: ${name}
---
apiVersion: v1
kind: Service
metadata:
  name: ${name}
spec:
  selector: {app: "${name}"}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: ${name}
spec:
  replicas: 0
  selector:
    matchLabels: {app: "${name}"}
  template:
    metadata:
      labels: {app: "${name}"}
    spec:
      serviceAccountName: ${name}
      containers:
      - name: app
        image: IMAGE
        ports: [{name: http, containerPort: 8080}]
        env: [{name: TEAM, value: "${team}"}]
        resources: {requests: {cpu: CPU, memory: 16Mi}, limits: {memory: LIMIT}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: ${name}
spec:
  rules:
  - host: ${name}.example.com
    http:
      paths: [{path: /, pathType: Prefix, backend: {service: {name: "${name}", port: {name: http}}}}]
"""


_DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 0
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: web
        image: IMAGE
"""


def application(image, team="${team}", cpu="10m", limit="64Mi"):
    """Four objects, as text, whose names the Kustomization substitutes: ${name}, and ${team} unless it is given."""
    return _APPLICATION.replace("IMAGE", image).replace("${team}", team).replace("CPU", cpu).replace("LIMIT", limit)


def deployment(image):
    """The Deployment web without a pod, as text; what is appended at its end belongs to its container."""
    return _DEPLOYMENT.replace("IMAGE", image)
