# ------------------------------------------------------- what the machine is now

current_system() {
    readlink -f /run/current-system
}

profile_system() {
    readlink -f "$profile" || true
}

init_link() {
    readlink /sbin/init 2>/dev/null || true
}

failed_units() {
    with_systemd || return 0
    systemctl list-units --state=failed --plain --no-legend --no-pager 2>/dev/null |
        awk '{ printf "%s%s", sep, $1; sep = " " }'
}

addresses() {
    ip -o addr show up scope global 2>/dev/null | awk '{ printf "%s%s", sep, $4; sep = " " }'
}

# has_route PEER -- whether packets to that address would go anywhere.
has_route() {
    [ -z "$1" ] || ip route get "$1" >/dev/null 2>&1
}

gateway() {
    ip route show default 2>/dev/null | awk '{ for (i = 1; i < NF; i++) if ($i == "via") { print $(i + 1); exit } }'
}

# listens PORT -- whether something accepts connections there. (0A is the kernel's number for "listening".)
listens() {
    awk -v port="$(printf '%04X' "$1")" \
        '$4 == "0A" { n = split($2, part, ":"); if (part[n] == port) found = 1 } END { exit !found }' \
        /proc/net/tcp /proc/net/tcp6 2>/dev/null
}

# is_cut_off -- whether this machine itself can see that nobody reaches it.
is_cut_off() {
    # Who never could be reached over the network is not cut off.
    fact reachable && [ "$value" = yes ] || return 1
    fact ssh_port || value=22
    if ! listens "${value:-22}"; then
        cut_off="nothing listens on port ${value:-22}"
        return 0
    fi
    fact addresses || value=
    if [ -n "$value" ] && [ -z "$(addresses)" ]; then
        cut_off="no address is left"
        return 0
    fi
    for _peer in peer gateway; do
        fact "$_peer" || value=
        if ! has_route "$value"; then
            cut_off="there is no route to $value"
            return 0
        fi
    done
    return 1
}

# stays_cut_off -- the same, after everything had some time to come up.
stays_cut_off() {
    _left=15
    while is_cut_off; do
        [ "$_left" -gt 0 ] || return 0
        _left=$((_left - 1))
        sleep 1
    done
    return 1
}

# connection_of PROCESS -- what sshd says of the connection, though sudo hides it: both addresses and ports.
connection_of() {
    _process=$1
    while [ "$_process" -gt 1 ]; do
        _found=$(tr '\0' '\n' <"/proc/$_process/environ" 2>/dev/null | sed -n 's/^SSH_CONNECTION=//p')
        [ -z "$_found" ] || break
        _process=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$_process/status" 2>/dev/null)
        _process=${_process:-0}
    done
    printf '%s' "$_found"
}

# free_kib PATH
free_kib() {
    df -Pk "$1" 2>/dev/null | awk 'NR == 2 { print $4 }'
}

# wait_for_switch SECONDS -- until no other switch holds NixOS' lock.
wait_for_switch() {
    [ -e "$switch_lock" ] || return 0
    flock -w "$1" "$switch_lock" true
}
