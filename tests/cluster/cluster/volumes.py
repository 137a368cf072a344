"""The volumes of a pod, as folders of the host: from Secrets, ConfigMaps and memory."""
import base64
import os

from . import sandbox, paths


class NotYet(Exception):
    """Something that the pod refers to is not there: `reason` and words for its status."""

    def __init__(self, reason, message):
        super().__init__(message)
        self.reason = reason


def find_data(api, namespace, kind, name, optional=False):
    """The contents of a Secret or ConfigMap as bytes by key."""
    thing = api.find(f"/api/v1/namespaces/{namespace}/{kind}/{name}")
    if thing is None:
        if optional:
            return {}
        raise NotYet("CreateContainerConfigError", f'{kind[:-1]} "{name}" not found')
    data = {key: value.encode() for key, value in thing.get("data", {}).items()}
    if kind == "secrets":
        return {key: base64.b64decode(value) for key, value in thing.get("data", {}).items()}
    return {**data, **{key: base64.b64decode(value) for key, value in thing.get("binaryData", {}).items()}}


def _write(folder, data, source):
    items = source.get("items") or [{"key": key, "path": key} for key in data]
    for item in items:
        if item["key"] not in data:
            raise NotYet("CreateContainerConfigError", f"references non-existent key: {item['key']}")
        file = folder / item["path"]
        paths.made(file.parent)
        file.write_bytes(data[item["key"]])
        os.chmod(file, item.get("mode", source.get("defaultMode", 0o644)))


def make(api, pod, folder):
    """Makes the pod's volumes below `folder` and returns their folders by name. Raises NotYet."""
    namespace = pod["metadata"]["namespace"]
    group = pod["spec"].get("securityContext", {}).get("fsGroup")
    made = {}
    for volume in pod["spec"].get("volumes", []):
        made[volume["name"]] = place = paths.made(folder / volume["name"])
        if "secret" in volume:
            source = volume["secret"]
            _write(place, find_data(api, namespace, "secrets", source["secretName"], source.get("optional")), source)
        elif "configMap" in volume:
            source = volume["configMap"]
            _write(place, find_data(api, namespace, "configmaps", source["name"], source.get("optional")), source)
        elif "emptyDir" in volume:
            os.chmod(place, 0o777)
        else:
            raise NotYet("FailedMount", f"volume {volume['name']}: this node knows only secret, configMap and emptyDir")
        if group is not None:
            sandbox.chown(place, group)
    return made
