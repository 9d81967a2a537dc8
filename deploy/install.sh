#!/bin/bash
# Installs Martlet on this machine: binaries, systemd unit, configuration, shell completions.
#   install.sh [--prefix DIR]              builds and installs under DIR (default /usr/local)
#   install.sh --uninstall [--prefix DIR]  removes it; configuration and state stay
# With DESTDIR set, files go below it and nothing outside it is touched: for packages.
set -euo pipefail
# shellcheck source=deploy/packages.sh
source "$(dirname "$0")/packages.sh"

prefix=/usr/local
destination=${DESTDIR:-}
action=install_all
readonly build=$root/.build/install

usage() { sed -n '2,5s/^# \{0,1\}//p' "$0"; }

main() {
    parse "$@"
    [ -n "$destination" ] || require_root "$@"
    binaries=$prefix/bin
    daemons=$prefix/sbin
    unit=/etc/systemd/system/martletd.service
    configuration=/etc/martlet/martletd.toml
    bash_completion=$prefix/share/bash-completion/completions/martletctl
    zsh_completion=$prefix/share/zsh/site-functions/_martletctl
    fish_completion=$prefix/share/fish/vendor_completions.d/martletctl.fish
    $action
}

parse() {
    while [ $# -gt 0 ]; do
        case $1 in
            --prefix) [ $# -gt 1 ] || fail "--prefix needs a directory"; prefix=${2%/}; shift ;;
            --prefix=*) prefix=${1#*=}; prefix=${prefix%/} ;;
            --uninstall) action=uninstall_all ;;
            -h | --help) usage; exit 0 ;;
            *) warn "wrong usage: $1"; usage >&2; exit 2 ;;
        esac
        shift
    done
    case $prefix in
        /*) ;;
        *) fail "--prefix '$prefix' is relative: give an absolute path" ;;
    esac
}

install_all() {
    require_swift
    install_packages "${packages_build[@]}" "${packages_run[@]}"
    # With Swift's libraries inside: the installed binaries do not need the toolchain, which may live in a home directory.
    progress "building martletd and martletctl to install (a first build takes some minutes)" build_all
    install_binaries
    install_configuration
    install_unit
    install_completions
    say "installed under $destination$prefix"
    [ -n "$destination" ] || next_steps
}

build_all() {
    local product
    for product in martletd martletctl; do
        swift build -c release --static-swift-stdlib --package-path "$root" --scratch-path "$build" --product $product ||
            return
    done
}

put() { install -D -m "$1" "$2" "$destination$3"; }

# Without debugging sections, with the symbols that a backtrace needs.
install_binaries() {
    put 755 "$build/release/martletd" "$daemons/martletd"
    put 755 "$build/release/martletctl" "$binaries/martletctl"
    strip --strip-debug "$destination$daemons/martletd" "$destination$binaries/martletctl"
}

install_configuration() {
    if [ -e "$destination$configuration" ]; then
        say "kept $configuration as it is"
    else
        put 644 "$root/deploy/martletd.toml" "$configuration"
    fi
}

install_unit() {
    local text
    text=$(mktemp)
    sed -e "s|/usr/local/sbin/|$daemons/|" -e "s|/usr/local/bin/|$binaries/|" \
        "$root/deploy/systemd/martletd.service" > "$text"
    put 644 "$text" "$unit"
    rm -f "$text"
    reload_systemd
}

install_completions() {
    local shell file text
    text=$(mktemp)
    for shell in bash zsh fish; do
        file=${shell}_completion
        "$build/release/martletctl" --generate-completion-script $shell > "$text"
        put 644 "$text" "${!file}"
    done
    rm -f "$text"
}

systemd_runs() { [ -z "$destination" ] && [ -d /run/systemd/system ]; }

reload_systemd() { ! systemd_runs || systemctl daemon-reload; }

next_steps() {
    cat << END
    systemctl enable --now martletd     (configuration: $configuration)
    martletctl doctor
END
}

uninstall_all() {
    if systemd_runs; then systemctl disable --now martletd 2> /dev/null || true; fi
    local file
    for file in "$daemons/martletd" "$binaries/martletctl" "$unit" \
        "$bash_completion" "$zsh_completion" "$fish_completion"; do
        rm -f "$destination$file"
    done
    reload_systemd
    say "removed; $configuration and the state in /var/lib/martlet stay: delete them by hand if they are not wanted"
}

main "$@"
