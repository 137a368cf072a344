"""Certificates for tests, made by the openssl command."""
import pathlib
import subprocess
import tempfile


class Authority:
    """Signs certificates for 127.0.0.1 in a folder of its own, which is removed with it."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="diptych_authority_")
        self.path = pathlib.Path(self._folder.name)
        self.certificate = self.path / "ca.pem"
        self._run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
                  "-days", "2", "-subj", "/CN=authority")
        (self.path / "index.txt").touch()
        (self.path / "ca.cnf").write_text("[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nnew_certs_dir=.\nrand_serial=yes\n"
                                          "default_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n")

    def sign(self, name, expired=False, names="IP:127.0.0.1,DNS:localhost"):
        """(certificate, key), new files on each call that replace those of the same name at once."""
        key, request, cert = f"{name}.new.key", f"{name}.csr", f"{name}.new.pem"
        self._run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        (self.path / "extensions").write_text(f"subjectAltName={names}\n")
        dates = ("-startdate", "20200101000000Z", "-enddate", "20200102000000Z") if expired else ("-days", "2")
        self._run("ca", "-batch", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-in", request, "-out", cert, "-notext",
                  "-extfile", "extensions", *dates)
        for new, old in ((key, f"{name}.key"), (cert, f"{name}.pem")):
            (self.path / new).replace(self.path / old)
        return self.path / f"{name}.pem", self.path / f"{name}.key"

    def _run(self, *command):
        subprocess.run(["openssl", *command], cwd=self.path, check=True, capture_output=True)
