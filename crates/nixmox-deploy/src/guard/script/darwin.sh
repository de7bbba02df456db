# ------------------------------------------------------------- on a Mac with nix-darwin

# What is done in another way there, in the words of what every Mac has. No init system owns a timer, so what goes back
# is a process that nobody is connected to. A Mac never reboots by itself; what it boots is what its profile names.

run=/var/run/nixmox
state=/var/db/nixmox
dir=$state/txn/$txn
staged=$run/secrets.$txn
PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
# As darwin-rebuild does, so that limits and certificates are those of the daemon.
NIX_REMOTE=${NIX_REMOTE:-daemon}
export PATH NIX_REMOTE
held=

with_systemd() {
    return 1
}

# where LINK -- the directory behind it.
where() {
    (cd "$1" 2>/dev/null && pwd -P) || true
}

current_system() {
    where /run/current-system
}

profile_system() {
    where "$profile"
}

boot_id() {
    boot=$(sysctl -n kern.bootsessionuuid)
}

uptime_seconds() {
    _booted=$(sysctl -n kern.boottime | sed 's/^{ sec = \([0-9]*\),.*/\1/')
    uptime=$(($(date +%s) - _booted))
}

# move_link FROM TO
move_link() {
    ln -sfn "$(readlink "$1")" "$2" && rm -f "$1"
}

# A directory is made by one of two at once.
keep_out() {
    [ -z "$held" ] || return 0
    _left=100
    until mkdir "$run/mutex.d" 2>/dev/null; do
        _holder=$(cat "$run/mutex.d/process" 2>/dev/null) || _holder=
        if [ -n "$_holder" ] && ! kill -0 "$_holder" 2>/dev/null; then
            drop_mutex "$_holder"
        elif [ "$_left" = 0 ]; then
            refuse busy
        else
            sleep 0.2
            _left=$((_left - 1))
        fi
    done
    echo $$ >"$run/mutex.d/process"
    held=yes
    trap let_in EXIT
}

# drop_mutex PROCESS -- of one that is gone, unless somebody else was faster.
drop_mutex() {
    mv "$run/mutex.d" "$run/mutex.$$" 2>/dev/null || return 0
    if [ "$(cat "$run/mutex.$$/process" 2>/dev/null)" = "$1" ]; then
        rm -rf "$run/mutex.$$"
    else
        mv "$run/mutex.$$" "$run/mutex.d"
    fi
}

let_in() {
    [ -z "$held" ] || rm -rf "$run/mutex.d"
    held=
}

# detached NAME WORD... -- in a group of processes of its own, which its first process names.
detached() {
    _file=$run/$(unit "$1").pid
    shift
    # shellcheck disable=SC2016  # the inner shell's variables
    /bin/bash -c 'set -m
        log=$1 file=$2
        shift 2
        "$@" </dev/null >>"$log" 2>&1 &
        echo $! >"$file"' detached "$dir/log" "$_file" "$@"
}

# in_time SECONDS COMMAND... -- before it begins, the number of its group is where `end_session` finds it.
in_time() {
    _seconds=$1
    shift
    # shellcheck disable=SC2016  # the inner shell's variables
    /bin/bash -c 'left=$(($1 * 5)) file=$2
        shift 2
        set -m
        /bin/sh -c "echo \$\$ >\"\$0\" && exec \"\$@\"" "$file" "$@" &
        set +m
        while kill -0 $! 2>/dev/null; do
            if [ "$left" = 0 ]; then
                kill -KILL -$!
                exit 124
            fi
            left=$((left - 1))
            sleep 0.2
        done
        wait $!' in_time "$_seconds" "${group:-/dev/null}" "$@"
}

# end_session NAME -- what was started under that name, and what `bounded` has started for it.
end_session() {
    for _file in "$run/$(unit "$1").group" "$run/$(unit "$1").pid"; do
        if [ -r "$_file" ] && read -r _leader <"$_file"; then
            rm -f "$_file"
            kill -KILL "-$_leader" 2>/dev/null || true
        fi
    done
}

check_tools() {
    [ "$(uname)" = Darwin ] || refuse not-darwin "$(uname)"
    for _tool in awk cat chmod df grep head ln mkdir mkfifo mv nix-env readlink rm sed sleep sort sysctl tail tr wc; do
        command -v "$_tool" >/dev/null || refuse no-tool "$_tool"
    done
}

check_request() {
    detail=
    asked toplevel || value=
    new=$value
    refused=missing detail=$new
    [ -x "$new/activate" ] || return 1
    # It belongs to one person, and asks who that is; nix-darwin has given it up.
    refused=activate-user detail="its nix-darwin is older than 25.05"
    [ ! -x "$new/activate-user" ] || grep -q '^# nix-darwin: deprecated$' "$new/activate-user" || return 1
    old=$(current_system)
    refused=unexpected detail=$old
    ! asked expected || [ "$value" = "$old" ] || return 1
    refused=no-old detail=$old
    [ -x "$old/activate" ] || return 1
    refused=no-space detail=$state
    [ "$(free_kib "$state")" -gt 1024 ]
}

connection_of() {
    printf '%s' "${SSH_CONNECTION:-}"
}

# Who can reach a Mac, and what it boots, is not looked at.
is_cut_off() {
    return 1
}

addresses() {
    :
}

gateway() {
    :
}

listens() {
    return 1
}

boot_default() {
    :
}

activate() {
    asked toplevel || exit 1
    to_log
    exec "$value/activate"
}

# go_to SECONDS SYSTEM
go_to() {
    note "$2/activate"
    in_time "$1" "$2/activate"
}

set_boot() {
    :
}

restore_boot() {
    restore_pointers
}

# A boot activates a part of what the profile names. So an activation that was begun is always gone back from.
is_whole() {
    [ ! -e "$dir/touched" ]
}
