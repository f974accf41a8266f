"""The tour of make demo, from beginning to end."""
import os
import subprocess
import sys

from cluster.controllers import ROOT


def test_tour():
    more = ["--binaries", os.environ["WEIR_BINARIES"]] if "WEIR_BINARIES" in os.environ else []
    done = subprocess.run([sys.executable, f"{ROOT}/tests/demo/demo.py", "--once", *more], capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    for chapter in ("1. First sync", "2. A push arrives", "3. Somebody edits", "4. A file is deleted", "5. A broken commit", "cleaning up"):
        assert chapter in done.stdout
