# shellcheck shell=bash
# shellcheck disable=SC2154
# What a secured instance's servers and their clients prove themselves with, in INSTANCE/certificates. That the folder is
# there makes the instance a secured one.
#
#   ca.pem              the authority that both ends believe
#   server.pem, .key    what every server shows, for the names localhost and 127.0.0.1 and no others
#   client.pem, .key    what servers ask their clients for
#   nobody.pem          an authority that nothing here comes from
#   stranger.pem, .key  what it has signed
#   *-both.pem          key and certificate in one file, for those who want them so
#   password            of the users ada and bob

secured() { [ -d "$instance/certificates" ]; }

# make_certificates: unless they are there; at once or not at all.
make_certificates() {
    local making=$instance/certificates.making
    secured && return
    need openssl openssl && mkdir -p "$making" || return
    (
        set -e
        cd "$making"
        umask 077
        authority ca
        authority nobody
        certificate server ca
        certificate client ca
        certificate stranger nobody
        # With what URLs, settings and shells might stumble over, and random: wherever it turns up, it was leaked.
        printf 'p@ss/w:rd?%s\n' "$(openssl rand -hex 12)" > password
    ) || { say "no certificates could be made in $making"; return 1; }
    mv "$making" "$instance/certificates"
}

# authority NAME
authority() {
    quietly openssl req -x509 -newkey rsa:2048 -nodes -days 7 -keyout "$1.key" -out "$1.pem" -subj "/CN=authority $1"
}

# certificate NAME AUTHORITY
certificate() {
    quietly openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$1"
    quietly openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days 7 -out "$1.pem" \
        -extfile <(echo subjectAltName=DNS:localhost,IP:127.0.0.1)
    cat "$1.key" "$1.pem" > "$1-both.pem"
}

# quietly COMMAND…: says something only if it fails.
quietly() {
    local said
    said=$("$@" 2>&1) || { say "$said"; return 1; }
}
