"""Certificate authorities and what they sign, made with openssl."""
import os
import subprocess


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Authority:
    """A private CA in a folder: certificate is the path of its own certificate."""

    def __init__(self, folder, name="weir test CA"):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.certificate, self.key = f"{folder}/ca.crt", f"{folder}/ca.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj", f"/CN={name}",
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign", "-keyout", self.key, "-out", self.certificate)

    def issue(self, name, names=("IP:127.0.0.1", "DNS:localhost")):
        """A certificate for servers (of these names) and clients; returns the paths of certificate and key."""
        certificate, key, request, extensions = (f"{self.folder}/{name}.{ext}" for ext in ("crt", "key", "csr", "ext"))
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        with open(extensions, "w") as f:
            f.write(f"subjectAltName={','.join(names)}\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n")
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial", "-days", "30", "-extfile", extensions,
                "-out", certificate)
        return certificate, key
