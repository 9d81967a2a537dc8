#!/bin/bash
# Packet-rate benchmarks. `run.sh --help` lists the options, README.md says what is measured.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
hugepages=2048 # of 2 MB: two processes with a 100,000-packet capture each, and room

say() { echo "run.sh: $*" >&2; }

install_missing() {
    local missing=() package
    for package in dpdk dpdk-dev openvswitch-common openvswitch-switch-dpdk python3; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    say "installing ${missing[*]}"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

reserve_hugepages() {
    mountpoint -q /dev/hugepages || { mkdir -p /dev/hugepages && mount -t hugetlbfs nodev /dev/hugepages; }
    [ "$(cat /proc/sys/vm/nr_hugepages)" -ge $hugepages ] && return
    say "reserving $hugepages hugepages"
    echo $hugepages > /proc/sys/vm/nr_hugepages
}

build() {
    say "swift build -c release (a first build takes minutes)"
    flock /tmp/martlet-build.lock swift build -c release --package-path "$here/.." >&2
}

case " $* " in *" --help "* | *" -h "*) exec python3 "$here/bench.py" "$@" ;; esac
[ "$(id -u)" -eq 0 ] || { say "run this as root: it installs packages, maps hugepages and pins threads"; exit 1; }
install_missing
reserve_hugepages
[ "${MARTLET_BENCH_BUILD:-yes}" = no ] || build
PYTHONDONTWRITEBYTECODE=1 exec python3 "$here/bench.py" "$@"
