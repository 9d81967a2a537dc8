# shellcheck shell=bash
# devstack's plugin: the mechanism driver, its configuration, and hugepages for guests. martletd itself is installed by
# deploy/install.sh.

# Physically: devstack comes here by a link.
MARTLET_PACKAGE=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

function install_martlet {
    setup_package "$MARTLET_PACKAGE"
}

function configure_martlet {
    iniset "/$Q_PLUGIN_CONF_FILE" ml2_martlet endpoints "$MARTLET_ENDPOINTS"
    local name
    for name in CA CERT KEY; do
        local variable=MARTLET_$name
        [[ -z "${!variable:-}" ]] || iniset "/$Q_PLUGIN_CONF_FILE" ml2_martlet "${name,,}_file" "${!variable}"
    done
}

function reserve_martlet_hugepages {
    sudo sysctl -w vm.nr_hugepages="$MARTLET_HUGEPAGES"
}

if [[ "$1" == stack && "$2" == install ]]; then
    install_martlet
elif [[ "$1" == stack && "$2" == post-config ]]; then
    if is_service_enabled q-svc neutron-api; then
        configure_martlet
    fi
    if is_service_enabled n-cpu; then
        reserve_martlet_hugepages
    fi
fi
