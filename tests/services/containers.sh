# shellcheck shell=bash
# shellcheck disable=SC2154
# Servers in containers: the program `services` of the crate `tests` starts them by Testcontainers and leaves them running;
# all else is the Docker client's.

# container_of NAME: what the container of this instance's server is called.
container_of() {
    local hash
    hash=$(printf '%s' "$instance" | sha256sum)
    echo "hybrid-live-test-${hash:0:12}-$1"
}

# state_of CONTAINER: created, running, paused, exited … or nothing.
state_of() { docker inspect --format '{{.State.Status}}' "$1" 2> /dev/null; }

# start_container NAME: so that it runs and is ready when this returns.
start_container() {
    local name=$1 folder=$instance/$1 container port since
    container=$(container_of "$name")
    cd "$folder" 2> /dev/null || { say "$name: $folder is gone"; return 1; }
    exec 9> lock && flock 9
    choose_ports "$name" 1 || return
    read -r port < ports
    echo "$name://127.0.0.1:$port" > url
    case "$(state_of "$container")" in
        running) ;;
        paused) docker unpause "$container" > /dev/null ;;
        '') services start "$name" "$container" "$port" ;;
        *)
            since=$(date +%s.%N)
            docker start "$container" > /dev/null && until_true 180 said_since "$container" "$since" "$(services ready "$name")"
            ;;
    esac || {
        say "$name: the container $container is not ready; it said:"
        docker logs --tail 30 "$container" >&2
        return 1
    }
}

said_since() { docker logs --since "$2" "$1" 2>&1 | grep -F "$3" > /dev/null; }

# services ARGUMENT…: that program. tests/run has built it and says where; it must not inherit the lock.
services() {
    if [ -n "${HYBRID_LIVE_TEST_SERVICES_BIN:-}" ]; then
        "$HYBRID_LIVE_TEST_SERVICES_BIN" "$@" 9>&-
    else
        cargo run --locked --quiet --manifest-path "$services_folder/../Cargo.toml" --features containers --bin services -- "$@" 9>&-
    fi
}

# control_container NAME kill|pause|resume|pid.
control_container() {
    local container
    container=$(container_of "$1")
    case "$2" in
        kill)
            # The engine does not kill what stands still.
            [ "$(state_of "$container")" != paused ] || docker unpause "$container" > /dev/null
            docker kill "$container" > /dev/null
            ;;
        pause) docker pause "$container" > /dev/null ;;
        resume) docker unpause "$container" > /dev/null ;;
        pid) docker inspect --format '{{.State.Pid}}' "$container" ;;
    esac
}
