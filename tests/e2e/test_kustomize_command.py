"""kustomize-controller as a command: what it prints and where, and that it is the controller without one."""
import os
import shutil
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARIES = os.environ.get("WEIR_BINARIES", f"{ROOT}/build/bin")
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n"


def run(*words, **options):
    return subprocess.run([f"{BINARIES}/kustomize-controller", *words], capture_output=True, text=True, timeout=60, **options)


@pytest.fixture
def tree(tmp_path):
    """A function that writes files and returns their folder."""
    def write(files):
        folder = tmp_path / "tree"
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        return str(folder)
    return write


def two(tree):
    return tree({"kustomization.yaml": "resources: [a.yaml, b.yaml]\n", "a.yaml": CONFIG.format(name="a"), "b.yaml": CONFIG.format(name="b")})


def test_standard_output(tree):
    folder = two(tree)
    done = run("build", folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, CONFIG.format(name="a") + "---\n" + CONFIG.format(name="b"), "")
    assert run("build", cwd=folder).stdout == done.stdout
    assert run("build", ".", cwd=folder).stdout == done.stdout


def test_file_and_folder(tree, tmp_path):
    folder = two(tree)
    assert run("build", folder, "-o", f"{tmp_path}/out.yaml").stdout == ""
    assert (tmp_path / "out.yaml").read_text() == CONFIG.format(name="a") + "---\n" + CONFIG.format(name="b")
    (tmp_path / "out").mkdir()
    assert run("build", folder, f"--output={tmp_path}/out").returncode == 0
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == {f"v1_configmap_{name}.yaml": CONFIG.format(name=name) for name in "ab"}


def test_what_follows_the_reference(tree):
    """Policies have a namespace in 5.8.1, and none in what comes after."""
    folder = tree({"kustomization.yaml": "resources: [a.yaml]\nnamespace: ns\n", "a.yaml": "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {name: p}\n"})
    assert "namespace: ns" in run("build", folder).stdout
    assert "namespace: ns" in run("build", folder, "--compat", "5.8.1").stdout
    done = run("build", folder, "--compat=next")
    assert done.returncode == 0 and "namespace" not in done.stdout and "name: p" in done.stdout


def test_failed_build_leaves_the_file(tree, tmp_path):
    folder = tree({"kustomization.yaml": "resources: [absent.yaml]\n"})
    (tmp_path / "out.yaml").write_text("old")
    done = run("build", folder, "-o", f"{tmp_path}/out.yaml")
    assert done.returncode == 1 and done.stderr.startswith("Error: accumulating resources: ") and done.stdout == ""
    assert (tmp_path / "out.yaml").read_text() == "old"


def test_warnings(tree):
    """On standard error, in the reference's words, for each kustomization file; also where the build then fails."""
    base = {"base/kustomization.yaml": "commonLabels: {a: b}\nresources: [a.yaml]\n", "base/a.yaml": CONFIG.format(name="a")}
    top = "bases: [base]\npatchesStrategicMerge: [patch.yaml]\n"
    wanted = ["# Warning: 'bases' is deprecated. Please use 'resources' instead. Run 'kustomize edit fix' to update your Kustomization automatically.",
              "# Warning: 'patchesStrategicMerge' is deprecated. Please use 'patches' instead. Run 'kustomize edit fix' to update your Kustomization automatically.",
              "# Warning: 'commonLabels' is deprecated. Please use 'labels' instead. Run 'kustomize edit fix' to update your Kustomization automatically."]
    done = run("build", tree({**base, "kustomization.yaml": top, "patch.yaml": CONFIG.format(name="a") + "data: {k: v}\n"}))
    assert done.returncode == 0 and done.stderr.splitlines() == wanted
    done = run("build", tree({"patch.yaml": CONFIG.format(name="other")}))
    assert done.returncode == 1 and done.stderr.splitlines()[:3] == wanted and done.stderr.splitlines()[3].startswith("Error: ")


WRONG = {
    "command": (["bild"], 2, 'unknown command "bild"'),
    "controller": (["--no-such-flag"], 2, "no-such-flag"),
    "flag": (["build", "--no-such-flag=x"], 1, "Error: unknown flag: --no-such-flag\n"),
    "letter": (["build", "-x"], 1, "Error: unknown shorthand flag: 'x' in -x\n"),
    "dashes": (["build", "---x"], 1, "Error: bad flag syntax: ---x\n"),
    "flag without its value": (["build", "--reorder"], 1, "Error: flag needs an argument: --reorder\n"),
    "letter without its value": (["build", ".", "-o"], 1, "Error: flag needs an argument: 'o' in -o\n"),
    "bool": (["build", "--enable-managedby-label=odd"], 1, 'Error: invalid argument "odd" for "--enable-managedby-label" flag: strconv.ParseBool: parsing "odd": invalid syntax\n'),
    "two folders": (["build", "a", "b"], 1, "Error: specify one path to kustomization.yaml\n"),
    "restrictor": (["build", "--load-restrictor", "odd"], 1, "Error: illegal flag value --load-restrictor odd; legal values: [LoadRestrictionsRootOnly LoadRestrictionsNone]\n"),
    "reorder": (["build", "--reorder=odd"], 1, "Flag --reorder has been deprecated, use the new 'sortOptions' field in kustomization.yaml instead.\n"
                "Error: illegal flag value --reorder odd; legal values: [legacy none]\n"),
    "folder": (["build", "/no/such/folder"], 1, "Error: must build at directory: not a valid directory: evalsymlink failure on '/no/such/folder' : lstat /no: no such file or directory\n"),
    "no folder": (["build", ""], 1, "Error: must build at directory: directory path cannot be empty\n"),
    "file": (["build", "../etc/passwd"], 1, "Error: must build at directory: '../etc/passwd': file is not directory\n"),
    "after the options": (["build", "--", "-o"], 1, "Error: must build at directory: not a valid directory: evalsymlink failure on '-o' : lstat /etc/-o: no such file or directory\n"),
    # The reference has no such words, or does something else then.
    "compat": (["build", "--compat", "6"], 1, "Error: illegal flag value --compat 6; legal values: [5.8.1 next]\n"),
    "charts": (["build", "--enable-helm"], 1, "Error: unknown flag: --enable-helm: a build starts no programs and has no network\n"),
    "remote": (["build", "https://github.com/a/b"], 1, "Error: 'https://github.com/a/b' is remote: a build reads only local files\n"),
}


@pytest.mark.parametrize("name", WRONG)
def test_words_that_are_wrong(name):
    words, status, text = WRONG[name]
    done = run(*words, cwd="/etc")
    assert done.returncode == status and done.stdout == ""
    assert done.stderr == text or (status == 2 and text in done.stderr)


def test_ways_to_write_an_option(tree, tmp_path):
    folder = two(tree)
    wanted = CONFIG.format(name="a") + "---\n" + CONFIG.format(name="b")
    for number, words in enumerate([["-o", "{}"], ["-o{}"], ["-o={}"], ["--output", "{}"], ["--output={}"]]):
        path = tmp_path / str(number)
        assert run("build", *(word.format(path) for word in words), "--", folder).returncode == 0
        assert path.read_text() == wanted
    assert run("build", "-o", "", "--load-restrictor=", "--enable-managedby-label=F", folder).stdout == wanted
    assert "app.kubernetes.io/managed-by: kustomize-v5.8.1" in run("build", folder, "--enable-managedby-label").stdout
    done = run("build", folder, "-o", "/no/such/folder/file")
    assert (done.returncode, done.stderr) == (1, "Error: open /no/such/folder/file: no such file or directory\n")
    assert run("build", "--help").stdout.startswith("usage: build [DIR] ")


def test_the_controller_lies_beside(tmp_path):
    """Through a link from elsewhere it is found, in the same process; a copy without it says what is missing, and builds."""
    os.symlink(f"{BINARIES}/kustomize-controller", f"{tmp_path}/linked")
    process = subprocess.Popen(["kustomize-controller", "--help"], executable=f"{tmp_path}/linked", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert "--concurrent-ssa" in process.communicate(timeout=60)[0] and process.returncode == 0
    shutil.copy(f"{BINARIES}/kustomize-controller", f"{tmp_path}/alone")
    done = subprocess.run([f"{tmp_path}/alone", "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and f"{tmp_path}/alone-manager: No such file or directory" in done.stderr
    (tmp_path / "kustomization.yaml").write_text("configMapGenerator: [{name: c}]\n")
    assert "name: c-6ct58987ht\n" in subprocess.run([f"{tmp_path}/alone", "build", tmp_path], capture_output=True, text=True, timeout=60).stdout
