"""A client of the API server: the few verbs that the tests and the node agent need. Thread-safe."""
import http.client
import json
import ssl
import urllib.parse

from . import certificates

ADDRESS = ("127.0.0.1", 36443)
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


class ApiError(Exception):
    """The API server refused: `code` and its words."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code


def _context():
    context = ssl.create_default_context(cafile=certificates.FOLDER / "ca.crt")
    context.load_cert_chain(certificates.FOLDER / "admin.crt", certificates.FOLDER / "admin.key")
    return context


class Api:
    def __init__(self):
        self._context = _context()

    def request(self, method, path, body=None, content_type="application/json", timeout=20):
        connection = http.client.HTTPSConnection(*ADDRESS, context=self._context, timeout=timeout)
        try:
            connection.request(method, path, body=None if body is None else json.dumps(body), headers={"Content-Type": content_type})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise ApiError(answer.status, content[:600].decode(errors="replace"))
        return json.loads(content) if content.startswith(b"{") else content.decode()

    def get(self, path):
        return self.request("GET", path)

    def find(self, path):
        """The object, or None if there is none."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def list(self, path, **selectors):
        query = urllib.parse.urlencode(selectors)
        return self.get(f"{path}?{query}" if query else path)["items"]

    def patch(self, path, body, content_type=STRATEGIC):
        return self.request("PATCH", path, body, content_type)

    def create(self, path, body):
        return self.request("POST", path, body)

    def delete(self, path, grace=None, uid=None):
        """Deletes the object if it is there (and has this uid)."""
        body = {} if grace is None else {"gracePeriodSeconds": grace}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            self.request("DELETE", path, body)
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    def watch(self, path, version, seconds=60, **selectors):
        """Yields the changes since `version` as (type, object), for `seconds` at most."""
        query = urllib.parse.urlencode({"watch": "1", "resourceVersion": version, "timeoutSeconds": seconds, **selectors})
        connection = http.client.HTTPSConnection(*ADDRESS, context=self._context, timeout=seconds + 10)
        try:
            connection.request("GET", f"{path}?{query}")
            answer = connection.getresponse()
            while line := answer.readline():
                change = json.loads(line)
                yield change["type"], change["object"]
        finally:
            connection.close()
