"""Which segment a host can carry, and what its guests' sockets are called."""

import json

from neutron_lib.api.definitions import portbindings
from neutron_lib import constants

VIF_DETAILS_MTU = 'mtu'
PHYSICAL = (constants.TYPE_FLAT, constants.TYPE_VLAN)
TUNNELS = (constants.TYPE_VXLAN, constants.TYPE_GRE, constants.TYPE_GENEVE)


class Carrier:
    """What a host can carry, by its own document and capabilities."""

    def __init__(self, document, capabilities=(), vif_dir=''):
        self._mappings = document.get('bridge_mappings') or {}
        self._tunnels = set(document.get('tunnel_types', TUNNELS)) if document.get('tunnel_address') else set()
        self._filters = 'security-groups' in capabilities
        self._vif_dir = vif_dir

    @classmethod
    def of(cls, row):
        """Of a row of martlet_hosts."""
        return cls(json.loads(row.document or '{}'), row.capabilities.split(), row.vif_dir)

    @classmethod
    def of_agent(cls, configurations):
        """Of an agent's `configurations`, as hosts._agent_state makes them."""
        return cls({'bridge_mappings': configurations.get('bridge_mappings'),
                    'tunnel_types': configurations.get('tunnel_types', ()),
                    'tunnel_address': configurations.get('tunneling_ip')})

    @property
    def tunnel_types(self):
        return sorted(self._tunnels)

    def carries(self, network_type, physical_network):
        if network_type in PHYSICAL:
            return physical_network in self._mappings
        return network_type == constants.TYPE_LOCAL or network_type in self._tunnels

    def vif_details(self, port_id, mtu):
        """What nova writes into the guest: QEMU listens at the socket, and Martlet connects."""
        return {
            portbindings.CAP_PORT_FILTER: self._filters,
            portbindings.VIF_DETAILS_CONNECTIVITY: portbindings.CONNECTIVITY_L2,
            portbindings.VHOST_USER_MODE: portbindings.VHOST_USER_MODE_SERVER,
            portbindings.VHOST_USER_SOCKET: socket_path(self._vif_dir, port_id),
            portbindings.VHOST_USER_OVS_PLUG: False,
            VIF_DETAILS_MTU: mtu,
        }


def socket_path(vif_dir, port_id):
    """A Unix socket's path is 107 bytes at most, hence the short name, as in Neutron's own drivers."""
    return f"{vif_dir}/vhu{port_id[:11]}"
