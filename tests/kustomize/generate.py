"""
Random overlays from a seed: {path: text} of a tree whose root is built. Each is one of the shapes below, made to meet the engine's corners: scalars of every type and style, strategic
merges with duplicates, directives and nulls, generators with behaviours, prefixed diamonds, replacements with options.
"""
import random

PLAIN = """yes on y n off No True FALSE null ~ Null 1 0 -1 +5 010 0o10 0x1F 0b11 09 1_000 1e3 1E-5 1.0 -0.0 1.50 .5 5. 1e20 1e21 1e400 123456789.5 1234567.5 0.00001234
18446744073709551615 18446744073709551616 -9223372036854775808 9007199254740993 1:20 190:20:30 2001-01-01 2001-1-2 2001-12-14t21:59:43.10-05:00 2001-12-14T21:59:43Z 12:30:45
.inf -.Inf .nan 1.2.3 v1.2 a-b a.b foo/bar $x a#b http://x:80/y <nil> a,b =x % 1__0 _1 0x 0b2 08 1e 1.e3 +.5 .e1 ... -- a:b""".split()
STRINGS = ["", " ", "a", "a b", " a", "a ", "a\nb", "a\nb\n", "a\n\nb\n\n", " a\nb", "a \nb", "a\n b", "\n", "\na", "a\tb", "a\tb\n", "- a", "-", "? a", ": a", "a: b", "a:", "a #b", "#a", "@a", "`a", "%a",
           "'a'", "\"a\"", "it's", "---", "--- a", "...", "a\\b", "{a}", "[a", "a]", "&a", "*a", "!a", "|", ">", "é中", "\U0001F600", "\u2028x", "a\u00a0b", "\ufeffa", "a\u0085b", "a\rb", "\x07", "\x1b[0m", "x" * 90,
           "word " * 30, ("word " * 30).strip(), "'" * 3, "null", "true", "1", "1.0", "0o7", "2001-01-01", "~", "yes", "=", "<<", "1:20", "key: |\n  x\n", "a\n" * 3, "x" * 200 + "\ny", "<&>"]
KEYS = ["a", "b", "c", "a1", "a10", "a9", "Z", "a-b", "a.b", "a_b", "aB", "1x", "10x", "9x", "é", "x" * 130, "a b", "y", "n", "on", "1", "1.5", "null", "a: b", "app.kubernetes.io/name"]


def quote(text, style):
    if style == "single" and "\n" not in text and all(" " <= c <= "~" or "\u00a1" <= c <= "\ud7ff" for c in text):
        return "'" + text.replace("'", "''") + "'"
    out = ""
    for c in text:
        n = ord(c)
        out += {"\n": "\\n", "\t": "\\t", '"': '\\"', "\\": "\\\\"}.get(c) or (c if 32 <= n < 127 else f"\\x{n:02x}" if n < 256 else f"\\u{n:04x}" if n < 65536 else f"\\U{n:08x}")
    return f'"{out}"'


def scalar(r):
    kind = r.random()
    if kind < 0.5:
        return r.choice(PLAIN)
    if kind < 0.95:
        return quote(r.choice(STRINGS), r.choice(["single", "double"]))
    return r.choice(["!!str 5", "!!int '5'", "!!float 5", "!custom x", "!!binary aGk=", "!!int abc", "!!bool yes", "!!null ''", "!!timestamp 2001-01-01"])


def value(r, depth=0):
    kind = r.random()
    if depth > 3 or kind < 0.6:
        return scalar(r)
    if kind < 0.8:
        return "[" + ", ".join(value(r, depth + 1) for _ in range(r.randrange(4))) + "]"
    keys = r.sample(KEYS, r.randrange(4))
    if r.random() < 0.03 and keys:
        keys.append(keys[0])
    return "{" + ", ".join(f"{key(r, k)}: {value(r, depth + 1)}" for k in keys) + "}"


def key(r, text):
    return quote(text, "double") if r.random() < 0.8 or len(text) > 100 or text in ("1", "1.5", "null", "a: b") and r.random() < 0.9 else text


def block(r):
    """A literal or folded scalar of a few lines."""
    lines = [r.choice(["a", "a b", "  more", "", "", "- x", "# y", "word " * 20 + "end", "tab\there"]) for _ in range(r.randrange(1, 6))]
    return r.choice("|>") + "2" + r.choice(["", "-", "+"]) + "\n" + "\n".join("  " + line if line else "" for line in lines)


def document(r):
    """One resource of random values."""
    lines = ["apiVersion: example.com/v1", "kind: Thing", f"metadata: {{name: t{r.randrange(3)}}}"]
    if r.random() < 0.3:
        lines[2] = f"metadata: {{name: t, labels: {{x: {scalar(r)}}}, annotations: {{y: {scalar(r)}, z: {scalar(r)}}}}}"
    for k in r.sample(KEYS[:12], r.randrange(1, 6)):
        lines.append(f"{key(r, k)}: {value(r) if r.random() < 0.7 else block(r)}")
    return "\n".join(lines) + "\n"


def scalars(r):
    files = {"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": document(r)}
    if r.random() < 0.3:
        files["kustomization.yaml"] += f"patches:\n- target: {{kind: Thing}}\n  patch: |\n" + indent(document(r), 4)
    return files


def indent(text, by):
    return "".join(" " * by + line + "\n" for line in text.rstrip("\n").split("\n"))


def maybe(r, chance, text):
    return text if r.random() < chance else ""


def small(r):
    return r.choice(["1", "2", "'1'", '"x"', "x", "true", "null", "~", "", "0.5", "'null'"])


def environment(r):
    items = []
    for _ in range(r.randrange(4)):
        item = r.choice([f"name: {r.choice('ABC')}, value: {small(r)}", f"name: {r.choice('ABC')}", f"name: {r.choice('ABC')}, $patch: {r.choice(['delete', 'replace', 'merge'])}", "value: x",
                         f"name: {r.choice('ABC')}, valueFrom: {{configMapKeyRef: {{name: c, key: k}}}}", f"name: {r.choice('ABC')}, value: null", "$patch: " + r.choice(["replace", "delete", "merge", "foo"])])
        items.append("{" + item + "}")
    return "[" + ", ".join(items) + "]"


def ports(r, service=False):
    items = []
    for _ in range(r.randrange(4)):
        item = f"{'port' if service else 'containerPort'}: {r.choice([80, 81, 443])}"
        item += maybe(r, 0.5, f", protocol: {r.choice(['TCP', 'UDP'])}") + maybe(r, 0.4, f", name: {r.choice('pq')}") + maybe(r, 0.2, f", targetPort: {r.choice([8080, 'web'])}") + maybe(r, 0.05, ", $patch: delete")
        items.append("{" + item + "}")
    if r.random() < 0.05:
        items.append(r.choice(["{name: z}", "null", "{}", "7"]))
    return "[" + ", ".join(items) + "]"


def container(r):
    fields = []
    if r.random() < 0.95:
        fields.append(f"name: {r.choice(['a', 'b', 'c'])}")
    for chance, text in ((0.6, lambda: f"image: {r.choice(['nginx:1', 'busybox', 'reg:5000/x@sha256:abc'])}"), (0.5, lambda: f"env: {environment(r)}"), (0.5, lambda: f"ports: {ports(r)}"),
                         (0.3, lambda: f"args: [{small(r)}]"), (0.2, lambda: f"volumeMounts: [{{name: v, mountPath: /{r.choice('ab')}}}, {{mountPath: /{r.choice('ab')}, readOnly: true}}]"),
                         (0.06, lambda: f"$patch: {r.choice(['delete', 'replace', 'merge'])}"), (0.1, lambda: "resources: {limits: {cpu: 1, memory: null}}")):
        if r.random() < chance:
            fields.append(text())
    return "{" + ", ".join(fields) + "}"


def pod_spec(r):
    fields = [f"containers: [{', '.join(container(r) for _ in range(r.randrange(4)))}]"]
    for chance, text in ((0.2, lambda: f"initContainers: [{container(r)}]"), (0.3, lambda: f"volumes: [{{name: {r.choice('vw')}, {r.choice(['emptyDir: {}', 'configMap: {name: c}', 'emptyDir: null'])}}}]"),
                         (0.2, lambda: "tolerations: [{key: a}]"), (0.1, lambda: "tolerations: null"), (0.1, lambda: "nodeSelector: {$patch: replace, a: b}"), (0.1, lambda: "nodeSelector: {a: b, c: null}"),
                         (0.1, lambda: "topologySpreadConstraints: [{topologyKey: z, whenUnsatisfiable: DoNotSchedule, maxSkew: 1}, {topologyKey: z, maxSkew: 2}]"), (0.05, lambda: "hostAliases: [{ip: 1.2.3.4}, {ip: 1.2.3.4, hostnames: [a]}]"),
                         (0.05, lambda: "$retainKeys: [a]"), (0.05, lambda: "containers: {a: b}"), (0.05, lambda: "imagePullSecrets: [{name: s}, {name: s}]")):
        if r.random() < chance:
            fields.append(text())
    if r.random() < 0.05:
        fields[0] = "containers: " + r.choice(["[]", "null", "[{$patch: replace}, {name: a}]", "[{$patch: delete}]", "~", ""])
    return "{" + ", ".join(dict.fromkeys(fields)) + "}"


def workload(r, name, labels=True):
    kind = r.choice(["Deployment", "Deployment", "StatefulSet", "Pod", "CronJob", "Service", "Rollout"])
    metadata = f"{{name: {name}" + maybe(r, 0.3, f", labels: {{app: {small(r)}}}") + maybe(r, 0.2, f", annotations: {{x: {small(r)}}}") + maybe(r, 0.1, f", finalizers: [{r.choice(['a', 'b, a'])}]") + "}"
    if not labels:
        metadata = f"{{name: {name}}}"
    spec = pod_spec(r)
    body = {"Deployment": lambda: ("apps/v1", f"{{replicas: {small(r)}, selector: {{matchLabels: {{app: x}}}}, template: {{metadata: {{labels: {{app: x}}}}, spec: {spec}}}}}"),
            "StatefulSet": lambda: ("apps/v1", f"{{serviceName: s, template: {{spec: {spec}}}, volumeClaimTemplates: [{{metadata: {{name: v}}}}]}}"), "Pod": lambda: ("v1", spec),
            "CronJob": lambda: ("batch/v1", f"{{jobTemplate: {{spec: {{template: {{spec: {spec}}}}}}}}}"), "Service": lambda: ("v1", f"{{ports: {ports(r, True)}, selector: {{app: x}}}}"),
            "Rollout": lambda: ("argoproj.io/v1alpha1", f"{{template: {{spec: {spec}}}}}")}[kind]()
    return kind, f"apiVersion: {body[0]}\nkind: {kind}\nmetadata: {metadata}\nspec: {body[1]}\n"


def merges(r):
    """A base and a strategic merge over it."""
    kind, base = workload(r, "w")
    for _ in range(50):
        other, patch = workload(r, "w")
        if other == kind:
            break
    form = r.choice(["patches", "target", "patchesStrategicMerge"])
    text = {"patches": "patches:\n- path: p.yaml\n", "target": f"patches:\n- path: p.yaml\n  target: {{kind: {kind}}}\n", "patchesStrategicMerge": "patchesStrategicMerge: [p.yaml]\n"}[form]
    return {"kustomization.yaml": "resources: [a.yaml]\n" + text, "a.yaml": base, "p.yaml": patch}


def json_patches(r):
    kind, base = workload(r, "w")
    paths = ["/spec", "/spec/replicas", "/metadata/labels", "/metadata/labels/app", "/metadata/annotations/x", "/metadata/name", "/spec/template/spec/containers/0", "/spec/template/spec/containers/-",
             "/spec/template/spec/containers/-1", "/spec/template/spec/containers/1/env", "/spec/a~1b", "/x", "/x/y", "/spec/containers/0/image", "/kind", "", "/spec/ports/0/port", "/spec/template/spec/containers/9"]
    operations = []
    for _ in range(r.randrange(1, 4)):
        op = r.choice(["add", "add", "replace", "remove", "copy", "move", "test", "foo"] if r.random() < 0.3 else ["add", "replace", "remove"])
        fields = [f"op: {op}", f"path: {quote(r.choice(paths), 'double')}"]
        if op in ("copy", "move"):
            fields.append(f"from: {quote(r.choice(paths), 'double')}")
        elif op != "remove":
            fields.append(f"value: {value(r, 2)}")
        operations.append("{" + ", ".join(fields) + "}")
    return {"kustomization.yaml": f"resources: [a.yaml]\nnamePrefix: p-\npatches:\n- path: p.yaml\n  target: {{kind: {kind}}}\n", "a.yaml": base, "p.yaml": "".join(f"- {o}\n" for o in operations)}


def generator(r, name):
    secret = r.random() < 0.3
    text = f"- name: {name}\n" + maybe(r, 0.4, f"  behavior: {r.choice(['create', 'merge', 'replace', 'odd'])}\n") + maybe(r, 0.2, f"  namespace: {r.choice(['ns', 'default'])}\n")
    text += maybe(r, 0.7, f"  literals: [{', '.join(r.choice(['a=1', 'b=on', quote(chr(97) + '=' + r.choice(STRINGS).replace(chr(0x85), ''), 'double'), 'c=', 'noval', 'd=x=y']) for _ in range(r.randrange(1, 3)))}]\n")
    text += maybe(r, 0.3, "  files: [f.txt]\n") + maybe(r, 0.2, "  files: [k=f.txt]\n") + maybe(r, 0.3, "  envs: [e.env]\n")
    text += maybe(r, 0.2, f"  options: {{disableNameSuffixHash: {r.choice(['true', 'false'])}, labels: {{l: {quote(r.choice(STRINGS[:20]), 'double')}}}, immutable: true}}\n")
    if secret:
        text += maybe(r, 0.3, "  type: kubernetes.io/tls\n")
    return secret, text


def generators(r, names="c"):
    maps, secrets = "", ""
    for _ in range(r.randrange(1, 3)):
        secret, text = generator(r, r.choice(names))
        if secret:
            secrets += text
        else:
            maps += text
    return (f"configMapGenerator:\n{maps}" if maps else "") + (f"secretGenerator:\n{secrets}" if secrets else "")


def overlays(r):
    """A base, one or two overlays, a top; generators, prefixes, namespaces, labels, references."""
    user = f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: d{maybe(r, 0.2, ', namespace: ns')}}}\nspec: {{template: {{spec: {{containers: [{{name: a, image: nginx, envFrom: [{{configMapRef: {{name: c}}}}, {{secretRef: {{name: c}}}}]}}], serviceAccountName: sa}}}}}}\n"
    other = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: sa" + maybe(r, 0.3, ", namespace: ns") + "}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: " + r.choice(["RoleBinding", "ClusterRoleBinding"]) + \
        "\nmetadata: {name: rb}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cr}\nsubjects:\n- {kind: ServiceAccount, name: sa" + maybe(r, 0.5, ", namespace: " + r.choice(["ns", "default", "x"])) + \
        "}\n- {kind: ServiceAccount, name: default, namespace: y}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: cr}\nrules:\n- {resourceNames: [c, z], verbs: [get]}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: ns}\n"
    files = {"f.txt": "file\ntext\n", "e.env": "\ufeffA=1\r\n B = 2\n#c\nN\n", "base/f.txt": "x", "base/e.env": "E=1\n", "one/f.txt": "1", "one/e.env": "O=\n", "two/f.txt": "2", "two/e.env": "T=t\n"}

    def settings():
        return maybe(r, 0.4, f"namePrefix: {r.choice(['p-', 'q-'])}\n") + maybe(r, 0.2, "nameSuffix: -s\n") + maybe(r, 0.3, f"namespace: {r.choice(['ns', 'other', 'default'])}\n") + \
            maybe(r, 0.2, f"labels:\n- pairs: {{l: {r.choice(['a', quote('1', 'double')])}}}\n  includeSelectors: {r.choice(['true', 'false'])}\n" + maybe(r, 0.5, "  includeTemplates: true\n")) + \
            maybe(r, 0.2, "commonLabels: {c: d}\n") + maybe(r, 0.2, "commonAnnotations: {a: 'true'}\n") + maybe(r, 0.2, f"images: [{{name: nginx, {r.choice(['newTag: v1', 'digest: sha256:x', 'newName: n/x', 'tagSuffix: -t'])}}}]\n") + \
            maybe(r, 0.1, "replicas: [{name: d, count: 3}]\n") + maybe(r, 0.2, generators(r)) + maybe(r, 0.1, "generatorOptions: {disableNameSuffixHash: true, labels: {g: h}}\n") + \
            maybe(r, 0.1, f"sortOptions: {{order: {r.choice(['legacy', 'fifo'])}}}\n") + maybe(r, 0.15, f"buildMetadata: [{r.choice(['originAnnotations', 'transformerAnnotations', 'managedByLabel'])}]\n")

    files["base/kustomization.yaml"] = "resources: [u.yaml, o.yaml]\n" + settings() + "".join(maybe(r, 0.5, "") for _ in range(1))
    files["base/u.yaml"], files["base/o.yaml"] = user, other
    files["one/kustomization.yaml"] = "resources: [../base]\n" + settings()
    files["two/kustomization.yaml"] = "resources: [../base]\n" + settings()
    top = r.choice(["[one]", "[one, two]", "[base]", "[two]"])
    files["kustomization.yaml"] = f"resources: {top}\n" + settings()
    return files


def replacements(r):
    source = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s}\ndata: {a: '8080', b: x:y:z, c: \"{\\\"k\\\": {\\\"v\\\": 1}, \\\"z\\\": \\\"<\\\"}\", d: '5', e: abc}\n"
    target = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  replicas: 1\n  text: 'a:b:c'\n  quoted: \"1\"\n  json: '{\"a\": {\"b\": 1}, \"l\": [1, 2]}'\n  map: {k: v}\n  template: {spec: {containers: " \
        "[{name: foo, image: nginx:1}, {name: foobar, image: busybox}, {name: 'q', args: [x, y]}]}}\n"
    sources = ["data.a", "data.b", "data.d", "data.e", "data", "data.missing", "metadata.name", "data.c", "metadata"]
    paths = ["spec.replicas", "spec.text", "spec.quoted", "spec.map", "spec.map.k", "spec.new", "spec.new.deep", "spec.template.spec.containers.[name=foo].image", "spec.template.spec.containers.[name=^foo$].image",
             "spec.template.spec.containers.*.image", "spec.template.spec.containers.0.image", "spec.template.spec.containers.9.image", "spec.template.spec.containers.3.name", "spec.json.a.b", "spec.json.l.0", "spec.json.n",
             "spec.template.spec.containers.[name=q].args.1", "spec.template.spec.containers.[name=new].image", "metadata.annotations.[a.b/c]", "metadata.labels.x\\.y", "spec.template.spec.containers.[name=q].args.[=x]", "metadata.name"]

    def options(target):
        return maybe(r, 0.4, f"    options: {{{maybe(r, 0.6, 'delimiter: ' + quote(':', 'double') + ', ')}index: {r.choice([0, 1, 2, 9, -1])}{', create: true' if target and r.random() < 0.5 else ''}}}\n")

    text = ""
    for _ in range(r.randrange(1, 3)):
        if r.random() < 0.1:
            text += f"- sourceValue: {r.choice(['x', quote('7', 'double')])}\n"
        else:
            text += f"- source:\n    kind: {r.choice(['ConfigMap', 'ConfigMap', 'ConfigMap', 'Foo'])}\n    fieldPath: {r.choice(sources)}\n" + options(False)
        text += f"  targets:\n  - select: {{kind: {r.choice(['Deployment', 'Deploy.*', 'Foo'])}}}\n    fieldPaths: [{', '.join(quote(p, 'double') for p in r.sample(paths, r.randrange(1, 3)))}]\n" + options(True) + \
            maybe(r, 0.1, "    reject: [{name: d}]\n")
    return {"kustomization.yaml": "resources: [s.yaml, t.yaml]\nreplacements:\n" + text + maybe(r, 0.2, "namePrefix: p-\n"), "s.yaml": source, "t.yaml": target}


SHAPES = [scalars, merges, merges, json_patches, overlays, replacements]


def tree(seed):
    r = random.Random(seed)
    return SHAPES[seed % len(SHAPES)](r)
