"""Keys and certificates of the control plane, by openssl."""
import subprocess

from . import paths

FOLDER = paths.RUN / "pki"


def _openssl(*arguments):
    subprocess.run(["openssl", *[str(a) for a in arguments]], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _sign(name, subject, *extra):
    _openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", subject, *extra, "-keyout", FOLDER / f"{name}.key", "-out", FOLDER / f"{name}.csr")
    _openssl("x509", "-req", "-in", FOLDER / f"{name}.csr", "-CA", FOLDER / "ca.crt", "-CAkey", FOLDER / "ca.key", "-CAcreateserial",
             "-copy_extensions", "copy", "-days", "2", "-out", FOLDER / f"{name}.crt")


def make():
    """Makes an authority and what it signs: the server, the administrator, and the API server as a client of its extensions."""
    paths.made(FOLDER)
    _openssl("genrsa", "-out", FOLDER / "accounts.key", "2048")
    _openssl("rsa", "-in", FOLDER / "accounts.key", "-pubout", "-out", FOLDER / "accounts.pub")
    _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=cluster", "-keyout", FOLDER / "ca.key", "-out", FOLDER / "ca.crt")
    names = "subjectAltName=IP:127.0.0.1,IP:10.244.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes.default.svc"
    _sign("server", "/CN=server", "-addext", names)
    _sign("admin", "/O=system:masters/CN=admin")
    _sign("extensions", "/CN=extensions")


def issue(name, *names):
    """Signs a certificate for DNS names: the files of a TLS secret by their keys."""
    _sign(name, f"/CN={name}", "-addext", "subjectAltName=" + ",".join(f"DNS:{n}" for n in names))
    return {"tls.crt": FOLDER / f"{name}.crt", "tls.key": FOLDER / f"{name}.key", "ca.crt": FOLDER / "ca.crt"}
