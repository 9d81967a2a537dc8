"""QoS: which rules Martlet's ports may have, and the journal's row when a policy changes."""

from neutron_lib.api.definitions import portbindings
from neutron_lib import constants
from neutron_lib.db import constants as db_constants
from neutron_lib.services.qos import base
from neutron_lib.services.qos import constants as qos_constants

from networking_martlet import journal

_RANGE = {'type:range': [0, db_constants.DB_INTEGER_MAX_VALUE]}
RULES = {
    qos_constants.RULE_TYPE_BANDWIDTH_LIMIT: {
        qos_constants.MAX_KBPS: _RANGE, qos_constants.MAX_BURST: _RANGE,
        qos_constants.DIRECTION: {'type:values': constants.VALID_DIRECTIONS}},
    qos_constants.RULE_TYPE_DSCP_MARKING: {
        qos_constants.DSCP_MARK: {'type:values': constants.VALID_DSCP_MARKS}},
}


class QosDriver(base.DriverBase):
    """Ports carry their policy in their document: a change of a policy is one of its ports."""

    def update_policy_precommit(self, context, policy):
        journal.record(context, 'qos_policy', policy.id)

    def validate_rule_for_port(self, context, rule, port):
        return True

    def validate_rule_for_network(self, context, rule, network_id):
        return True


def register():
    """Registers the driver with the QoS plugin, which is loaded later if at all."""
    return QosDriver(name='martlet', vif_types=[portbindings.VIF_TYPE_VHOST_USER],
                     vnic_types=[portbindings.VNIC_NORMAL], supported_rules=RULES, requires_rpc_notifications=False)
