"""A DNS server whose one name has the IPv4 addresses that a test gives it."""
import ipaddress
import socket
import struct
import threading


class NameServer:
    """Answers every question of type A with `addresses`, and any other with nothing. Change them at any time."""

    def __init__(self, addresses):
        self.addresses = addresses
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                query, peer = self._socket.recvfrom(4096)
            except OSError:
                return
            self._socket.sendto(self._answer(query), peer)

    def _answer(self, query):
        end = 12
        while query[end]:
            end += query[end] + 1
        question = query[12:end + 5]
        is_address = question[-4:-2] == b"\0\1"
        addresses = self.addresses if is_address else []
        records = b"".join(b"\xc0\x0c\0\1\0\1" + struct.pack(">IH", 0, 4) + ipaddress.IPv4Address(address).packed
                           for address in addresses)
        return query[:2] + b"\x85\x80\0\1" + struct.pack(">HHH", len(addresses), 0, 0) + question + records

    def close(self):
        self._socket.close()
