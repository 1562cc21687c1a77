# shellcheck shell=bash
# shellcheck disable=SC2154
# Native servers: processes of this machine that listen on 127.0.0.1 only. Each server's own file, NAME/native.sh, says
#
#   ports          the names of the ports that it needs; the first is the one that clients connect to
#   ready          what it logs when it can be used
#   limit          after how many seconds it is given up
#   install        makes sure of the program; may set what the next two need
#   prepare        writes its settings into the present folder, which is INSTANCE/NAME; what a `secured` instance's server
#                  needs besides is in $instance/certificates
#   command        an array, set by prepare: what to run

# start_native NAME: so that it runs and is ready when this returns. Run in a subshell: it changes folder and variables.
start_native() {
    local name=$1 folder=$instance/$1 pid from
    # shellcheck source=/dev/null
    . "$services_folder/$name/native.sh"
    # Installing takes minutes on a new machine, and there may have been a `down` meanwhile.
    install || return
    cd "$folder" 2> /dev/null || { say "$name: $folder is gone"; return 1; }
    exec 9> lock && flock 9
    if [ ! -e "$folder/lock" ] || [ -e "$instance/going-down" ]; then
        say "$name: $instance is being brought down"
        return 1
    fi
    if pid=$(process_of "$name"); then
        ! paused "$pid" || kill -CONT "$pid"
        return
    fi
    choose_ports "$name" "${#ports[@]}" || return
    mkdir -p data || return
    read -r -a port < ports
    prepare || return
    echo "$name://127.0.0.1:${port[0]}" > url
    touch log
    from=$(stat --format %s log)
    # The process itself writes the pid, and gives up the lock only by becoming the server: whoever holds the lock can
    # rely on the file, whatever happened to this shell. A session of its own keeps Ctrl-C away from it.
    (
        pid=$BASHPID # taken here: in the substitution it would be another one's
        echo "$pid $(started_at "$pid")" > pid
        exec setsid "${command[@]}" 9>&-
    ) >> log 2>&1 < /dev/null &
    pid=$!
    await_ready "$name" "$pid" "$from"
}

# await_ready NAME PID FROM: till its log, from that byte on, says so. A server that fails is ended, with the end of its log.
await_ready() {
    local end=$((SECONDS + limit)) why=
    until tail -c "+$(($3 + 1))" log | grep -F "$ready" > /dev/null && listening "${port[0]}"; do
        if gone "$2"; then
            why="ended"
        elif [ "$SECONDS" -ge "$end" ]; then
            why="is not ready after $limit s"
        elif [ -e "$instance/going-down" ]; then
            why="is being brought down"
        fi
        if [ -n "$why" ]; then
            kill_process "$2"
            say "$1 $why; $instance/$1/log ends with:"
            tail -n 30 log >&2
            return 1
        fi
        sleep 0.1
    done
}

# control_native NAME kill|pause|resume|pid.
control_native() {
    local pid
    pid=$(process_of "$1") || { say "$1 does not run"; return 1; }
    case "$2" in
        kill) kill_process "$pid" ;;
        pause) kill -STOP "$pid" && until_true 20 paused "$pid" ;;
        resume) kill -CONT "$pid" ;;
        pid) echo "$pid" ;;
    esac
}
