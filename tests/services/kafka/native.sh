# shellcheck shell=bash disable=SC2034,SC2154,SC2329
# Apache Kafka, one node that is broker and controller.

ports=(clients controller inside)
ready='Kafka Server started'
limit=120

install() {
    build() { jars "$services_folder/kafka/pom.xml" "$1"; }
    installed kafka "$services_folder/kafka/pom.xml"
}

prepare() {
    local settings=("$services_folder/kafka/server.properties") password= user credentials=()
    if secured; then
        settings+=("$services_folder/kafka/secured.properties")
        password=$(< "$instance/certificates/password")
        for user in ada bob; do
            credentials+=(--add-scram "SCRAM-SHA-256=[name=$user,password=$password]"
                --add-scram "SCRAM-SHA-512=[name=$user,password=$password]")
        done
    fi
    sed -e "s#@FOLDER@#$PWD#; s#@PORT@#${port[0]}#; s#@CONTROLLER@#${port[1]}#; s#@INSIDE@#${port[2]}#" \
        -e "s#@CERTIFICATES@#$instance/certificates#; s#@PASSWORD@#$password#g" "${settings[@]}" > server.properties
    local java=("$JAVA_HOME/bin/java" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.awt.headless=true
        -Dlog4j2.configurationFile="$services_folder/kafka/log4j2.properties" -cp "$home/lib/*")
    # The id of the cluster may be the same for all: none ever meets another.
    [ -f data/meta.properties ] || "${java[@]}" -Xmx128m kafka.tools.StorageTool format --standalone \
        --cluster-id AAAAAAAAAAAAAAAAAAAAAQ --config server.properties "${credentials[@]}" >> log 2>&1 || { tail -n 30 log >&2; return 1; }
    command=("${java[@]}" -Xms256m -Xmx512m kafka.Kafka server.properties)
}
