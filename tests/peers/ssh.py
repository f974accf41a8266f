"""An OpenSSH server on a high port, with host keys of its own, that serves the repositories of a folder."""
import base64
import getpass
import os
import shutil
import socket
import subprocess

from cluster.process import free_port, until


def keygen(path, kind="ed25519", passphrase="", bits=None, comment="weir"):
    """Makes a key pair; returns (private key, public key) as text."""
    size = ["-b", str(bits)] if bits else []
    subprocess.run(["ssh-keygen", "-q", "-t", kind, *size, "-N", passphrase, "-C", comment, "-f", path], check=True, stdin=subprocess.DEVNULL)
    with open(path) as private, open(f"{path}.pub") as public:
        return private.read(), public.read()


def pkcs8(path, passphrase=""):
    """An Ed25519 key pair as keygen, with the private key as openssl and Terraform write it."""
    cipher = ["-aes256", "-pass", f"pass:{passphrase}"] if passphrase else []
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", *cipher, "-out", path], check=True, capture_output=True)
    raw = subprocess.run(["openssl", "pkey", "-in", path, "-passin", f"pass:{passphrase}", "-pubout", "-outform", "DER"], check=True, capture_output=True).stdout[-32:]
    blob = b"".join(len(field).to_bytes(4, "big") + field for field in (b"ssh-ed25519", raw))
    with open(path) as private:
        return private.read(), f"ssh-ed25519 {base64.b64encode(blob).decode()}\n"


class SshServer:
    """Log in as user, with a key given to authorize(); url(NAME) is the repository NAME.git of the folder. options: further lines of sshd_config."""

    def __init__(self, workspace, folder, name="sshd", options=()):
        self.home = workspace.folder(name)
        self.folder, self.user, self.port = folder, getpass.getuser(), free_port()
        self.keys = f"{self.home}/authorized_keys"
        open(self.keys, "w").close()
        os.chmod(self.keys, 0o600)
        self.host_keys = {}
        for kind in ("ed25519", "ecdsa", "rsa"):
            self.host_keys[kind] = keygen(f"{self.home}/host_{kind}", kind)[1].split(" weir")[0].strip()
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        config = ["ListenAddress 127.0.0.1", f"Port {self.port}", f"AuthorizedKeysFile {self.keys}", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
                  "StrictModes no", "UsePAM no", "PermitRootLogin yes", "PidFile none", "MaxStartups 100", "LogLevel VERBOSE", *options]
        if not any(line.startswith("HostKey ") for line in options):
            config += [f"HostKey {self.home}/host_{kind}" for kind in self.host_keys]
        path = workspace.write(f"{name}/sshd_config", "\n".join(config) + "\n")
        sshd = shutil.which("sshd") or "/usr/sbin/sshd"
        self.process = workspace.process(name, [sshd, "-D", "-e", "-f", path]).start()
        until(self._listening, 10, self.process.tail)

    def _listening(self):
        if not self.process.running:
            raise RuntimeError(f"sshd ended: {self.process.tail()}")
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def authorize(self, public_key):
        with open(self.keys, "a") as f:
            f.write(public_key.strip() + "\n")

    def url(self, name, user=None):
        return f"ssh://{user or self.user}@127.0.0.1:{self.port}{self.folder}/{name}.git"

    def known_hosts(self, *kinds, host=None):
        """Lines for the host keys of these kinds (all, if none is named)."""
        return "".join(f"{host or f'[127.0.0.1]:{self.port}'} {self.host_keys[kind]}\n" for kind in kinds or self.host_keys)
