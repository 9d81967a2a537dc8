# shellcheck shell=bash
# What the scripts of this folder share: messages, preconditions, progress, hugepages. Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root
readonly release=$root/.build/release

say() { echo "==> $*"; }
warn() { echo "${0##*/}: $*" >&2; }
fail() { warn "$*"; exit 1; }

require_root() { [ "$(id -u)" -eq 0 ] || fail "needs root (you are $(id -un)): sudo $0${*:+ $*}"; }

require_swift() {
    command -v swift > /dev/null || fail "'swift' is not in PATH: install Swift 6.3 (swift.org/install/linux) first"
}

# `progress WORDS COMMAND...`: runs the command, shows its last line and the time it takes, and what went wrong if it
# fails. In a subshell, so that its log goes whatever ends it.
progress() (
    words=$1 status=0 start=$SECONDS
    shift
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    say "$words"
    "$@" 2>&1 < /dev/null | tee "$log" | _show_progress "$start" || status=$?
    if [ "$status" -eq 0 ]; then
        echo "    done in $(_elapsed "$start")"
    else
        warn "failed after $(_elapsed "$start"): $*"
        _what_went_wrong "$log" >&2
    fi
    exit "$status"
)

_elapsed() { printf '%d:%02d' $(((SECONDS - $1) / 60)) $(((SECONDS - $1) % 60)); }

# On a terminal one line that changes; elsewhere a line now and then.
_show_progress() {
    local start=$1 line='' last='' said=$SECONDS status
    while true; do
        status=0
        IFS= read -r -t 2 line || status=$?
        [ -z "$line" ] || last=$line
        # More than 128: nothing was said for a while; 1: the command has ended.
        [ "$status" -eq 0 ] || [ "$status" -gt 128 ] || break
        if [ -t 1 ]; then
            printf '\r\033[K    %s  %.*s' "$(_elapsed "$start")" $((${COLUMNS:-80} - 12)) "$last"
        elif [ $((SECONDS - said)) -ge 20 ]; then
            said=$SECONDS
            printf '    %s  %.100s\n' "$(_elapsed "$start")" "$last"
        fi
    done
    [ ! -t 1 ] || printf '\r\033[K'
}

# The lines that name a failure, if any do, and the last ones.
_what_went_wrong() {
    { grep -E 'error:|✘|^FAILED|^ERROR|^E  |↳|== ?ERROR:|Test unit written' "$1" || true; } | awk '!seen[$0]++ && count++ < 30'
    echo "    ... and the last lines:"
    tail -n 25 "$1"
}

# Sees to it that so many MB of hugepages are free. Says why when that fails.
reserve_hugepages() {
    local before after words
    before=$(cat /proc/sys/vm/nr_hugepages 2> /dev/null || echo 0)
    if ! words=$("$release/martletctl" doctor --reserve-hugepages "$1"); then
        echo "$words"
        return 1
    fi
    after=$(cat /proc/sys/vm/nr_hugepages)
    [ "$before" -eq "$after" ] || \
        say "reserved $((after - before)) more hugepages ('sysctl vm.nr_hugepages=$before' gives them back)"
}
