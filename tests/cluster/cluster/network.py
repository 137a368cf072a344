"""The network of the pods: a bridge on this machine, which is their gateway, name server and node."""
import subprocess

HOST = "10.244.0.1"
PODS = "10.244.0.0/16"


def make():
    """Makes the bridge, and the host a router between pods."""
    for command in (["link", "add", "pods0", "type", "bridge"], ["addr", "add", f"{HOST}/16", "dev", "pods0"], ["link", "set", "pods0", "up"],
                    ["link", "set", "lo", "up"]):
        subprocess.run(["ip", *command], check=True)
    # A Service's address leads back into the bridge: pods shall not be told of the shorter way.
    for name, value in (("ip_forward", "1"), ("conf/all/send_redirects", "0"), ("conf/pods0/send_redirects", "0")):
        with open(f"/proc/sys/net/ipv4/{name}", "w", encoding="ascii") as setting:
            setting.write(value)
