# shellcheck shell=bash disable=SC2034,SC2154
# Redis, from the system's package. Nothing is kept: what goes through it is news.

ports=(clients)
ready='Ready to accept connections'
limit=30

install() { need redis-server redis-server; }

prepare() {
    command=(redis-server --bind 127.0.0.1 --port "${port[0]}" --dir "$PWD/data" --save '' --appendonly no)
}
