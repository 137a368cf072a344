"""A name server for headless Services that keeps what it knows for a while, as name servers of clusters do."""
import collections
import ipaddress
import socket
import struct
import threading
import time

from . import network

_ADDRESS = b"\0\1"


class Names:
    """Answers for SERVICE.NAMESPACE.svc with the addresses that `look_up(service)` gave up to `kept` seconds ago. Thread-safe."""

    def __init__(self, namespace, look_up):
        self.kept = 5.0  # seconds
        self._namespace, self._look_up = namespace, look_up
        self._known = collections.defaultdict(lambda: (0.0, []))  # service: when it was looked up, addresses
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((network.HOST, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def addresses(self, service):
        with self._lock:
            when, addresses = self._known[service]
            if time.monotonic() - when > self.kept:
                addresses = self._look_up(service)
                self._known[service] = (time.monotonic(), addresses)
            return addresses

    def _serve(self):
        while True:
            query, peer = self._socket.recvfrom(4096)
            self._socket.sendto(self._answer(query), peer)

    def _answer(self, query):
        labels, end = [], 12
        while query[end]:
            labels.append(query[end + 1:end + 1 + query[end]].decode())
            end += query[end] + 1
        question = query[12:end + 5]
        known = labels[1:] in ([self._namespace, "svc"], [self._namespace, "svc", "cluster", "local"])
        addresses = self.addresses(labels[0]) if known and question[-4:-2] == _ADDRESS else []
        records = b"".join(b"\xc0\x0c\0\1\0\1" + struct.pack(">IH", 5, 4) + ipaddress.IPv4Address(address).packed for address in addresses)
        status = b"\x85\x80" if known else b"\x85\x83"
        return query[:2] + status + b"\0\1" + struct.pack(">HHH", len(addresses), 0, 0) + question + records
