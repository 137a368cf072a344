"""What surrounds a pod's processes: a network namespace with an address of its own, and a root file system of bind mounts."""
import os
import pathlib
import subprocess

from . import network, paths

# What stands for the images of our build: a folder of programs and what else a process expects to find.
IMAGES = ("diptych-gateway", "diptych-tier-cpu")
_IMAGE_MOUNTS = {"/opt/diptych/bin": paths.BINARIES, "/opt/diptych/share/diptych/models": paths.REPOSITORY / "models"}
IMAGE_PATH = "/opt/diptych/bin:/usr/bin:/bin"
_HOST_FILES = ("/etc/ld.so.cache", "/etc/ssl", "/etc/alternatives", "/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")


def _run(*command):
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


class PodNetwork:
    """A namespace `name` whose only interface has `address` and hangs on the bridge of the cluster."""

    def __init__(self, name, address):
        self.name, self.address, self._link = name, address, name[-15:]
        _run("ip", "netns", "add", name)
        _run("ip", "link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", name)
        _run("ip", "link", "set", self._link, "master", "pods0", "up")
        for command in (["link", "set", "lo", "up"], ["addr", "add", f"{address}/16", "dev", "eth0"], ["link", "set", "eth0", "up"],
                        ["route", "add", "default", "via", network.HOST]):
            _run("ip", "-n", name, *command)

    def enter(self):
        """A command's beginning that runs the rest in the namespace."""
        return ["nsenter", f"--net=/run/netns/{self.name}"]

    def cut(self):
        """Pulls the cable: nothing comes or goes, and nobody is told."""
        _run("ip", "link", "set", self._link, "down")

    def remove(self):
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)


class RootFilesystem:
    """The files that a container sees: the host's programs, an image's folder, and the pod's volumes. Read-only if asked."""

    def __init__(self, folder, pod_name, namespace):
        self.folder = paths.made(pathlib.Path(folder))
        _run("mount", "-t", "tmpfs", "-o", "size=16m,mode=755", "tmpfs", self.folder)
        for name in ("usr", "proc", "sys"):
            self.bind(f"/{name}", f"/{name}", read_only=name == "usr")
        for name in ("bin", "sbin", "lib", "lib64"):
            (self.folder / name).symlink_to(f"usr/{name}")
        paths.made(self.folder / "etc")
        (self.folder / "etc/resolv.conf").write_text(
            f"nameserver {network.HOST}\nsearch {namespace}.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n")
        (self.folder / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {pod_name}\n")
        for name in _HOST_FILES:
            self.bind(name, name)
        self.bind(paths.REPOSITORY, paths.REPOSITORY)  # the programs find libtorch there, by absolute path
        for inside, outside in _IMAGE_MOUNTS.items():
            self.bind(outside, inside)

    def bind(self, outside, inside, read_only=True):
        target = self.folder / str(inside).lstrip("/")
        if pathlib.Path(outside).is_dir():
            paths.made(target)
        else:
            paths.made(target.parent)
            target.touch()
        _run("mount", "--rbind", outside, target)
        if read_only and not str(inside).startswith("/dev"):
            _run("mount", "-o", "remount,bind,ro", target)

    def seal(self):
        """Makes what is not a volume read-only."""
        _run("mount", "-o", "remount,ro", self.folder)

    def remove(self):
        subprocess.run(["umount", "--lazy", "--recursive", self.folder], check=False, capture_output=True)


def confine(root, security, environment, command, folder="/"):
    """The command line that runs `command` inside a root file system, as the user and with the rights of a securityContext."""
    user, group = security.get("runAsUser", 0), security.get("runAsGroup", 0)
    rights = ["--no-new-privs"] if not security.get("allowPrivilegeEscalation", True) else []
    if "ALL" in security.get("capabilities", {}).get("drop", []):
        rights += ["--bounding-set=-all", "--inh-caps=-all"]
    groups = f"--groups={security['fsGroup']}" if "fsGroup" in security else "--clear-groups"
    return ["chroot", str(root.folder), "/usr/bin/setpriv", f"--reuid={user}", f"--regid={group}", groups, *rights,
            "/usr/bin/env", "-i", f"--chdir={folder}", *[f"{name}={value}" for name, value in environment.items()], *command]


def chown(path, group):
    """Gives a volume's files to the pod's group, as fsGroup asks."""
    for parent, folders, files in os.walk(path):
        for name in [".", *folders, *files]:
            os.chown(os.path.join(parent, name), -1, group)
