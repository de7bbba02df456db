#!/usr/bin/env bash
# hosts.sh -- NixOS-like hosts in namespaces, with a real sshd, a real systemd and a real Nix store each.
#
#   hosts.sh serve N                   N hosts, node1 ... nodeN; says "up", and ends them when its standard input ends,
#                                      whatever became of who started it. Nothing stays.
#   hosts.sh up N                      the same, until
#   hosts.sh down
#   hosts.sh status                    one line for each host
#   hosts.sh wait HOST [SECONDS]       until its sshd answers
#
#   hosts.sh cut HOST [--unplug]       packets vanish (or: the cable is out)
#   hosts.sh slow HOST DELAY [IN [OUT]]  DELAY (200ms, 1.5s) more for a round trip; IN % of the packets to it are lost,
#                                      OUT % of those from it
#   hosts.sh rate HOST RATE            at most RATE to it (tc's notation: 1mbit)
#   hosts.sh heal HOST                 undo cut, slow and rate
#   hosts.sh kill-sshd HOST [--sessions]  stop sshd (and end what is logged in)
#   hosts.sh start-sshd HOST
#
#   hosts.sh reboot HOST               systemctl reboot
#   hosts.sh reset HOST                the reset button (also after a panic)
#   hosts.sh poweroff HOST             pull the plug
#   hosts.sh poweron HOST
#   hosts.sh boot HOST GENERATION      reset it and pick that generation in the boot menu, as someone at the console would
#
#   hosts.sh ssh HOST [COMMAND...]     over the network, as a deployer would
#   hosts.sh exec HOST COMMAND...      past the network, as if at the console
#   hosts.sh root HOST                 its root directory, seen from here
#   hosts.sh log HOST                  its activations, and the console
#
# HOST is a name (node3), a number (3), several in one argument ("1 2 5"), or "all"; where a command follows, one.
# The bed is the one of $BED_STATE.

# shellcheck source=lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

usage() {
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
    exit "${1:-0}"
}

hosts=$BED_STATE/hosts
ssh_config=$BED_STATE/ssh_config

# ---------------------------------------------------------------- the hosts

cgroup_root() {
    local root
    root=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
    [[ -n $root ]] || die "no cgroup2 file system is mounted"
    printf '%s/%s\n' "$root" "$BED_NAME"
}

numbers() {
    local dir
    for dir in "$hosts"/*/; do
        [[ -d $dir ]] && basename "$dir"
    done | sort -n
}

# select_hosts ARGUMENTS... -- the first, and those after it that name hosts, as
# numbers in $selected; how many arguments they were in $taken.  "1 2 5" is one.
select_hosts() {
    selected=() taken=0
    local argument word number
    for argument in "$@"; do
        # A bare number after the first argument is no host ("boot 3 1").
        [[ $taken == 0 || $argument == node* ]] || break
        for word in $argument; do
            case $word in
            all) mapfile -t -O "${#selected[@]}" selected < <(numbers) ;;
            node[0-9]* | [0-9]*)
                number=${word#node}
                [[ $number =~ ^[0-9]+$ && -d $hosts/$number ]] || die "no host $word"
                selected+=("$number")
                ;;
            *) die "no host $word" ;;
            esac
        done
        taken=$((taken + 1))
    done
    ((${#selected[@]})) || die "which host? (see $0 --help)"
}

hw_pid() {
    local pid start
    read -r pid start 2>/dev/null <"$hosts/$1/hw.pid" || return 1
    alive "$pid" "$start" && printf '%s\n' "$pid"
}

# The host's first process as this machine sees it; empty when it is off.
init_pid() {
    local hw children child first=
    hw=$(hw_pid "$1") || return 1
    read -ra children <"/proc/$hw/task/$hw/children" || true
    for child in "${children[@]}"; do
        if [[ $(cat "/proc/$child/comm" 2>/dev/null) == unshare ]]; then
            read -r first _ <"/proc/$child/task/$child/children" || [[ -n $first ]] || return 1
            printf '%s\n' "$first"
            return
        fi
    done
    return 1
}

answers() {
    # An SSH banner, not just an open port.
    timeout 2 bash -c "exec 3<>/dev/tcp/$1/22 && read -r -t 2 line <&3 && [[ \$line == SSH-* ]]" 2>/dev/null
}

# in_host NUMBER COMMAND... -- at the console; no network needed.
in_host() {
    local pid
    pid=$(init_pid "$1") || die "node$1 is off"
    shift
    nsenter -t "$pid" -m -u -i -n -p -r -w /run/current-system/sw/bin/env -i \
        PATH=/run/wrappers/bin:/run/current-system/sw/bin HOME=/root TERM="${TERM:-dumb}" "$@"
}

new_host() {
    local number=$1 seed=$2 dir=$hosts/$1 key upper
    upper=$dir/upper
    mkdir -p "$upper/etc/ssh" "$upper/etc/testbed" "$dir/overlay" "$dir/root"
    key=$upper/etc/ssh/ssh_host_ed25519_key
    ssh-keygen -q -t ed25519 -N '' -C "root@node$number" -f "$key"
    cp "$key.pub" "$dir/host_key.pub"
    echo "node$number" >"$upper/etc/hostname"
    printf 'IFACE=eth0\nADDRESS=%s/24\nGATEWAY=%s\n' "$BED_NET.$number" "$BED_GATEWAY" >"$upper/etc/testbed/network.env"
    chmod 755 "$upper" "$upper/etc" "$upper/etc/ssh" "$upper/etc/testbed"
    mkfifo "$dir/sysrq"
    mkdir -p "$(cgroup_root)/$number"/{hw,host}
    {
        printf '%s=%q\n' seed "$seed" bridge "$BED_BRIDGE" \
            outer "$(outer "$number")" mac "$(mac "$number")" \
            cgroup "$(cgroup_root)/$number" home $$ delay "${BED_BOOT_DELAY:-0.3}"
    } >"$dir/hw.conf"
    # In a session of its own, so that no terminal's Ctrl-C reaches it.
    setsid unshare --net --mount --propagation private \
        "$BED_ROOT/lib/hw.sh" "$dir" </dev/null >"$dir/console.log" 2>&1 &
    printf '%s %s\n' $! "$(start_time $!)" >"$dir/hw.pid"
}

mac() {
    printf '02:77:%02x:00:00:%02x\n' "$BED_NUMBER" "$1"
}

# Takes a number that no other bed on this machine has. The lock is held by this process and by each host's hw.sh, so
# the number is free again when all of them are gone, however they ended.
take_number() {
    local number
    mkdir -p /run/lock "$BED_STATE"
    for ((number = 0; number < 250; number++)); do
        exec 8>"/run/lock/nixmox-bed-$number"
        if flock -n 8; then
            echo "$number" >"$BED_STATE/number"
            # shellcheck source=lib/common.sh
            . "$BED_ROOT/lib/common.sh"
            sweep
            return
        fi
    done
    die "250 beds are up"
}

# systemd holds three inotify instances, and the kernel counts them for each user.
allow_inotify() {
    local limit=/proc/sys/fs/inotify/max_user_instances
    (($(<"$limit") >= 4096)) || echo 4096 >"$limit" 2>/dev/null || true
    (($1 * 3 + 10 <= $(<"$limit"))) || die "too many hosts, unless: sysctl fs.inotify.max_user_instances=4096"
}

up() {
    local count=${1:?how many} number seed
    if [[ ! $count =~ ^[0-9]+$ ]] || ((count < 1 || count > 250)); then
        die "N is 1 to 250"
    fi
    need_root
    need ip bridge tc flock unshare nsenter setpriv setsid ssh-keygen busybox
    [[ ! -e $hosts ]] || die "hosts are up already ($hosts); first: $0 down"
    seed=$(cat "$BED_CACHE/seed" 2>/dev/null) || die "run build.sh first"
    allow_inotify "$count"
    take_number

    mkdir -p "$hosts" "$(cgroup_root)"
    ip link add "$BED_BRIDGE" type bridge
    ip addr add "$BED_GATEWAY/24" dev "$BED_BRIDGE"
    ip link set "$BED_BRIDGE" addrgenmode none up

    for ((number = 1; number <= count; number++)); do
        new_host "$number" "$seed"
    done
    # Known neighbours: a host that is cut off swallows packets, as one behind a router does, instead of becoming "no
    # route to host".
    for ((number = 1; number <= count; number++)); do
        echo "neigh replace $BED_NET.$number lladdr $(mac "$number") dev $BED_BRIDGE nud permanent"
    done | ip -batch -
    write_client_files
    for ((number = 1; number <= count; number++)); do
        poll 60 up_or_dead "$number"
        [[ $(cat "$hosts/$number/power" 2>/dev/null) == on ]] ||
            die "node$number does not come up: $(tail -n 5 "$hosts/$number/console.log")"
    done
}

serve() {
    trap down EXIT
    trap 'exit 1' TERM INT HUP
    up "$@"
    echo up
    cat >/dev/null
}

up_or_dead() {
    answers "$BED_NET.$1" || gone "$1" || powered_off "$1"
}

write_client_files() {
    local number
    for number in $(numbers); do
        printf '%s %s\n' "node$number,$BED_NET.$number" "$(cut -d' ' -f1,2 "$hosts/$number/host_key.pub")"
    done >"$BED_STATE/known_hosts"
    {
        for number in $(numbers); do
            printf 'Host node%s\n    HostName %s\n' "$number" "$BED_NET.$number"
        done
        printf 'Host *\n'
        printf '    %s\n' "User root" "IdentityFile $BED_CLIENT_KEY" "IdentitiesOnly yes" \
            "UserKnownHostsFile $BED_STATE/known_hosts" "GlobalKnownHostsFile /dev/null" \
            "StrictHostKeyChecking yes" "BatchMode yes" "ConnectTimeout 5" "LogLevel ERROR"
    } >"$ssh_config"
}

down() {
    local number pid
    need_root
    [[ -n $BED_NUMBER ]] || return 0
    for number in $(numbers); do
        relay_off "$number"
        if pid=$(hw_pid "$number"); then
            kill -TERM "$pid"
        fi
    done
    for number in $(numbers); do
        poll 10 gone "$number" || note "node$number has to be killed"
    done
    sweep
    rm -rf --one-file-system "$hosts" "$BED_STATE"/{known_hosts,ssh_config,number}
    rmdir "$BED_STATE" 2>/dev/null || true
}

# Removes whatever is left, also of a bed of this number whose keeper was killed.
sweep() {
    local group link
    group=$(cgroup_root)
    if [[ -d $group ]]; then
        echo 1 >"$group/cgroup.kill"
        poll 10 remove_cgroup "$group" || note "$group stays"
    fi
    # The cables go with their namespaces, but not at once: pull them out.
    for link in /sys/class/net/"$BED_NAME"-*; do
        [[ ! -e $link ]] || ip link del "${link##*/}" 2>/dev/null || true
    done
}

gone() {
    ! hw_pid "$1" >/dev/null
}

remove_cgroup() {
    find "$1" -depth -type d -exec rmdir {} + 2>/dev/null
    [[ ! -e $1 ]]
}

# ------------------------------------------------------------------- knobs

outer() {
    printf '%s-h%s\n' "$BED_NAME" "$1"
}

cut_host() {
    if [[ ${2:-} == --unplug ]]; then
        ip link set "$(outer "$1")" down
    elif [[ -e $hosts/$1/relay.pid ]]; then
        # The relay's port is what the bridge sees of a slow host.
        bridge link set dev "$BED_NAME-r$1" state 0
    else
        # The bridge forwards nothing to a port in this state, and takes nothing.
        # ("ip link set ... type bridge_slave state" says yes and does nothing.)
        bridge link set dev "$(outer "$1")" state 0
    fi
}

heal_host() {
    relay_off "$1"
    tc qdisc del dev "$(outer "$1")" root 2>/dev/null || true
    ip link set "$(outer "$1")" up
    # The state "forwarding" can be set only once the carrier is back.
    poll 5 bridge link set dev "$(outer "$1")" state 3 2>/dev/null
}

relay_off() {
    local pid start
    if read -r pid start 2>/dev/null <"$hosts/$1/relay.pid"; then
        if alive "$pid" "$start"; then kill "$pid"; fi
        rm "$hosts/$1/relay.pid"
        ip link del "$BED_NAME-r$1" 2>/dev/null || true
        ip link set "$(outer "$1")" master "$BED_BRIDGE" 2>/dev/null || true
    fi
}

slow_host() {
    local number=$1 delay=${2:?how slow} loss_in=${3:-0} loss_out=${4:-0} seconds
    need python3
    case $delay in
    *ms) seconds=$(awk "BEGIN { print ${delay%ms} / 1000 }") ;;
    *) seconds=${delay%s} ;;
    esac
    [[ $seconds =~ ^[0-9.]+$ ]] || die "a delay is like 200ms or 1.5s"
    relay_off "$number"
    # host --- outer  relay.py  -q --- -r --- bridge
    ip link add "$BED_NAME-r$number" type veth peer name "$BED_NAME-q$number"
    ip link set "$BED_NAME-q$number" addrgenmode none up
    ip link set "$(outer "$number")" nomaster
    setsid "$BED_ROOT/lib/relay.py" "$(outer "$number")" "$BED_NAME-q$number" "$seconds" "${loss_in%\%}" "${loss_out%\%}" \
        </dev/null >"$hosts/$number/relay.log" 2>&1 &
    printf '%s %s\n' $! "$(start_time $!)" >"$hosts/$number/relay.pid"
    ip link set "$BED_NAME-r$number" master "$BED_BRIDGE" addrgenmode none up
}

rate_host() {
    tc qdisc replace dev "$(outer "$1")" root tbf rate "${2:?which rate}" burst 16kb latency 400ms
}

kill_sshd() {
    in_host "$1" systemctl stop sshd
    [[ ${2:-} != --sessions ]] || in_host "$1" systemctl kill sshd
}

# turn_off NUMBER -- pulls the plug, and waits until the host has noticed.
turn_off() {
    rm -f "$hosts/$1/power"
    kill -USR2 "$(hw_pid "$1")"
    poll 60 powered_off "$1" || die "node$1 does not turn off"
}

powered_off() {
    [[ $(cat "$hosts/$1/power" 2>/dev/null) == off ]]
}

boot_generation() {
    local number=$1 generation=${2:?which generation} link system=
    # shellcheck source=/dev/null
    . "$hosts/$number/hw.conf"
    turn_off "$number"
    # shellcheck disable=SC2154  # from hw.conf
    for link in {"$hosts/$number/upper","$seed"}"/nix/var/nix/profiles/system-$generation-link"; do
        if [[ -L $link ]]; then
            system=$(readlink "$link")
            break
        fi
    done
    [[ -n $system ]] || die "node$number has no generation $generation"
    mkdir -p "$hosts/$number/upper/boot/extlinux"
    printf '%s\n' "DEFAULT picked" "LABEL picked" "  APPEND init=$system/init" \
        >"$hosts/$number/upper/boot/extlinux/extlinux.conf"
    kill -USR1 "$(hw_pid "$number")"
}

# --------------------------------------------------------------- reporting

status() {
    local number pid power answer
    for number in $(numbers); do
        power=$(cat "$hosts/$number/power" 2>/dev/null || echo '?')
        answer=-
        pid=$(init_pid "$number") || pid=-
        answers "$BED_NET.$number" && answer=ssh
        printf 'node%-4s %-12s %-4s %-4s pid %-8s %s\n' "$number" "$BED_NET.$number" "$power" "$answer" "$pid" \
            "$([[ $pid == - ]] || readlink "/proc/$pid/root/run/current-system" || true)"
    done
}

show_log() {
    local root
    if root=$(root_of "$1"); then
        cat "$root/var/log/testbed.log" 2>/dev/null || true
    fi
    cat "$hosts/$1/console.log"
}

root_of() {
    local pid
    pid=$(init_pid "$1") || return 1
    printf '/proc/%s/root\n' "$pid"
}

# -------------------------------------------------------------------- main

command=${1:-}
[[ -n $command ]] || usage 2
shift
case $command in
up) up "$@" ;;
down) down ;;
status) status ;;
serve) serve "$@" ;;
ssh)
    select_hosts "${1:-}"
    shift
    exec ssh -F "$ssh_config" "node${selected[0]}" "$@"
    ;;
exec)
    select_hosts "${1:-}"
    shift
    in_host "${selected[0]}" "$@"
    ;;
root)
    select_hosts "${1:-}"
    root_of "${selected[0]}" || die "node${selected[0]} is off"
    ;;
log)
    select_hosts "${1:-}"
    show_log "${selected[0]}"
    ;;
cut | heal | slow | rate | kill-sshd | start-sshd | reboot | reset | poweroff | poweron | boot | wait)
    select_hosts "$@"
    shift "$taken"
    need_root
    for host in "${selected[@]}"; do
        case $command in
        cut) cut_host "$host" "$@" ;;
        heal) heal_host "$host" ;;
        slow) slow_host "$host" "$@" ;;
        rate) rate_host "$host" "$@" ;;
        kill-sshd) kill_sshd "$host" "$@" ;;
        start-sshd) in_host "$host" systemctl start sshd ;;
        reboot) in_host "$host" systemctl reboot ;;
        reset | poweron) kill -USR1 "$(hw_pid "$host")" ;;
        poweroff) turn_off "$host" ;;
        boot) boot_generation "$host" "$@" ;;
        wait) poll "${1:-60}" answers "$BED_NET.$host" || die "node$host does not answer" ;;
        esac
    done
    ;;
-h | --help | help) usage ;;
*) usage 2 ;;
esac
