"""The tour of make demo, from beginning to end: on a cluster of its own, and on the visitor's."""
import os
import subprocess
import sys

from cluster.cluster import ControlPlane
from cluster.controllers import ROOT
from cluster.kube import Kube

COMMAND = [sys.executable, f"{ROOT}/tests/demo/demo.py", "--once", *(["--binaries", os.environ["WEIR_BINARIES"]] if "WEIR_BINARIES" in os.environ else [])]
CHAPTERS = ("1. First sync", "2. A push arrives", "3. Somebody edits", "4. A file is deleted", "5. A broken commit", "cleaning up")


def tour(kubeconfig=None):
    """Exit status and output; with a kubeconfig the question is answered with yes, at a terminal."""
    environment = {k: v for k, v in os.environ.items() if k != "KUBECONFIG"}
    if not kubeconfig:
        done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL, env=environment)
        return done.returncode, done.stdout + done.stderr
    keyboard, terminal = os.openpty()
    try:
        os.write(keyboard, b"y\n")
        done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=180, stdin=terminal, env={**environment, "KUBECONFIG": kubeconfig})
    finally:
        os.close(keyboard)
        os.close(terminal)
    return done.returncode, done.stdout + done.stderr


def test_tour():
    status, text = tour()
    assert status == 0 and all(chapter in text for chapter in CHAPTERS), text


def test_tour_of_the_own_cluster_leaves_it_as_it_was():
    """And does not begin where something would be lost: with a namespace of the visitor's, or beside other controllers."""
    with ControlPlane() as plane:
        kube = Kube(plane.admin)

        def everything():
            return {(kind, o["metadata"]["name"]) for kind in ("Namespace", "CustomResourceDefinition") for o in kube.list(kind) if "deletionTimestamp" not in o["metadata"]}
        before = everything()
        status, text = tour(plane.admin)
        assert status == 0 and all(chapter in text for chapter in CHAPTERS), text
        assert everything() == before
        for name in ("weir-demo", "shop-staging", "shop-production"):
            kube.wait_gone("Namespace", name)
        kube.create_namespace("shop-staging", {"mine": "yes"})
        status, text = tour(plane.admin)
        assert status == 1 and "namespace shop-staging already" in text, text
        assert kube.get("Namespace", "shop-staging")["metadata"]["labels"]["mine"] == "yes" and not kube.get("CustomResourceDefinition", "kustomizations.kustomize.toolkit.fluxcd.io")
