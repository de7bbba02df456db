#!/bin/sh
# The part of nixmox-install that runs on machines: VERB RUN [ARGUMENT...].
#
# It needs a POSIX shell, as dash or busybox have it. What takes long runs apart from whoever asked for it, with its
# output and its status in files, so that a lost connection ends nothing. Secrets come over standard input alone.
set -u
umask 077
export LC_ALL=C
PATH=${PATH:-/usr/bin:/bin}:/run/current-system/sw/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

verb=${1:-}
run=${2:-none}
root=/mnt
case $run in
lxc-*[!0-9]*) ;;
lxc-*) root=/var/lib/lxc/${run#lxc-}/rootfs ;;
esac
marker=$root/.nixmox-install.json
registration=$root/nix/.nixmox-registration
base=/run/nixmox-install
dir=$base/$run
self=$0
[ $# -lt 2 ] || shift 2

# say NAME VALUE -- one line for the caller, who may be gone.
say() {
    printf '%s=%s\n' "$1" "$2" 2>/dev/null
}

# refuse CODE TEXT -- ends, telling the caller why.
refuse() {
    say error "$1"
    say detail "$2"
    exit 3
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# mounted PATH -- is something mounted exactly there?
mounted() {
    while read -r _device _target _rest; do
        [ "$_target" != "$1" ] || return 0
    done </proc/self/mounts
    return 1
}

# to_disk PATH -- waits until a file is on the disk.
to_disk() {
    sync "$1" 2>/dev/null || sync
}

# in_memory PATH -- is it on a file system that is gone when the machine is off?
in_memory() {
    case $(stat -f -c %T "$1" 2>/dev/null) in
    tmpfs | ramfs) return 0 ;;
    esac
    return 1
}
