"""The environment of a container, and the $(NAMES) in its command line."""
import math
import re

from . import network, sandbox, volumes
from .quantities import number


def _field(pod, address, path):
    fields = {"metadata.name": pod["metadata"]["name"], "metadata.namespace": pod["metadata"]["namespace"], "metadata.uid": pod["metadata"]["uid"],
              "spec.nodeName": pod["spec"]["nodeName"], "status.podIP": address, "status.hostIP": network.HOST}
    return fields[path]


def _resource(container, source):
    kind, name = source["resource"].split(".", 1)
    quantity = container.get("resources", {}).get(kind, {}).get(name, 0)
    return str(math.ceil(number(quantity) / number(source.get("divisor", "1"))))


def _value(api, pod, container, address, variable):
    if "valueFrom" not in variable:
        return variable.get("value", "")
    source = variable["valueFrom"]
    if "fieldRef" in source:
        return _field(pod, address, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        return _resource(container, source["resourceFieldRef"])
    kind, reference = ("secrets", source["secretKeyRef"]) if "secretKeyRef" in source else ("configmaps", source["configMapKeyRef"])
    data = volumes.find_data(api, pod["metadata"]["namespace"], kind, reference["name"])
    if reference["key"] not in data:
        raise volumes.NotYet("CreateContainerConfigError", f"couldn't find key {reference['key']} in {kind[:-1]} {reference['name']}")
    return data[reference["key"]].decode()


def of(api, pod, container, address):
    """The variables of a container by name. Raises NotYet if they refer to something that is not there."""
    environment = {"PATH": sandbox.IMAGE_PATH, "HOSTNAME": pod["metadata"]["name"], "HOME": "/"}
    for variable in container.get("env", []):
        environment[variable["name"]] = expand(_value(api, pod, container, address, variable), environment)
    return environment


def expand(text, environment):
    """Replaces $(NAME) by the variable of that name, if there is one."""
    return re.sub(r"\$\((\w+)\)", lambda match: environment.get(match[1], match[0]), text)
