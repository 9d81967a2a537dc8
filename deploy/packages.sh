#!/bin/bash
# Debian packages that Martlet needs. Sourced by the other scripts, or run: packages.sh build|guests|test ...
set -euo pipefail
# shellcheck source=deploy/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# To build: DPDK and the libraries that martletd links; g++ for the C++ library that one dependency brings along.
packages_build=(
    libdpdk-dev libnuma-dev libpcap-dev libsqlite3-dev libssl-dev
    binutils ca-certificates gcc g++ git libc6-dev pkg-config
)
# To run: DPDK's drivers come with libdpdk-dev, or without it as librte-meta-all.
packages_run=(librte-meta-all libnuma1 libpcap0.8 libsqlite3-0 libssl3 libstdc++6)
# Guests for the quickstart: dpdk-testpmd.
packages_guests=(dpdk-dev)
# A real Neutron: its database, and what its environment of Python packages is made with.
packages_neutron=(mariadb-server python3-dev python3-venv)
# Peers and tools of Tests/Interop.
packages_test=(
    "${packages_guests[@]}" "${packages_neutron[@]}" openvswitch-common openvswitch-switch-dpdk
    qemu-system-x86 busybox-static kmod iproute2 procps tcpdump
    curl hping3 iperf3 nftables openssl python3-pyftpdlib python3-pytest python3-scapy tftpd-hpa
)

# `install_packages PACKAGE...`: what of it is missing. Nothing is started that a package would start.
install_packages() {
    local missing=()
    mapfile -t missing < <(_missing_packages "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" -eq 0 ] || fail "needs root to install ${missing[*]}: sudo $0"
    command -v apt-get > /dev/null || fail "no apt-get here: install the like of ${missing[*]} by hand"
    progress "installing ${missing[*]}" _apt_get "${missing[@]}"
}

_missing_packages() {
    local package
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2> /dev/null | grep -qx installed || echo "$package"
    done
}

_apt_get() (
    # In a subshell: whatever happens, its end lets services start again (invoke-rc.d(8): 101 forbids it).
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap 'rm -f $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' > $policy
        chmod 755 $policy
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q && apt-get install -q -y --no-install-recommends -o Dpkg::Use-Pty=0 "$@" || exit
    # Open vSwitch is here for tests that start their own; at the next boot it would start by itself.
    case " $* " in
        *" openvswitch-switch-dpdk "*) systemctl --quiet disable openvswitch-switch.service 2> /dev/null || true ;;
    esac
)

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    [ $# -gt 0 ] || { warn "wrong usage: packages.sh build|run|guests|test ..."; exit 2; }
    for group in "$@"; do
        case $group in
            build) install_packages "${packages_build[@]}" ;;
            run) install_packages "${packages_run[@]}" ;;
            guests) install_packages "${packages_guests[@]}" ;;
            test) install_packages "${packages_test[@]}" ;;
            *) warn "no group '$group': build, run, guests or test"; exit 2 ;;
        esac
    done
fi
