"""Long-running processes in a directory of their own, and their end: nothing outlives the run that started it, not even after kill -9."""
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

# Below the kernel's ephemeral ports, so that no outgoing connection takes a port between the choice and the use of it.
PORTS = range(11000, 20000)

# Ends what the pid files name and removes the directory when its standard input closes: at the latest when its parent is gone.
WATCHDOG = 'trap "" INT TERM HUP; read _; for f in "$1"/pids/*; do [ -e "$f" ] && kill -9 "$(cat "$f")"; done 2>/dev/null; rm -rf "$1"'


# Those that were chosen before: who asked for one may not listen on it yet.
chosen = set()


def free_port():
    """A port of 127.0.0.1 that nobody listens on, and that nobody else here was told of."""
    while True:
        port = random.choice(PORTS)
        if port in chosen:
            continue
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            chosen.add(port)
            return port


def until(condition, seconds, what, pause=0.03):
    """Calls condition until it returns something true, and returns that; AssertionError with what() or what after the deadline."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(pause)


class Workspace:
    """A directory (in memory where the system has such) that goes away with the processes started in it."""

    def __init__(self, name):
        shared = "/dev/shm"
        self.path = tempfile.mkdtemp(prefix=f"weir-{name}-", dir=shared if os.access(shared, os.W_OK) else None)
        os.mkdir(f"{self.path}/pids")
        self.processes = []
        self.watchdog = subprocess.Popen(["sh", "-c", WATCHDOG, "sh", self.path], stdin=subprocess.PIPE, start_new_session=True)

    def folder(self, name):
        """The path of a folder in here, made if need be."""
        path = os.path.join(self.path, name)
        os.makedirs(path, exist_ok=True)
        return path

    def write(self, name, text, mode=0o644):
        """Writes a file and returns its path."""
        path = os.path.join(self.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as f:
            f.write(text)
        return path

    def process(self, name, command, **options):
        process = Process(self, name, command, **options)
        self.processes.append(process)
        return process

    def close(self):
        if not self.watchdog:
            return
        for process in reversed(self.processes):
            process.kill()
        self.watchdog.stdin.close()
        self.watchdog.wait()
        self.watchdog = None
        shutil.rmtree(self.path, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Process:
    """One process, which may be started again after it ended. Its output is appended to log."""

    def __init__(self, workspace, name, command, env=None, cwd=None):
        self.workspace, self.name, self.command, self.env, self.cwd = workspace, name, command, env, cwd
        self.log = f"{workspace.path}/{name}.log"
        self.pid_file = f"{workspace.path}/pids/{name}"
        self.popen = None

    @property
    def pid(self):
        return self.popen.pid if self.popen else None

    @property
    def running(self):
        return self.popen is not None and self.popen.poll() is None

    def start(self):
        assert not self.running, f"{self.name} runs already"
        self.started_at = time.time()
        with open(self.log, "ab") as log:
            self.popen = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                          env={**os.environ, **(self.env or {})}, cwd=self.cwd or self.workspace.path)
        with open(self.pid_file, "w") as f:
            f.write(str(self.popen.pid))
        return self

    def signal(self, number):
        if self.running:
            self.popen.send_signal(number)

    def pause(self):
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def wait(self, seconds=30):
        """The exit status; the pid is free from here on."""
        status = self.popen.wait(seconds)
        if os.path.exists(self.pid_file):
            os.unlink(self.pid_file)
        return status

    def stop(self, seconds=30):
        """Asks it to end, and returns its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self):
        if self.popen:
            self.signal(signal.SIGKILL)
            self.wait()

    def remove(self):
        """Ends it, and removes its log and the folder of its name."""
        self.kill()
        self.workspace.processes.remove(self)
        shutil.rmtree(f"{self.workspace.path}/{self.name}", ignore_errors=True)
        if os.path.exists(self.log):
            os.unlink(self.log)

    def output(self):
        """What it wrote, in all its lives; nothing if it never started."""
        if not os.path.exists(self.log):
            return ""
        with open(self.log, errors="replace") as f:
            return f.read()

    def tail(self, characters=4000):
        return self.output()[-characters:]
