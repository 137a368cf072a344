"""An installed Diptych, as its user meets it: started by `diptych serve`, asked by `diptych ask`."""
import pathlib
import re
import signal
import subprocess

# Nothing of the developer's: no paths of libraries, no settings.
BARE = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/nonexistent", "LANG": "C.UTF-8"}


class Server:
    """`diptych serve` of an installation; `command` starts its command line, for example through chroot. Stop it in any case."""

    def __init__(self, command, cwd=None, environment=BARE):
        self._command = [str(word) for word in command]
        self._environment = environment
        self._cwd = cwd
        self.process = subprocess.Popen([*self._command, "serve"], env=environment, cwd=cwd, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.said = ""
        for line in self.process.stdout:
            self.said += line
            if found := re.search(r"diptych ask --server (\S+)", line):
                self.address = found[1]
            if line.startswith("Logs:"):
                return
        self.stop()
        raise AssertionError(f"diptych serve ended:\n{self.said}")

    def ask(self, image, question):
        """What `diptych ask` prints of the answer."""
        return run([*self._command, "ask", "--server", self.address, "--image", image, "--question", question, "--json"],
                   env=self._environment, cwd=self._cwd)

    def stop(self):
        """Its exit status."""
        self.process.send_signal(signal.SIGTERM)
        self.said += self.process.communicate(timeout=60)[0]
        return self.process.returncode


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def elf_files(tree):
    for path in sorted(pathlib.Path(tree).rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    yield path


def foreign_libraries(program, *own):
    """The libraries that a program finds neither in the folders `own` nor among those of the system's C and C++ compiler."""
    system = re.compile(r"(linux-vdso|ld-linux.*|lib(c|m|dl|rt|pthread|resolv|util|anl|mvec|stdc\+\+|gcc_s))\.so.*")
    for line in run(["ldd", str(program)], env=BARE).splitlines():
        name, _, path = line.strip().partition(" => ")
        found = path.rpartition(" (")[0]
        if not system.fullmatch(pathlib.Path(name.split(" ")[0]).name) and not found.startswith(tuple(map(str, own))):
            yield line.strip()
