# Sourced by the scripts here: how a Debian-like machine gets what is missing.

fail() {
    printf '== %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    else
        command -v sudo >/dev/null || fail "'$*' wants root, and there is no sudo"
        sudo "$@"
    fi
}

# apt_if_missing PACKAGE COMMAND…: a Debian package, unless the command that it is for works.
apt_if_missing() {
    local package=$1
    shift
    "$@" >/dev/null 2>&1 && return
    command -v apt-get >/dev/null || fail "'$*' does not work, and there is no apt-get: install it by hand"
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "$package"
    "$@" >/dev/null || fail "$package is installed, but '$*' still does not work"
}
