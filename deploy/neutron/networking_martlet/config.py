"""`[ml2_martlet]`: what an operator says of Martlet's hosts."""

import re

from oslo_config import cfg

GROUP = 'ml2_martlet'
# No spaces: oslo.config takes a comment behind a value for a part of it.
URL = re.compile(r'https?://[^\s/]+/?')

OPTIONS = [
    cfg.ListOpt(
        'endpoints', default=[], mutable=True,
        help="Hosts with a martletd, by their name in Neutron (binding:host_id), and where its endpoint listens: "
             "cmp1=https://10.0.0.1:8883,cmp2=https://10.0.0.2:8883. May be changed while Neutron runs (SIGHUP)."),
    cfg.StrOpt('ca_file', help="CA certificates (PEM) that the endpoints' certificates are checked against."),
    cfg.StrOpt('cert_file', help="This client's certificate (PEM), which the endpoints ask for."),
    cfg.StrOpt('key_file', help="The key (PEM) of cert_file."),
    cfg.FloatOpt('connect_timeout', default=3, min=0.1, help="Seconds in which an endpoint must take a connection."),
    cfg.FloatOpt('read_timeout', default=10, min=0.1, help="Seconds in which an endpoint must begin to answer."),
    cfg.FloatOpt('poll_interval', default=0.05, min=0.01,
                 help="Seconds between two looks at the journal: the delay that a change meets."),
    cfg.FloatOpt('lease_time', default=10, min=1,
                 help="Seconds after which another server takes over from one that died."),
    cfg.FloatOpt('host_down_time', default=30, min=2,
                 help="Seconds of silence after which no port is bound to a host."),
    cfg.FloatOpt('resync_after', default=60, min=1,
                 help="Seconds of absence after which a host's changes are no longer queued: it is compared when it "
                      "returns."),
    cfg.IntOpt('pending_limit', default=5000, min=100,
               help="Changes queued for one host, beyond which it is compared instead; and changes in the journal, beyond "
                    "which all hosts are."),
    cfg.FloatOpt('audit_interval', default=600, min=1,
                 help="Seconds between two comparisons of a host that is well with the database."),
    cfg.IntOpt('max_backoff', default=60, min=1,
               help="Seconds at most between two attempts at a host that does not answer."),
]


def register(conf=cfg.CONF):
    conf.register_opts(OPTIONS, GROUP)


def endpoints(conf=cfg.CONF):
    """Hosts and their endpoints' URLs.

    :raises ValueError: naming the entry that is wrong.
    """
    found = {}
    for entry in conf[GROUP].endpoints:
        host, equals, url = (part.strip() for part in entry.partition('='))
        if not equals or not host or not URL.fullmatch(url):
            raise ValueError(f"[{GROUP}] endpoints: '{entry}' is not HOST=http(s)://ADDRESS:PORT")
        if host in found:
            raise ValueError(f"[{GROUP}] endpoints: '{host}' is there twice: keep one of its entries")
        found[host] = url.rstrip('/')
    return found


def list_options():
    """For oslo-config-generator."""
    return [(GROUP, OPTIONS)]
