# shellcheck shell=bash disable=SC2034,SC2154,SC2329
# Apache Cassandra, one node.

ports=(clients nodes nodes-tls)
ready='Starting listening for CQL clients'
limit=180

install() {
    build() { jars "$services_folder/cassandra/pom.xml" "$1"; }
    installed cassandra "$services_folder/cassandra/pom.xml"
}

prepare() {
    local settings=("$services_folder/cassandra/cassandra.yaml")
    ! secured || settings+=("$services_folder/cassandra/secured.yaml")
    sed -e "s#@FOLDER@#$PWD#; s#@PORT@#${port[0]}#; s#@NODES@#${port[1]}#; s#@NODES_TLS@#${port[2]}#" \
        -e "s#@CERTIFICATES@#$instance/certificates#" "${settings[@]}" > cassandra.yaml
    mkdir -p tmp
    # It locks its smallest heap in memory: a small one, then. No waiting for neighbours: there are none.
    command=("$JAVA_HOME/bin/java" -Xms128m -Xmx1G -Xss512k -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData
        -javaagent:"$(echo "$home"/lib/jamm-*.jar)"
        "@$services_folder/cassandra/jvm.options"
        -Djava.io.tmpdir="$PWD/tmp"
        -Dlogback.configurationFile="$services_folder/cassandra/logback.xml"
        -Dcassandra.config="file://$PWD/cassandra.yaml"
        -Dcassandra.storagedir="$PWD/data"
        -Dcassandra.logdir="$PWD"
        -Dcassandra-foreground=yes
        -Dcassandra.skip_wait_for_gossip_to_settle=0
        -Dcassandra.ring_delay_ms=100
        -Dcassandra.superuser_setup_delay_ms=0
        -Dcassandra.auto_bootstrap=false
        -cp "$home/lib/*" org.apache.cassandra.service.CassandraDaemon)
}
