# shellcheck shell=bash disable=SC2034,SC2154
# Redis, from the system's package. Nothing is kept: what goes through it is news.

ports=(clients)
ready='Ready to accept connections'
limit=30

install() { need redis-server redis-server; }

prepare() {
    local certificates=$instance/certificates
    command=(redis-server --bind 127.0.0.1 --dir "$PWD/data" --save '' --appendonly no)
    if ! secured; then
        command+=(--port "${port[0]}")
        return
    fi
    # No more rights than are needed, and bob may not ask what server it is.
    sed "s#@PASSWORD@#$(< "$certificates/password")#" "$services_folder/redis/secured.acl" > users.acl
    command+=(--port 0 --tls-port "${port[0]}" --tls-cert-file "$certificates/server.pem" --tls-key-file "$certificates/server.key"
        --tls-ca-cert-file "$certificates/ca.pem" --tls-auth-clients yes --aclfile "$PWD/users.acl")
}
