#!/bin/bash
# Installs what is missing, builds, and runs every test. All parts run; it fails if one of them failed.
#   test.sh          what every change must pass
#   test.sh --long   also what takes long: soaks, large counts, fuzzing
set -euo pipefail
# shellcheck source=deploy/common.sh
source "$(dirname "$0")/common.sh"

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
    cd "$root"
    part "shell scripts parse" check_scripts
    part "the sources are formatted" check_format
    part "build, debug" swift build --build-tests
    part "build, release" swift build -c release
    part "hugepages" reserve
    part "swift test" swift test --skip-build
    part "build of the micro-benchmarks" swift build -c release --package-path Benchmarks/Micro
    part "nothing is allocated, counted or locked per packet" Benchmarks/Micro/.build/release/Micro --prove
    part "interoperation" interop
    finish
}

# `part WORDS COMMAND...`: goes on, whatever comes of it.
part() {
    progress "$@" || failed+=("$1")
}

check_scripts() {
    local script
    while IFS= read -r script; do bash -n "$script"; done < <(scripts)
}

scripts() {
    find deploy Benchmarks .ci -path '*/.build' -prune -o -type f \( -name '*.sh' -o -name run \) -print
}

check_format() {
    find Package.swift Sources Tests Benchmarks -path '*/.build' -prune -o -type f -name '*.swift' -print0 |
        xargs -0 swift format lint --strict
}

reserve() { reserve_hugepages $megabytes; }

# Debian's Python, whose packages were installed above, whatever other one comes first in PATH.
interop() {
    MARTLET_BIN=$root/.build/release PYTHONDONTWRITEBYTECODE=1 \
        /usr/bin/python3 -m pytest -p no:cacheprovider -v -rA --tb=short "${long[@]}" Tests/Interop
}

finish() {
    local words
    if [ ${#failed[@]} -gt 0 ]; then
        for words in "${failed[@]}"; do warn "failed: $words"; done
        exit 1
    fi
    say "all tests passed, in $((SECONDS / 60)) minutes"
}

main "$@"
