# shellcheck shell=bash
# shellcheck disable=SC2034
# An instance: a folder with servers of its own, and what is known of each. Sourced by up, down, status and control.
#
#   INSTANCE/NAME/how      native or containers
#   INSTANCE/NAME/ports    the ports it was given; it keeps them when it is started again
#   INSTANCE/NAME/url      where it is to be found
#   INSTANCE/NAME/pid      its process and when that was started: a pid alone may be somebody else's by now
#   INSTANCE/NAME/log      all that it ever said
#   INSTANCE/NAME/data     what it stores
#   INSTANCE/NAME/lock     held while it is started or ended, until its process has written the pid
#   INSTANCE/certificates  of a secured instance: see certificates.sh

all_services=(kafka mongodb cassandra redis)
services_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hybrid-live/services

# say TEXT…: progress is for people and goes to stderr; stdout is for what a shell evaluates.
say() { printf '%s\n' "$*" >&2; }

fail() {
    say "$@"
    exit 2
}

# arguments ARGUMENT…: sets `instance`, `apart` (a folder was named: servers of one's own are wanted), `secured`,
# `keep_logs` and `words` (the rest).
arguments() {
    instance=${HYBRID_LIVE_TEST_SERVICES_DIR:-$services_folder/../.run/services}
    apart=
    secured=
    keep_logs=
    words=()
    while [ $# -gt 0 ]; do
        case "$1" in
            --dir)
                [ -n "${2:-}" ] || fail "--dir needs a folder"
                instance=$2
                apart=yes
                shift
                ;;
            --secured) secured=yes ;;
            --keep-logs) keep_logs=yes ;;
            -h | --help)
                sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
                exit 0
                ;;
            -*) fail "unknown option $1; see $0 --help" ;;
            *) words+=("$1") ;;
        esac
        shift
    done
    # Servers run elsewhere than this shell and need the whole path.
    instance=$(realpath -m "$instance") || exit 2
}

known() {
    local name
    for name in "${all_services[@]}"; do [ "$name" = "$1" ] && return; done
    fail "no server is called $1; there are: ${all_services[*]}"
}

variable_of() { echo "HYBRID_LIVE_TEST_${1^^}"; }

# started_at PID: when a process was started, in ticks since the machine was; nothing if it does not run. What has ended
# and was not fetched by its parent does not run.
started_at() {
    local stat fields
    { stat=$(< "/proc/$1/stat"); } 2> /dev/null || return 1
    read -r -a fields <<< "${stat##*) }"
    [ "${fields[0]}" != Z ] && [ "${fields[0]}" != X ] && echo "${fields[19]}"
}

# process_of NAME: the pid of a native server of this instance, if it runs.
process_of() {
    local pid started
    { read -r pid started < "$instance/$1/pid"; } 2> /dev/null || return 1
    [ -n "$started" ] && [ "$(started_at "$pid")" = "$started" ] && echo "$pid"
}

# paused PID: whether a process was stopped by a signal.
paused() {
    local stat
    { stat=$(< "/proc/$1/stat"); } 2> /dev/null || return 1
    [[ ${stat##*) } == T* ]]
}

# until_true SECONDS COMMAND…: waits for a condition.
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.05
    done
}

gone() { [ -z "$(started_at "$1")" ]; }

# kill_process PID: with all that it started; servers lead a session of their own.
kill_process() {
    kill -KILL -- "-$1" 2> /dev/null || kill -KILL "$1" 2> /dev/null
    until_true 20 gone "$1"
}

listening() { (: < "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }

# choose_ports NAME COUNT: writes INSTANCE/NAME/ports, once. A port stays claimed while its instance is there, also while
# its server is down: another instance must not take it then. Below what the kernel gives to clients (32768).
choose_ports() {
    local file=$instance/$1/ports port owner chosen=()
    [ -s "$file" ] && return
    mkdir -p "$cache/ports" || return
    exec 8> "$cache/ports.lock" && flock 8
    for port in "$cache/ports"/*; do
        [ -e "$port" ] || continue
        owner=$(< "$port")
        [ -e "$owner" ] || rm -f "$port"
    done
    while [ "${#chosen[@]}" -lt "$2" ]; do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        if [ ! -e "$cache/ports/$port" ] && ! listening "$port"; then
            echo "$file" > "$cache/ports/$port"
            chosen+=("$port")
        fi
    done
    echo "${chosen[*]}" > "$file"
    exec 8>&-
}

release_ports() {
    local port ports=()
    { read -r -a ports < "$instance/$1/ports"; } 2> /dev/null
    for port in "${ports[@]}"; do rm -f "$cache/ports/$port"; done
}
