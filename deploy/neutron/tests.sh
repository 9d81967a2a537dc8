#!/bin/bash
# Tests of the mechanism driver, in the virtual environment of Tests/Interop, which is made when missing.
#   tests.sh          its own tests, and the classes of Neutron's ML2 tests that bind ports
#   tests.sh --long   all of Neutron's ML2 tests
# MARTLET_NEUTRON: another release of Neutron (README.md has those that were tested). PIP_CONSTRAINT: what goes with it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

main() {
    case "$*" in
        '') ;;
        --long) export MARTLET_LONG=1 ;;
        *) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
    # Debian's, as for all of Tests/Interop.
    python=$(/usr/bin/python3 "$here/../../Tests/Interop/neutron_server.py")/bin/python
    cd "$here"
    # A process a CPU: one alone grows to gigabytes. But pytest's workers stand still in what eventlet has patched.
    has_eventlet "$python" || workers=(-n auto --dist loadscope)
    tests --tb=short --maxfail=50 networking_martlet/tests/test_d*.py
    [ ${#workers[@]} -eq 0 ] || workers=(-n auto)
    tests --tb=line "${unexpected[@]}" networking_martlet/tests/test_neutron.py
}

tests() { "$python" -W ignore -m pytest -p no:cacheprovider -q --show-capture=no "${workers[@]}" "$@"; }

# Whether Neutron's tests patch Python with it, as those of older releases do.
has_eventlet() {
    "$1" -W ignore -c 'import neutron.tests.unit, eventlet.patcher
raise SystemExit(not eventlet.patcher.is_monkey_patched("thread"))' 2> /dev/null
}

workers=()
unexpected=()
while read -r name _; do
    case $name in '' | '#'*) ;; *) unexpected+=(--deselect "networking_martlet/tests/test_neutron.py::$name") ;; esac
done < "$here/networking_martlet/tests/expected_failures.txt"

main "$@"
