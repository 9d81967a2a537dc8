#!/bin/bash
# A cloud on this machine, from a bare Debian 12 with Swift: a real Neutron tells three Martlets, each a host in a network
# namespace, of networks of type vxlan, gre and vlan; guests on them talk to whom they should. Shows the flows that came
# of it, and stops and removes everything that it started.
set -euo pipefail
# shellcheck source=deploy/packages.sh
source "$(dirname "$0")/packages.sh"

readonly megabytes=1024

main() {
    case "$*" in
        '') ;;
        -h | --help) sed -n '2,4s/^# \{0,1\}//p' "$0"; return ;;
        *) warn "wrong usage: $*: cloud.sh takes no arguments"; exit 2 ;;
    esac
    require_root "$@"
    require_swift
    install_packages "${packages_build[@]}" "${packages_test[@]}"
    progress "building martletd and martletctl (a first build takes some minutes)" \
        swift build -c release --package-path "$root"
    progress "hugepages" reserve_hugepages $megabytes
    # The same that the tests use: Debian's Python, whose packages were installed above.
    MARTLET_BIN=$release PYTHONDONTWRITEBYTECODE=1 exec /usr/bin/python3 "$root/Tests/Interop/cloud.py"
}

main "$@"
