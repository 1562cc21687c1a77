# shellcheck shell=bash
# shellcheck disable=SC2154
# What native servers are made of: Java and jars. Jars are named by a pom.xml per server and kept for all checkouts of a
# user under ~/.cache/hybrid-live/services, each set under a hash of what it was made from.

# Cassandra 5.0 runs on Java 17 and on nothing newer; the others are content with it.
java_version=17

# find_java: sets JAVA_HOME to a Java of that version that can compile.
find_java() {
    local home
    for home in "${JAVA_HOME:-}" /usr/lib/jvm/*-"$java_version"* /usr/lib/jvm/* "$HOME"/.sdkman/candidates/java/"$java_version"*; do
        if [ -x "$home/bin/javac" ] && "$home/bin/java" -version 2>&1 | grep -q "version \"${java_version}[.\"]"; then
            export JAVA_HOME=$home
            return
        fi
    done
    return 1
}

need_java() {
    find_java && return
    install_packages "Java $java_version" "openjdk-$java_version-jdk-headless" || {
        say "or set JAVA_HOME to a JDK $java_version"
        return 1
    }
    find_java
}

# installed SERVER FILE…: sets `home` to where what these files describe is installed; calls `build FOLDER` to make it when it is not.
# It appears at once or not at all: made beside its place and renamed. Maven's own cache does not bear two at a time.
installed() {
    local server=$1 hash making
    shift
    need_java || return
    hash=$(cat "$@" | sha256sum) || return
    home=$cache/$server-${hash:0:12}
    [ -d "$home" ] && return
    mkdir -p "$cache" || return
    exec 7> "$cache/install.lock" && flock 7
    if [ ! -d "$home" ]; then
        need mvn maven || return
        say "installing $server into $home"
        making=$(mktemp -d "$cache/.making-$server-XXXXXX") || return
        if ! build "$making"; then
            rm -rf "$making"
            say "$server could not be installed"
            return 1
        fi
        chmod 755 "$making"
        mv "$making" "$home" || return
    fi
    exec 7>&-
}

# jars POM FOLDER: all jars that a pom.xml names, and those that they need.
jars() {
    mvn --batch-mode --file "$1" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$2/lib" > "$2/maven.log" 2>&1 && return
    tail -n 30 "$2/maven.log" >&2
    return 1
}
