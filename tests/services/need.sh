# shellcheck shell=bash
# Programs of the system that tests stand on; sourced by tests/run and by what starts servers.

# need PROGRAM PACKAGE…: makes sure of a program: installs the packages if it may, else says what to install.
need() {
    local program=$1
    shift
    # A file: what is built into the shell alone does not count.
    type -P "$program" > /dev/null && return
    install_packages "$program" "$@"
}

# need_library NAME PACKAGE…: the same for a C library, as pkg-config knows it.
need_library() {
    local library=$1
    shift
    pkg-config --exists "$library" 2> /dev/null && return
    install_packages "the library $library" "$@"
}

# install_packages WHAT PACKAGE…: as root on Debian and its kin.
install_packages() {
    local what=$1
    shift
    if [ "$(id -u)" -eq 0 ] && command -v apt-get > /dev/null; then
        echo "installing $*, for $what is missing" >&2
        # One at a time: apt does not wait for itself.
        flock "${TMPDIR:-/tmp}/hybrid-live-packages.lock" apt-get update -qq >&2 \
            && DEBIAN_FRONTEND=noninteractive flock "${TMPDIR:-/tmp}/hybrid-live-packages.lock" \
                apt-get install -y -qq -o DPkg::Lock::Timeout=300 "$@" > /dev/null \
            && return
    fi
    echo "$what is missing: install it (Debian and Ubuntu: apt-get install $*) and run this again" >&2
    return 1
}
