#!/bin/bash
# Installs what is missing, builds, and runs every test. All parts run; it fails if one of them failed.
#   test.sh          what every change must pass
#   test.sh --long   also what takes long: soaks, large counts, fuzzing
set -euo pipefail
# shellcheck source=deploy/packages.sh
source "$(dirname "$0")/packages.sh"

readonly megabytes=2048
long=()
failed=()

main() {
    case "$*" in
        '') ;;
        --long) long=(--long) ;;
        -h | --help) sed -n '2,4s/^# \{0,1\}//p' "$0"; return ;;
        *) fail "wrong usage: $*: test.sh [--long]" ;;
    esac
    require_root "$@"
    require_swift
    install_packages "${packages_build[@]}" "${packages_test[@]}"
    interop_log=$(mktemp)
    trap 'rm -f "$interop_log"' EXIT
    cd "$root"
    part "the scripts parse" check_scripts
    part "the sources are formatted" check_format
    part "debug build" build_tests
    part "release builds" build_release
    if passed "release builds"; then part "hugepages" reserve_hugepages $megabytes; fi
    if passed "debug build"; then part "unit tests" swift test --skip-build; fi
    if passed "release builds"; then
        part "fuzzing under AddressSanitizer" fuzz
        part "nothing is allocated, counted or locked per packet" Benchmarks/Micro/.build/release/Micro --prove
    fi
    part "tests of the Neutron driver" neutron
    if passed "release builds"; then part "tests against what is not ours" interop; fi
    finish
}

# `part WORDS COMMAND...`: goes on, whatever comes of it.
part() {
    progress "$@" || failed+=("$1")
}

# What was not built is not tested: its last build would be.
passed() {
    local words
    for words in "${failed[@]}"; do [ "$words" != "$1" ] || return 1; done
}

check_scripts() {
    local script status=0
    while IFS= read -r script; do bash -n "$script" || status=1; done < <(scripts)
    return $status
}

scripts() {
    find deploy Benchmarks .ci -path '*/.build' -prune -o -type f \( -name '*.sh' -o -name run \) -print
}

check_format() {
    find Package.swift Sources Tests Benchmarks -path '*/.build' -prune -o -type f -name '*.swift' -print0 |
        xargs -0 swift format lint --strict
}

# The tests and the command that some of them run: what else there is is built once, for release.
build_tests() { swift build --product martletPackageTests && swift build --product martletctl; }

# The switch, the fuzzers and the micro-benchmarks, each in a directory of its own. Whole modules are compiled one after the
# other, on one processor: side by side they use the others too.
build_release() {
    local builds=() build status=0
    build_switch & builds+=($!)
    build_fuzzers & builds+=($!)
    swift build -c release --package-path Benchmarks/Micro & builds+=($!)
    for build in "${builds[@]}"; do wait "$build" || status=1; done
    return $status
}

# What is run, and not what else dependencies bring along: their examples, and plugins that no build here uses.
build_switch() { swift build -c release --product martletd && swift build -c release --product martletctl; }

build_fuzzers() {
    swift build -c release --package-path Tests/Fuzz --sanitize=fuzzer -Xswiftc -sanitize=fuzzer,address
}

# Each parser of bytes that are not ours, from an empty corpus. One a processor: they have one thread each.
fuzz() {
    local seconds=20
    [ ${#long[@]} -eq 0 ] || seconds=600
    # Swift's runtime keeps what it allocates once; leaks are looked for elsewhere.
    printf '%s\n' Tests/Fuzz/.build/release/Fuzz{Connections,Documents,Flows,Frames,Ring,Tunnels,Wire} |
        xargs -P "$(nproc)" -I FUZZER env ASAN_OPTIONS=detect_leaks=0 SWIFT_BACKTRACE=enable=no \
            FUZZER -max_total_time=$seconds -max_len=2048 -artifact_prefix=/tmp/
}

neutron() { deploy/neutron/tests.sh "${long[@]}"; }

# Debian's Python, whose packages were installed above, whatever other one comes first in PATH.
interop() {
    MARTLET_BIN=$root/.build/release PYTHONDONTWRITEBYTECODE=1 \
        /usr/bin/python3 -m pytest -p no:cacheprovider -v -rfE --tb=short "${long[@]}" Tests/Interop | tee "$interop_log"
}

finish() {
    local words
    # Figures that no test asserts: outages over restarts, beside Open vSwitch's.
    sed -n '/ measured, not asserted /,/^=/p' "$interop_log" | sed '/^=/d'
    if [ ${#failed[@]} -gt 0 ]; then
        for words in "${failed[@]}"; do warn "failed: $words"; done
        exit 1
    fi
    say "all tests passed, in $((SECONDS / 60)) minutes"
}

main "$@"
