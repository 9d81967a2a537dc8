"""A martletd's endpoint in memory, after its API alone: for faults that a real one cannot be made to have."""

import hashlib
import json
import re
import urllib.parse

from networking_martlet import client

TYPES = ('host', 'network', 'subnet', 'port', 'security_group', 'router', 'floating_ip')
IN_NETWORK = ('network', 'subnet', 'port')


class Endpoint:
    """Is called as the client's exchange is: (method, path, body, headers, patience) -> (status, body).

    `faults`: functions (method, path, answer) that are asked once each, in turn, and may raise, or change the answer.
    `refuses`: a function from a document to a reason, or None.
    """

    def __init__(self, host, tunnel_address='192.0.2.1', bridge_mappings=None):
        self.host = host
        self.instance = f'{host}-1'
        self.offer = {'type': 'host', 'id': host, 'schema': 1, 'tunnel_address': tunnel_address,
                      'tunnel_types': ['vxlan', 'gre', 'geneve'], 'bridge_mappings': bridge_mappings or {}}
        self.capabilities = ['vxlan', 'gre', 'geneve', 'vlan', 'flat', 'local']
        self.documents = {}
        self.tombstones = {}
        self.floor = 0
        self.faults = []
        self.refuses = lambda document: None
        self.requests = []
        self.deliveries = []
        self.guests_are_connected = True
        self._upload = None
        self._done = {}

    # HTTP

    def __call__(self, method, path, body=None, headers=None, patience=0):
        self.requests.append((method, path))
        fault = self.faults.pop(0) if self.faults else None
        if fault and fault.before:
            return fault(method, path, None)
        path_only, _, query = path.partition('?')
        query = {key: values[0] for key, values in urllib.parse.parse_qs(query).items()}
        status, answer = self._route(method, path_only, query, body, headers or {})
        text = json.dumps(answer).encode()
        return fault(method, path, (status, text)) if fault else (status, text)

    def _route(self, method, path, query, body, headers):
        name = f"{method} {path.removeprefix('/v1/')}"
        if name == 'POST batch':
            self.deliveries.append(body)
            return self.batch(body)
        if name == 'PUT snapshot':
            return self._chunk(query['id'], int(query['revision']), body, headers.get('Content-Range'))
        if name == 'GET snapshot':
            return 200, {'received': len(self._upload[1]) if self._upload and self._upload[0] == query['id'] else 0}
        if name == 'GET digest':
            return 200, self._digest(query)
        if name == 'GET host':
            return 200, self.offer
        if name == 'GET version':
            return 200, {'version': 'model', 'vif_dir': '/run/martlet/vif', 'schema': 1, 'host': self.host, 'instance': self.instance,
                         'documents': TYPES, 'capabilities': self.capabilities}
        if name == 'GET status':
            return 200, {'cursor': f'{self.instance}/1', 'complete': True, 'ports': self.ports()}
        return 404, {'type': 'urn:martlet:not-found', 'title': 'not found', 'status': 404, 'detail': path}

    # Documents

    def batch(self, body):
        changes = [json.loads(line) for line in body.splitlines()]
        for one in changes:
            reason = None if one.get('deleted') else self.refuses(one)
            if reason:
                return _problem(reason, one)
        applied = self._apply(dict(self.documents), dict(self.tombstones), changes)
        return self._commit(*applied)

    def _apply(self, documents, tombstones, changes):
        counts = {'changed': 0, 'removed': 0, 'unchanged': 0}
        for one in changes:
            key, revision = (one['type'], one['id']), one.get('revision', 0)
            held = documents.get(key)
            oldest = max(self.floor - 1, tombstones.get(key, 0), held.get('revision', 0) - 1 if held else 0)
            if revision and revision <= oldest:
                counts['unchanged'] += 1
            elif one.get('deleted'):
                counts['removed' if documents.pop(key, None) else 'unchanged'] += 1
                tombstones[key] = max(revision, tombstones.get(key, 0))
            else:
                same = held is not None and _digest(held) == _digest(one)
                counts['unchanged' if same else 'changed'] += 1
                documents[key] = one
        return documents, tombstones, counts

    def _commit(self, documents, tombstones, counts):
        networks = {identifier for kind, identifier in documents if kind == 'network'}
        for one in documents.values():
            if one['type'] in ('port', 'subnet') and one['network_id'] not in networks:
                return _problem(f"network '{one['network_id']}' is not known", one, 'network_id')
        self.documents, self.tombstones = documents, tombstones
        return 200, counts

    def _chunk(self, identifier, revision, body, content_range):
        if identifier in self._done:
            return self._done[identifier]
        start, total = 0, len(body)
        if content_range:
            start, _, total = map(int, re.fullmatch(r'bytes (\d+)-(\d+)/(\d+)', content_range).groups())
        if self._upload is None or self._upload[0] != identifier:
            self._upload = (identifier, b'')
        received = self._upload[1]
        if start > len(received):
            return 409, {'status': 409, 'title': 'a gap', 'received': len(received)}
        received = received[:start] + body
        self._upload = (identifier, received)
        if len(received) < total:
            return 202, {'received': len(received)}
        self._upload = None
        answer = self._snapshot(received, revision)
        if answer[0] == 200:
            self._done[identifier] = answer
        return answer

    def _snapshot(self, body, revision):
        changes = [json.loads(line) for line in body.splitlines()]
        for one in changes:
            if self.refuses(one):
                return _problem(self.refuses(one), one)
        named = {(one['type'], one['id']) for one in changes}
        kept = {key: one for key, one in self.documents.items() if key in named or one.get('revision', 0) > revision}
        documents, tombstones, counts = self._apply(kept, dict(self.tombstones), changes)
        counts['removed'] = len(set(self.documents) - set(documents))
        answer = self._commit(documents, tombstones, counts)
        if answer[0] == 200:
            self.floor = max(self.floor, revision)
        return answer

    # Digests

    def _digest(self, query):
        if 'type' in query:
            chosen = [one for key, one in self.documents.items() if key[0] == query['type']]
        elif 'network' in query:
            chosen = [one for one in self.documents.values() if _network(one) == query['network']]
        else:
            return self.digest()
        return {'documents': {f"{one['type']}/{one['id']}": _digest(one) for one in chosen}}

    def digest(self):
        everything = self.documents.values()
        networks = {_network(one) for one in everything} - {None}
        return {'schema': 1,
                'types': {kind: _sum(one for one in everything if one['type'] == kind) for kind in TYPES},
                'networks': {network: _sum(one for one in everything if _network(one) == network)
                             for network in networks}}

    # Ports

    def ports(self):
        status = 'up' if self.guests_are_connected else 'down'
        return [{'id': one['id'], 'status': status, 'revision': one.get('revision', 0)}
                for one in self.documents.values() if one['type'] == 'port' and self.host in (
                    one.get('host'), one.get('migrating_to', {}).get('host'))]


class Fault:
    """What goes wrong with one request. `before`: the request is not carried out."""

    def __init__(self, name, before):
        self.name, self.before = name, before

    def __call__(self, method, path, answer):
        if self.name == 'lost':
            raise client.Unreachable(f"{method} {path}: connection reset")
        if self.name == 'garbage':
            return 200, b'\x00\xff<html>'
        if self.name == 'no object':
            return 200, b'[1]'
        return int(self.name), json.dumps({'title': 'a fault', 'status': int(self.name)}).encode()


FAULTS = [Fault('lost', True), Fault('lost', False), Fault('garbage', True), Fault('garbage', False),
          Fault('no object', False), Fault('500', True), Fault('500', False), Fault('503', True), Fault('408', True)]


def _network(one):
    return one['id'] if one['type'] == 'network' else one.get('network_id') if one['type'] in IN_NETWORK else None


def _digest(one):
    """Written anew, not the driver's: this is the other side."""
    kept = {key: value for key, value in one.items() if key != 'revision'}
    text = json.dumps(kept, sort_keys=True, separators=(',', ':'), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _sum(documents):
    total, count = 0, 0
    for one in documents:
        total, count = total ^ int(_digest(one), 16), count + 1
    return {'count': count, 'digest': f'{total:064x}'}


def _problem(detail, one, field=None):
    return 422, {'type': 'urn:martlet:refused', 'title': 'refused', 'status': 422, 'detail': detail, 'field': field,
                 'document': {'type': one['type'], 'id': one['id']}}
