# shellcheck shell=bash
# shellcheck disable=SC2154
# Which server a test gets, decided here and nowhere else:
#
#   1. the one that a URL in the environment names (HYBRID_LIVE_TEST_KAFKA …), used as it is;
#   2. a container, started by Testcontainers, where a Docker engine answers;
#   3. a native server, from the package registries.
#
# HYBRID_LIVE_TEST_SERVERS=native or =containers settles 2 against 3. With --dir one asks for servers of one's own, to kill
# and pause them: then 1 does not count. Secured servers are native ones. A server keeps its kind as long as its instance
# is there.

# choice NAME: environment, containers or native.
choice() {
    if from_environment "$1"; then
        echo environment
    elif [ -s "$instance/$1/how" ]; then
        cat "$instance/$1/how"
    elif ! secured && engine_answers; then
        echo containers
    else
        echo native
    fi
}

# from_environment NAME: whether somebody named a server. What an earlier `up` had this shell export is not that: the
# instance may be gone since.
from_environment() {
    local variable
    variable=$(variable_of "$1")
    [ -z "$apart" ] && [ -n "${!variable:-}" ] && [[ " ${HYBRID_LIVE_TEST_SERVICES_STARTED:-} " != *" ${!variable} "* ]]
}

engine_answers() {
    case "${HYBRID_LIVE_TEST_SERVERS:-}" in
        native) return 1 ;;
        containers) return 0 ;;
        '') command -v docker > /dev/null && timeout 10 docker version > /dev/null 2>&1 ;;
        *) fail "HYBRID_LIVE_TEST_SERVERS=$HYBRID_LIVE_TEST_SERVERS: native or containers" ;;
    esac
}
