"""Leads the addresses of Services to their ready pods, as kube-proxy does, but as a process that relays bytes: `python3 -m cluster.service_proxy`."""
import asyncio
import random
import threading
import time

from .api import Api, ApiError

_SERVICES, _SLICES = "/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices"


def _follow(api, path, things, changed):
    """Keeps `things` (by namespace and name) as the API server has them, forever, and calls `changed` after each change."""
    key = lambda thing: (thing["metadata"]["namespace"], thing["metadata"]["name"])  # noqa: E731
    while True:
        try:
            listed = api.get(path)
            things.clear()
            things.update({key(thing): thing for thing in listed["items"]})
            changed()
            for kind, thing in api.watch(path, listed["metadata"]["resourceVersion"]):
                if kind in ("ADDED", "MODIFIED"):
                    things[key(thing)] = thing
                elif kind == "DELETED":
                    things.pop(key(thing), None)
                elif kind == "ERROR":
                    break
                changed()
        except (ApiError, OSError, ValueError) as error:
            print(f"{path}: {error}", flush=True)
            time.sleep(0.5)


def targets(services, slices):
    """Where each (address, port) of a Service leads: a list of (address, port) of ready pods."""
    found = {}
    for (namespace, name), service in services.items():
        address = service["spec"].get("clusterIP")
        for port in service["spec"].get("ports", []) if address not in (None, "", "None") else []:
            found[address, port["port"]] = [
                (endpoint["addresses"][0], target["port"])
                for piece in slices.values() if piece["metadata"]["namespace"] == namespace and piece["metadata"]["labels"].get("kubernetes.io/service-name") == name
                for target in piece.get("ports") or [] if target.get("name", "") == port.get("name", "")
                for endpoint in piece["endpoints"] or [] if endpoint["conditions"].get("ready")]
    return found


async def _relay(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


class Proxy:
    def __init__(self):
        self._services, self._slices, self._targets, self._servers = {}, {}, {}, {}
        self._changed = asyncio.Event()

    async def _connect(self, key, reader, writer):
        try:
            pod_reader, pod_writer = await asyncio.open_connection(*random.choice(self._targets[key]))
        except (OSError, IndexError):
            writer.transport.abort()
            return
        await asyncio.gather(_relay(reader, pod_writer), _relay(pod_reader, writer))
        for end in (writer, pod_writer):
            end.close()

    async def _listen(self):
        for key in set(self._targets) - set(self._servers):
            self._servers[key] = await asyncio.start_server(lambda r, w, key=key: self._connect(key, r, w), *key)
        for key in set(self._servers) - set(self._targets):
            self._servers.pop(key).close()

    async def run(self):
        loop, api = asyncio.get_running_loop(), Api()
        for path, things in ((_SERVICES, self._services), (_SLICES, self._slices)):
            wake = lambda: loop.call_soon_threadsafe(self._changed.set)  # noqa: E731
            threading.Thread(target=_follow, args=(api, path, things, wake), daemon=True).start()
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._targets = targets(dict(self._services), dict(self._slices))
            await self._listen()


if __name__ == "__main__":
    asyncio.run(Proxy().run())
