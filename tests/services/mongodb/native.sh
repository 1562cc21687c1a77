# shellcheck shell=bash disable=SC2034,SC2154,SC2329
# A server that speaks MongoDB's protocol; MongoServer.java says what it can do and what not.

ports=(clients)
ready='listening on '
limit=60

install() {
    local folder=$services_folder/mongodb
    build() {
        jars "$folder/pom.xml" "$1" && "$JAVA_HOME/bin/javac" -Xlint:all -Werror -cp "$1/lib/*" -d "$1/classes" "$folder"/*.java >&2
    }
    installed mongodb "$folder/pom.xml" "$folder"/*.java
}

prepare() {
    local certificates=$instance/certificates
    command=("$JAVA_HOME/bin/java" -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$home/classes:$home/lib/*"
        MongoServer "${port[0]}" "$PWD/data/documents.h2")
    ! secured || command+=("$certificates/server.key" "$certificates/server.pem" "$certificates/password")
}
