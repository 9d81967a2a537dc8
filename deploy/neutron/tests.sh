#!/bin/bash
# Tests of the mechanism driver, in a virtual environment that is made when missing.
#   tests.sh          its own tests, and the classes of Neutron's ML2 tests that bind ports
#   tests.sh --long   all of Neutron's ML2 tests
# NEUTRON_VENV: the environment (default: .venv here). NEUTRON: the release to install, as pip says it (neutron>=22).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=${NEUTRON_VENV:-$here/.venv}

main() {
    case "$*" in
        '') ;;
        --long) export MARTLET_LONG=1 ;;
        *) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
    [ -x "$venv/bin/pytest" ] || make_venv
    cd "$here"
    # A process a CPU: one alone grows to gigabytes.
    "$venv/bin/python" -W ignore -m pytest -p no:cacheprovider -q -n auto --dist loadscope --tb=short --show-capture=no \
        --maxfail=50 networking_martlet/tests/test_d*.py
    "$venv/bin/python" -W ignore -m pytest -p no:cacheprovider -q -n auto --tb=line --show-capture=no \
        "${unexpected[@]}" networking_martlet/tests/test_neutron.py
}

make_venv() {
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q "${NEUTRON:-neutron>=22}" -e "$here[test]"
}

unexpected=()
while read -r name _; do
    case $name in '' | '#'*) ;; *) unexpected+=(--deselect "networking_martlet/tests/test_neutron.py::$name") ;; esac
done < "$here/networking_martlet/tests/expected_failures.txt"

main "$@"
