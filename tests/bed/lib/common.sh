# shellcheck shell=bash
# common.sh -- settings and helpers that the bed's scripts share. Sourced, never run.

set -euo pipefail

BED_ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

# What is built once: the Debian root, the userland, the disk that hosts start from, the client's key.
BED_CACHE=${BED_CACHE:-$(realpath -m "$BED_ROOT/../../target/bed")}
# What lives between `up` and `down`: the hosts' disks. Overlays need a disk or a tmpfs there, no overlay.
BED_STATE=${BED_STATE:-/dev/shm/nixmox-bed}
# Several beds stand side by side: each takes a free number, which is in its interfaces' names and its network.
BED_NUMBER=$(cat "$BED_STATE/number" 2>/dev/null) || BED_NUMBER=

# shellcheck disable=SC2034  # the scripts that source this use these
{
    BED_SUITE=bookworm
    BED_NAME=bed$BED_NUMBER
    BED_NET=10.77.$BED_NUMBER
    BED_GATEWAY=$BED_NET.254
    BED_BRIDGE=$BED_NAME-br
    BED_CLIENT_KEY=$BED_CACHE/client_ed25519
}

export NIX_CONFIG="experimental-features = nix-command flakes
sandbox = false
substitute = false
build-users-group =
warn-dirty = false"

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

note() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

need_root() {
    [[ $(id -u) == 0 ]] || die "must run as root, because it makes namespaces and mounts"
}

need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || die "needs '$tool'; see docs/testbed.md"
    done
}

# poll SECONDS COMMAND... -- run COMMAND until it succeeds or SECONDS pass.
poll() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
}

# alive PID START -- is this still the process that was recorded?
# START is field 22 of /proc/PID/stat, so a recycled pid is never mistaken for it.
alive() {
    [[ -n ${1:-} && -n ${2:-} ]] && [[ $(start_time "$1") == "$2" ]]
}

start_time() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    stat=${stat##*) }
    # shellcheck disable=SC2086
    set -- $stat
    [[ $1 == Z || $1 == X ]] || printf '%s\n' "${20}"
}
