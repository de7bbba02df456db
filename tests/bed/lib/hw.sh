#!/usr/bin/env bash
# hw.sh HOSTDIR -- the "hardware" of one host.
#
# Holds what outlives a reboot (the network namespace with its cable, the
# disk), and boots the host in fresh namespaces as often as it reboots.
# SIGUSR1 is the reset button, SIGUSR2 pulls the plug, SIGTERM ends it all.
# Runs in the control group HOST/hw and its host in HOST/host, so that nothing
# of them can be lost: see `down` in hosts.sh.
# shellcheck disable=SC2317  # the traps call what looks unreachable
set -uo pipefail

dir=$1
lib=${0%/*}
boot=     # the running boot's unshare process
want=on   # what is to happen when the boot is over: on, off or end
reset=    # whether the reset button ended the boot
told=     # whether it was said that there is no power, since somebody wanted to know

log() {
    printf '%(%FT%T)T hw: %s\n' -1 "$*"
}

# The first process of the host's pid namespace, as the machine sees it.
# Killing it makes the kernel kill everything else in the namespace. Before it
# is there, whoever is about to start it goes.
cut_power() {
    local first=
    [[ -n $boot ]] || return
    read -r first _ <"/proc/$boot/task/$boot/children"
    kill -KILL "${first:-$boot}"
} 2>/dev/null

# The cable: one end here, the other in the bridge.
plug_in() {
    # shellcheck disable=SC2154  # from hw.conf
    ip link add eth0 address "$mac" type veth peer name "$outer" netns "$home" &&
        nsenter -t "$home" -n ip link set "$outer" master "$bridge" addrgenmode none up
}

# What is written to the host's /proc/sysrq-trigger arrives here.
watch_sysrq() {
    local key
    while read -rn 1 key; do
        case $key in
        b) kill -USR1 $$ ;;
        o) kill -USR2 $$ ;;
        esac
    done <>"$dir/sysrq"
}

# Boots once; returns how the first process ended.
run_host() {
    local status=0 uptime
    (
        # shellcheck disable=SC2154  # from hw.conf
        echo "$BASHPID" >"$cgroup/host/cgroup.procs"
        # (A time namespace, so that the uptime is the host's.)
        read -r uptime _ </proc/uptime
        # shellcheck disable=SC2154  # from hw.conf
        exec unshare --pid --mount --uts --ipc --cgroup --time --boottime "-${uptime%.*}" \
            --fork --kill-child --propagation private "$lib/boot.sh" "$dir" "$seed" </dev/null 8>&-
    ) &
    boot=$!
    # A button that was pressed right before that.
    [[ $want == on && -z $reset ]] || cut_power
    # A signal ends `wait`, but not the boot.
    while kill -0 "$boot" 2>/dev/null; do
        wait "$boot"
        status=$?
    done
    boot=
    find "$cgroup/host" -mindepth 1 -depth -type d -exec rmdir {} \; 2>/dev/null
    return "$status"
}

# A function, so that the whole script is read before anything runs.
main() {
    local reader status
    # The settings of this host: seed bridge outer mac cgroup home delay.
    # shellcheck source=/dev/null
    . "$dir/hw.conf"
    echo $$ >"$cgroup/hw/cgroup.procs"
    trap 'want=on; reset=1; cut_power' USR1
    # Bash takes signals that come at once in the order of their numbers, the reset button first. So whoever turns a
    # host off waits until it says so, also when it was off before.
    trap 'want=off told=; cut_power' USR2
    trap 'want=end; cut_power' TERM INT
    if ! plug_in; then
        log "no cable"
        exit 1
    fi
    watch_sysrq &
    reader=$!

    while [[ $want != end ]]; do
        if [[ $want == off ]]; then
            if [[ -z $told ]]; then
                told=1
                echo off >"$dir/power"
            fi
            # Short naps: a button that is pressed right before one is noticed after it.
            sleep 0.2 &
            wait "$!"
            continue
        fi
        told=
        echo on >"$dir/power"
        log "power on"
        reset=
        run_host
        status=$?
        # The kernel tells how the first process of a pid namespace ended: of
        # SIGHUP when the host asked for a reboot, of SIGINT for a power-off.
        # (An unshare whose child is killed may end with another status.)
        case $want:$reset:$status in
        on:1:*) log "reset" ;;
        on::129) log "reboot" ;;
        on::130) want=off && log "power off" ;;
        on::*)
            # It returned: a kernel panic, which waits for the reset button.
            want=off
            log "panic: the first process ended with $status"
            ;;
        esac
        # shellcheck disable=SC2154  # from hw.conf
        [[ $want != on ]] || sleep "$delay"
    done
    kill "$reader" 2>/dev/null
    log "end"
}

main
exit
