#!/bin/bash
# Packet-rate benchmarks. `run.sh --help` lists the options, README.md says what is measured.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=deploy/packages.sh
source "$here/../deploy/packages.sh"

readonly megabytes=4096 # two processes with a 100,000-packet capture each, and room

case " $* " in *" --help "* | *" -h "*) exec python3 "$here/bench.py" "$@" ;; esac
require_root "$@"
require_swift
install_packages "${packages_build[@]}" "${packages_test[@]}"
[ "${MARTLET_BENCH_BUILD:-yes}" = no ] || progress "release build" swift build -c release --package-path "$root"
reserve_hugepages $megabytes
PYTHONDONTWRITEBYTECODE=1 exec python3 "$here/bench.py" "$@"
