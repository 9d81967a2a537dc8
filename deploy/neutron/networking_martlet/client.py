"""The endpoint of a martletd, over HTTP. Answers are bounded in size and time, and each failure has a type."""

import json
import time
from urllib.parse import quote

import requests

from networking_martlet import config

# Digests of 100,000 documents are 11 MB.
LONGEST_ANSWER = 64 << 20
SNAPSHOT_CHUNK = 4 << 20


class EndpointError(Exception):
    """The endpoint did not do what it was asked."""


class Unreachable(EndpointError):
    """No answer, a broken one, or one that says that a later attempt is worth it."""


class Refused(EndpointError):
    """The endpoint says that a document cannot be carried out; nothing was applied."""

    def __init__(self, detail, document=None):
        super().__init__(detail)
        # (type, id), or None when the endpoint named no document.
        self.document = document


class HTTPExchange:
    """Requests to one endpoint over kept connections. Not for use by several threads at once."""

    def __init__(self, url, settings):
        self._url = url
        self._connect_timeout, self._read_timeout = settings.connect_timeout, settings.read_timeout
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = settings.ca_file or True
        if settings.cert_file:
            self._session.cert = (settings.cert_file, settings.key_file or settings.cert_file)

    def __call__(self, method, path, body=None, headers=None, patience=0):
        """Returns (status, body). `patience`: seconds that the endpoint may take beyond the usual."""
        timeout = (self._connect_timeout, self._read_timeout + patience)
        try:
            with self._session.request(method, self._url + path, data=body, headers=headers, timeout=timeout,
                                       stream=True, allow_redirects=False) as answer:
                return answer.status_code, self._read(answer, time.monotonic() + 3 * self._read_timeout)
        except (requests.RequestException, OSError) as error:
            raise Unreachable(f"{method} {self._url}{path}: {error}") from error

    def _read(self, answer, deadline):
        parts, length = [], 0
        for part in answer.iter_content(1 << 16):
            length += len(part)
            # The library's timeout is one between two bytes.
            if time.monotonic() > deadline:
                raise Unreachable(f"{self._url}: the answer took longer than {3 * self._read_timeout:g} seconds")
            if length > LONGEST_ANSWER:
                raise Unreachable(f"{self._url}: the answer is longer than {LONGEST_ANSWER} bytes")
            parts.append(part)
        return b''.join(parts)

    def close(self):
        self._session.close()


def connect(url):
    return Client(HTTPExchange(url, config.cfg.CONF[config.GROUP]))


class Client:
    """The endpoint's requests, as functions."""

    def __init__(self, exchange):
        self._exchange = exchange

    def close(self):
        getattr(self._exchange, 'close', lambda: None)()

    def version(self):
        return self._ask('GET', '/v1/version')

    def host(self):
        return self._ask('GET', '/v1/host')

    def status(self, since, wait):
        query = f"?wait={wait:g}" + (f"&since={quote(since, safe='')}" if since else '')
        return self._ask('GET', '/v1/status' + query, patience=wait)

    def digest(self):
        return self._ask('GET', '/v1/digest')

    def digests_of_network(self, network):
        return self._documents(f'/v1/digest?network={quote(network, safe="")}')

    def digests_of_type(self, kind):
        return self._documents(f'/v1/digest?type={kind}')

    def batch(self, documents):
        """One transaction: all or nothing."""
        return self._ask('POST', '/v1/batch', _lines(documents), {'Content-Type': 'application/x-ndjson'})

    def snapshot(self, identifier, revision, documents):
        """Replaces all that the host holds, in chunks; what was received already is not sent again."""
        body = _lines(documents)
        path = f'/v1/snapshot?id={quote(identifier, safe="")}&revision={revision}'
        start = min(self._ask('GET', f'/v1/snapshot?id={quote(identifier, safe="")}').get('received', 0), len(body))
        start = start if start < len(body) else 0
        while True:
            part = body[start:start + SNAPSHOT_CHUNK]
            headers = {'Content-Type': 'application/x-ndjson'}
            if len(part) < len(body):
                headers['Content-Range'] = f'bytes {start}-{start + len(part) - 1}/{len(body)}'
            answer = self._ask('PUT', path, part, headers, patience=30)
            start += len(part)
            if start >= len(body):
                return answer

    def _documents(self, path):
        """{(type, id): digest}"""
        found = self._ask('GET', path).get('documents')
        if not isinstance(found, dict):
            raise Unreachable(f"{path}: the answer has no 'documents'")
        return {tuple(name.split('/', 1)): digest for name, digest in found.items()}

    def _ask(self, method, path, body=None, headers=None, patience=0):
        status, text = self._exchange(method, path, body, headers, patience)
        try:
            answer = json.loads(text)
        except ValueError as error:
            raise Unreachable(f"{method} {path}: status {status}, and no JSON: {text[:100]!r}") from error
        if not isinstance(answer, dict):
            raise Unreachable(f"{method} {path}: status {status}, and no JSON object: {text[:100]!r}")
        if status in (200, 202):
            return answer
        raise _failure(f'{method} {path}', status, answer)


def _failure(request, status, problem):
    detail = f"{request}: {status}: {problem.get('detail') or problem.get('title') or problem}"
    # Refusals that a repetition does not mend: of a document, or of a request that is too large or that it cannot read.
    if status not in (400, 413, 422):
        return Unreachable(detail)
    named = problem.get('document')
    named = (named.get('type'), named.get('id')) if isinstance(named, dict) else None
    return Refused(str(problem.get('detail') or detail), named)


def _lines(documents):
    text = ''.join(json.dumps(one, separators=(',', ':'), ensure_ascii=False) + '\n' for one in documents)
    return text.encode()
