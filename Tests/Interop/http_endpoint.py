"""A client of martletd's endpoint, and certificates for both."""

import http.client
import json
import socket
import ssl
import subprocess
from pathlib import Path


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.kind = response.getheader("Content-Type", "")
        self.body = response.read()

    def __repr__(self):
        return f"{self.status} {self.body[:2000]!r}"

    @property
    def json(self):
        return json.loads(self.body)

    def done(self):
        assert self.status == 200, self
        return self.json

    def problem(self, status):
        """What a request was refused for."""
        assert self.status == status and self.kind == "application/problem+json", self
        assert self.json["status"] == status and self.json["type"].startswith("urn:martlet:"), self
        return self.json


class Client:
    """One connection."""

    def __init__(self, port, context=None, address="127.0.0.1", timeout=30):
        kind = http.client.HTTPSConnection if context else http.client.HTTPConnection
        self.connection = kind(address, port, timeout=timeout, **({"context": context} if context else {}))

    def ask(self, method, path, body=None, **headers):
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, body, headers)
        return Answer(self.connection.getresponse())

    def get(self, path):
        return self.ask("GET", path)

    def put(self, collection, document, **headers):
        return self.ask("PUT", f"/v1/{collection}/{document['id']}", document, **headers)

    def batch(self, documents):
        return self.ask("POST", "/v1/batch", lines(documents))

    def close(self):
        self.connection.close()


def lines(documents):
    return "\n".join(json.dumps(document) for document in documents)


class Authority:
    """Issues certificates, of openssl(1)."""

    def __init__(self, directory, name):
        self.directory, self.name = Path(directory), name
        self.certificate = self._path("pem")
        _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 2, "-subj", f"/CN={name}",
                 "-keyout", self._path("key"), "-out", self.certificate)

    def issue(self, name, address="127.0.0.1"):
        """(certificate, key) of somebody at an address."""
        key, request, certificate = (self._path(f"{name}.{kind}") for kind in ("key", "csr", "pem"))
        _openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        extensions = self._path(f"{name}.ext")
        extensions.write_text(f"subjectAltName=IP:{address}\n")
        _openssl("x509", "-req", "-days", 2, "-in", request, "-CA", self.certificate, "-CAkey", self._path("key"),
                 "-CAcreateserial", "-extfile", extensions, "-out", certificate)
        return certificate, key

    def context(self, identity=None):
        """What a client needs that trusts this authority, and shows a certificate."""
        context = ssl.create_default_context(cafile=self.certificate)
        if identity:
            context.load_cert_chain(*identity)
        return context

    def _path(self, suffix):
        return self.directory / f"{self.name}.{suffix}"


def _openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
