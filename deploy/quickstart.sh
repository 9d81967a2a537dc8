#!/bin/bash
# From a bare Debian 12 with Swift to two guests that exchange traffic through Martlet.
#   quickstart.sh             builds, starts, shows, and stops everything it started
#   quickstart.sh --keep      leaves it running and says how to talk to it
#   quickstart.sh --stop DIR  stops what --keep left
set -euo pipefail
# shellcheck source=deploy/packages.sh
source "$(dirname "$0")/packages.sh"

readonly megabytes=256
readonly seconds=5
readonly macs=(02:00:00:00:00:01 02:00:00:00:00:02)
keep=no
directory=''

usage() { sed -n '2,5s/^# \{0,1\}//p' "$0"; }

main() {
    case "$*" in
        '') ;;
        --keep) keep=yes ;;
        '--stop '*) stop "$2"; return ;;
        -h | --help) usage; return ;;
        *) warn "wrong usage: $*"; usage >&2; exit 2 ;;
    esac
    check_machine "$@"
    install_packages "${packages_build[@]}" "${packages_guests[@]}"
    progress "building martletd and martletctl (a first build takes some minutes)" \
        swift build -c release --package-path "$root"
    make_directory
    start_switch
    start_guests
    look
    finish
}

check_machine() {
    require_root "$@"
    require_swift
    [ "$(uname -m)" = x86_64 ] || fail "this is $(uname -m): Martlet runs on x86_64 only"
    local processors
    processors=$(nproc)
    [ "$processors" -ge 2 ] || \
        fail "$processors processor is too few: a worker polls on one of its own, so give this machine two or more"
}

make_directory() {
    directory=$(mktemp -d /tmp/martlet-quickstart.XXXXXX)
    prefix=${directory##*/}
    export MARTLET_SOCKET=$directory/martlet.sock
    trap 'stop "$directory"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

# `start NAME COMMAND...`: in the background, out of Ctrl-C's reach, its output in NAME.log, its process id in NAME.pid.
start() {
    local name=$1
    shift
    setsid "$@" <&0 > "$directory/$name.log" 2>&1 &
    echo $! > "$directory/$name.pid"
}

# `wait_until SECONDS NAME WORDS COMMAND...`: until the command succeeds, as long as process NAME lives.
wait_until() {
    local limit=$((SECONDS + $1)) name=$2 words=$3
    shift 3
    until "$@" > /dev/null 2>&1; do
        kill -0 "$(cat "$directory/$name.pid")" 2> /dev/null || give_up "$name" "$name ended before $words"
        [ $SECONDS -lt $limit ] || give_up "$name" "$words: not in time"
        sleep 0.1
    done
}

give_up() {
    warn "$2; its last words:"
    tail -n 15 "$directory/$1.log" >&2
    exit 1
}

ctl() { "$release/martletctl" "$@"; }

start_switch() {
    local memory=() words
    if ! words=$(reserve_hugepages $megabytes); then
        memory=(--no-huge)
        say "no hugepages, so with --no-huge, which is slower:"
    fi
    [ -z "$words" ] || echo "$words"
    say "starting martletd: worker on lcore 1, all else on lcore 0"
    start martletd "$release/martletd" --state-dir "$directory/state" --file-prefix "$prefix" \
        --socket "$MARTLET_SOCKET" --worker-lcores 1 --main-lcore 0 --socket-memory $megabytes "${memory[@]}" \
        < /dev/null
    wait_until 20 martletd "martletd answers" ctl version
    ctl bridge add br-int
    # Mode client: the guests listen, as QEMU does under OpenStack.
    ctl port add br-int vm1 --type vhost-user --option path="$directory/vm1.sock"
    ctl port add br-int vm2 --type vhost-user --option path="$directory/vm2.sock"
}

# One testpmd plays both guests: what one receives the other sends back to the first one's address.
start_guests() {
    say "starting two guests (dpdk-testpmd with net_virtio_user) on lcore 0"
    mkfifo "$directory/keyboard"
    # Opened for both: testpmd ends when nobody can type any more.
    start guests stdbuf -o0 dpdk-testpmd --lcores 0@0,1@0 --no-pci --no-huge -m 256 --no-shconf --no-telemetry \
        --file-prefix "$prefix-guests" \
        --vdev="net_virtio_user0,path=$directory/vm1.sock,server=1,queues=1,mac=${macs[0]}" \
        --vdev="net_virtio_user1,path=$directory/vm2.sock,server=1,queues=1,mac=${macs[1]}" \
        -- -i --nb-cores=1 --forward-mode=mac --eth-peer="0,${macs[1]}" --eth-peer="1,${macs[0]}" \
        --total-num-mbufs=16384 --no-mlockall --disable-link-check <> "$directory/keyboard"
    wait_until 30 guests "the guests are up" links_up
    wait_until 30 guests "testpmd's prompt" grep -q 'testpmd> ' "$directory/guests.log"
    echo "start tx_first 7" > "$directory/keyboard"
    wait_until 20 guests "the guests exchange traffic" stations_known
}

links_up() { [ "$(ctl port list br-int | grep -c ' up$')" -eq 2 ]; }

stations_known() { [ "$(ctl fdb show br-int | grep -c '02:00:00:00:00:0[12]')" -eq 2 ]; }

look() {
    say "traffic for $seconds seconds"
    sleep $seconds
    say "martletctl show"
    ctl show
    say "martletctl fdb show br-int"
    ctl fdb show br-int
    say "martletctl top --count 2"
    ctl top --count 2
}

finish() {
    if [ $keep = no ]; then
        say "stopping what was started (--keep leaves it running)"
        return
    fi
    trap - EXIT
    say "left running, its files and logs in $directory"
    cat << END
    export MARTLET_SOCKET=$MARTLET_SOCKET
    $release/martletctl top
    $release/martletctl capture vm1 -w - | tcpdump -nr -
    $root/deploy/quickstart.sh --stop $directory
END
}

# Ends what runs out of a directory and removes what it leaves behind.
stop() {
    local folder=${1%/} name prefix=${1%/}
    prefix=${prefix##*/}
    [ -e "$folder/martletd.pid" ] || [ "$folder" = "$directory" ] || fail "nothing runs out of '$folder'"
    # Guests first, as when a host is emptied.
    for name in guests martletd; do end_process "$folder" $name; done
    rm -rf "$folder" "/run/martlet/$prefix.rings" "/var/run/dpdk/$prefix" "/var/run/dpdk/$prefix-guests"
    rm -f "/dev/hugepages/${prefix}map_"*
}

end_process() {
    local folder=$1 name=$2 process
    process=$(cat "$folder/$name.pid" 2> /dev/null) || return 0
    # By its id, and only while that id is still what was started here.
    is_ours() { grep -qsF "$folder/" "/proc/$process/cmdline"; }
    is_ours || return 0
    kill -TERM "$process" 2> /dev/null || true
    for _ in {1..100}; do
        is_ours || return 0
        sleep 0.1
    done
    warn "$name (process $process) does not end: killed"
    kill -KILL "$process" 2> /dev/null || true
}

main "$@"
