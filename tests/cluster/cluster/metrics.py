"""What a pod shows to Prometheus."""
import re
import urllib.request

_PORTS = {"gateway": 9000, "vision": 9001, "language": 9002}


def read(address, tier, timeout=10):
    """The page of a pod of the chart: (name with labels, value). Raises OSError if it does not answer."""
    with urllib.request.urlopen(f"http://{address}:{_PORTS[tier]}/metrics", timeout=timeout) as page:
        return [(name, float(value)) for name, value in re.findall(r"^([a-z]\S*) (\S+)$", page.read().decode(), re.MULTILINE)]


def answered(address, tier, timeout=10):
    """How many calls of the pod have ended."""
    return sum(value for name, value in read(address, tier, timeout) if name.startswith("diptych_requests_total"))
