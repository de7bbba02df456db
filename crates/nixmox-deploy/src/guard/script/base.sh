#!/bin/sh
# The part of nixmox-deploy that runs on a host: VERB [TRANSACTION [ARGUMENT...]].
#
# It needs a POSIX shell and what every NixOS has. Whoever calls it gets lines of NAME=VALUE; what runs without a
# caller writes to the transaction's log alone. Nothing that lasts is changed before a commit, and from the
# activation on a timer of the init system goes back unless it is told not to.
set -u
umask 022
export LC_ALL=C
PATH=/run/current-system/sw/bin:/usr/bin:/bin:/usr/sbin:/sbin:${PATH:-}
export PATH

run=/run/nixmox
state=/var/lib/nixmox
profile=/nix/var/nix/profiles/system
roots=/nix/var/nix/gcroots/nixmox
switch_lock=/run/nixos/switch-to-configuration.lock

# Bytes of a log that are kept from the beginning of a step, and from its end.
log_part=262144
logs_itself=

verb=${1:-}
txn=${2:-none}
dir=$state/txn/$txn
guard=$0

# say NAME VALUE -- one line for the caller, who may be gone.
say() {
    printf '%s=%s\n' "$1" "$2" 2>/dev/null
}

# note TEXT -- one line for the log, whatever becomes of it.
note() {
    if [ -n "$logs_itself" ]; then
        printf 'nixmox: %s\n' "$*" 2>/dev/null || true
    else
        printf 'nixmox: %s\n' "$*" >>"$dir/log" 2>/dev/null || true
    fi
}

# to_log -- from here on, whatever this process and what it becomes write goes to the log: of each step so much from its
# beginning, and as much from its end. A full disk is no matter of whoever writes.
to_log() {
    exec </dev/null
    _pipe=$run/$txn.$$
    if ! mkfifo -m 0600 "$_pipe" 2>/dev/null; then
        exec >>"$dir/log" 2>&1
        return
    fi
    # Each end waits for the other one; only then is the name given up.
    (
        exec <"$_pipe" >>"$dir/log" 2>/dev/null 8>&-
        rm -f "$_pipe"
        keep_log
    ) &
    exec >"$_pipe" 2>&1
    logs_itself=yes
}

# keep_log -- what it reads, from its beginning and from its end.
keep_log() {
    # It ends when nobody is left who writes, and not before.
    trap '' HUP INT TERM PIPE XFSZ
    _size=$(wc -c <"$dir/log") || _size=0
    # A limit of this process alone; in blocks of 512 bytes.
    if (ulimit -f $(((_size + log_part) / 512)) && exec cat); then
        return
    fi
    printf '\nnixmox: the log is cut here; what was written last follows when it is over\n'
    tail -c "$log_part"
}

# refuse CODE [DETAIL] -- ends, telling the caller why.
refuse() {
    say error "$1"
    [ -z "${2:-}" ] || say detail "$2"
    exit 3
}

# value_of FILE NAME -- into $value; fails when it is not there.
value_of() {
    value=
    [ -r "$1" ] || return 1
    while IFS= read -r line; do
        case $line in
        "$2="*)
            value=${line#*=}
            return 0
            ;;
        esac
    done <"$1"
    return 1
}

# to_disk PATH -- waits until a file or directory is on the disk.
to_disk() {
    sync "$1" 2>/dev/null || sync
}

# keep FILE -- replaces it by standard input, at once and durably.
keep() {
    cat >"$1.new" && to_disk "$1.new" && mv -f "$1.new" "$1" && to_disk "${1%/*}"
}

# move_link FROM TO -- at once, also when there is a link already.
move_link() {
    mv -fT "$1" "$2"
}

# in_time SECONDS COMMAND... -- ends it and what it started when it takes longer.
in_time() {
    _seconds=$1
    shift
    timeout -k 10 "$_seconds" "$@"
}

uptime_seconds() {
    IFS=' .' read -r uptime _ </proc/uptime
}

boot_id() {
    read -r boot </proc/sys/kernel/random/boot_id
}

# Keeps other calls out until `let_in`, or until this one ends.
keep_out() {
    exec 8>"$run/mutex"
    flock -w 20 8 || refuse busy
}

let_in() {
    exec 8>&-
}

# The tools of the system that ran before, which the new one cannot take away.
use_old_tools() {
    if value_of "$dir/facts" old; then
        PATH=$value/sw/bin:$PATH
    fi
}
