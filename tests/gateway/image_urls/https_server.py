"""A web server with a certificate and bad manners, for image_url_rpc_test.

Usage: https_server.py CERTIFICATE KEY IMAGE; prints its port, then each path that it is asked for.
"""
import http.server
import pathlib
import ssl
import sys
import time

IMAGE = pathlib.Path(sys.argv[3]).read_bytes()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        print(f"GET {self.path}", flush=True)
        name, _, rest = self.path[1:].partition("/")
        name = name.partition("?")[0]
        private = [header for header in ("cookie", "authorization", "referer", "proxy-authorization") if self.headers[header]]
        if private:
            self.reply(400)
        elif name == "image":
            self.reply(200, IMAGE)
        elif name == "late":
            time.sleep(0.3)
            self.reply(200, IMAGE)
        elif name == "hops":
            self.redirect(f"/hops/{int(rest) - 1}" if int(rest) > 1 else "/image")
        elif name == "to":
            self.redirect(rest)
        elif name == "page":
            self.reply(200, b"<html>no image</html>", "image/png")
        elif name == "said":
            self.send_response(200)
            self.send_header("content-length", "1000000000")
            self.end_headers()
        elif name == "endless":
            self.send_response(200)
            self.end_headers()
            self.forever(b"x" * 65536)
        elif name == "headers":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            self.forever(b"x-y: " + b"z" * 1000 + b"\r\n")
        elif name == "silent":
            time.sleep(60)
        elif name == "dripping":
            self.send_response(200)
            self.send_header("content-length", "100000")
            self.end_headers()
            self.forever(b"x", pause=0.02)
        else:
            self.reply(404)

    def forever(self, bytes_, pause=0):
        self.close_connection = True
        for _ in range(100_000):
            self.wfile.write(bytes_)
            self.wfile.flush()
            time.sleep(pause)

    def redirect(self, location):
        self.send_response(302)
        self.send_header("location", location)
        self.send_header("set-cookie", "a=b")
        self.send_header("content-length", "5")
        self.end_headers()
        self.wfile.write(b"moved")

    def reply(self, status, body=b"", kind="application/octet-stream"):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # callers that leave


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server = Server(("127.0.0.1", 0), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(f"port {server.server_port}.", flush=True)
server.serve_forever()
