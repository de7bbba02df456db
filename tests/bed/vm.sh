#!/usr/bin/env bash
# vm.sh -- emulated machines: with blank disks, a BIOS, an installer that boots from a CD, and a serial console.
#
#   vm.sh serve NAME [OPTION...]   a machine; says "up" when its sshd answers, and ends it when its standard input ends,
#                                  whatever became of who started it. Nothing stays.
#   vm.sh up NAME [OPTION...]      the same, until
#   vm.sh down [NAME...]           ends machines (all of them) and deletes their disks
#       --port P                   SSH on 127.0.0.1:P (default: a free one from 10022 on)
#       --disk SIZE[:SERIAL]       a disk; again for more (default: 3G:disk0, then :disk1 and so on)
#       --memory SIZE              (default 1536M)
#       --as debian                no installer, but some Debian: no Nix, nothing of NixOS
#       --keys FILE                a second initrd for the installer, with its keys
#       --no-medium                nothing to boot from but the disk
#   vm.sh wait NAME [SECONDS]      until its sshd answers
#   vm.sh status                   one line for each machine
#   vm.sh ssh NAME [COMMAND...]    asks nobody whose key that is
#   vm.sh console NAME             what its console said
#
#   vm.sh reset NAME               pushes the reset button
#   vm.sh off NAME                 pulls the plug; the disks stay
#   vm.sh on NAME [--no-medium]    turns it on again
#   vm.sh cut NAME                 pulls its network cable out
#   vm.sh heal NAME                plugs it in again
#
# Its BIOS tries the first disk, then the CD: a blank machine boots the installer, an installed one its disk. It reaches
# nothing. Machines live in $BED_STATE/machines. BED_ACCEL=kvm makes them fast, where KVM works.

# shellcheck source=lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

root=$BED_CACHE/root-$BED_SUITE
# shellcheck source=lib/medium.sh
. "$BED_ROOT/lib/medium.sh"

usage() {
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
    exit "${1:-0}"
}

machines=$BED_STATE/machines
medium=$BED_CACHE/medium

machine_pid() {
    local pid start
    read -r pid start 2>/dev/null <"$machines/$1/pid" || return 1
    alive "$pid" "$start" && printf '%s\n' "$pid"
}

known() {
    [[ -n ${1:-} && -d $machines/$1 ]] || die "no machine ${1:-}"
}

# The emulated network accepts connections also when nobody is there: only sshd's banner is an answer.
answers() {
    timeout 3 bash -c "exec 3<>/dev/tcp/127.0.0.1/$1 && read -r -t 2 line <&3 && [[ \$line == SSH-* ]]" 2>/dev/null
}

free_port() {
    local port=10022
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || grep -qsx "$port" "$machines"/*/port; do
        port=$((port + 1))
    done
    printf '%s\n' "$port"
}

# monitor NAME COMMAND -- tells QEMU something.
monitor() {
    machine_pid "$1" >/dev/null || die "$1 is off"
    printf '%s\n' "$2" >"$machines/$1/monitor.in"
}

# start NAME -- with what its files say.
start() {
    local dir=$machines/$1 number=0 disk serial arguments port memory as with_medium iso=
    # shellcheck source=/dev/null
    . "$dir/settings"
    # shellcheck disable=SC2054  # QEMU's commas
    arguments=(
        -name "$1" -display none -no-user-config -nodefaults -machine pc,usb=off
        -accel "${BED_ACCEL:-tcg,thread=multi,tb-size=256}" -cpu max -smp 2 -m "$memory"
        -chardev "file,id=console,path=$dir/console.log,append=on" -serial chardev:console
        -chardev "pipe,id=monitor,path=$dir/monitor" -mon chardev=monitor
        # restrict: it reaches nothing, we reach it.
        -netdev "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:$port-:22"
        -device "virtio-net-pci,id=nic,netdev=net,romfile="
        -device virtio-rng-pci -smbios "type=1,serial=$as"
    )
    for disk in "$dir"/disk*.raw; do
        serial=$(<"${disk%.raw}.serial")
        arguments+=(-drive "if=none,id=disk$number,file=$disk,format=raw,cache=unsafe,discard=unmap"
            -device "virtio-blk-pci,drive=disk$number,serial=$serial,bootindex=$number")
        number=$((number + 1))
    done
    [[ $with_medium == no ]] ||
        arguments+=(-drive "if=none,id=cd,media=cdrom,file=${iso:-$medium/installer.iso},format=raw,readonly=on"
            -device "ide-cd,drive=cd,bootindex=$number"
            -drive "if=none,id=squashfs,file=$medium/installer.squashfs,format=raw,readonly=on"
            -device "virtio-blk-pci,drive=squashfs,serial=installer")
    setsid qemu-system-x86_64 "${arguments[@]}" </dev/null >"$dir/qemu.log" 2>&1 &
    printf '%s %s\n' $! "$(start_time $!)" >"$dir/pid"
}

create() {
    local name=${1:?name} dir disk number=0 port='' memory=1536M as=installer with_medium=yes keys='' disks=()
    shift
    while (($#)); do
        case $1 in
        --port) port=${2:?} && shift 2 ;;
        --disk) disks+=("${2:?}") && shift 2 ;;
        --memory) memory=${2:?} && shift 2 ;;
        --as) as=${2:?} && shift 2 ;;
        --keys) keys=${2:?} && shift 2 ;;
        --no-medium) with_medium=no && shift ;;
        *) usage 2 ;;
        esac
    done
    dir=$machines/$name
    [[ ! -e $dir ]] || die "$name is there already; first: $0 down $name"
    mkdir -p "$dir"
    ((${#disks[@]})) || disks=(3G)
    for disk in "${disks[@]}"; do
        truncate -s "${disk%%:*}" "$dir/disk$number.raw"
        [[ $disk == *:* ]] || disk=$disk:disk$number
        printf '%s\n' "${disk#*:}" >"$dir/disk$number.serial"
        number=$((number + 1))
    done
    [[ -n $port ]] || port=$(free_port)
    echo "$port" >"$dir/port"
    settings "$dir" port "$port" memory "$memory" as "$as" with_medium "$with_medium"
    [[ -z $keys ]] || medium_with_keys "$dir" "$keys"
    : >"$dir/console.log"
    mkfifo "$dir/monitor.in" "$dir/monitor.out"
}

# medium_with_keys DIR KEYS -- a CD of its own, which loads one more initrd.
medium_with_keys() {
    local dir=$1 keys=$2
    local xorriso=(from_root xorriso -report_about SORRY)
    "${xorriso[@]}" -osirrox on -indev "$medium/installer.iso" -extract /isolinux.cfg "$dir/isolinux.cfg"
    chmod u+w "$dir/isolinux.cfg"
    sed -i 's|INITRD /initrd|INITRD /initrd,/keys|' "$dir/isolinux.cfg"
    "${xorriso[@]}" -indev "$medium/installer.iso" -outdev "$dir/installer.iso" -boot_image any replay \
        -map "$keys" /keys -update "$dir/isolinux.cfg" /isolinux.cfg
    settings "$dir" iso "$dir/installer.iso"
}

# settings DIR NAME VALUE...
settings() {
    local dir=$1
    shift
    printf '%s=%q\n' "$@" >>"$dir/settings"
}

up() {
    need qemu-system-x86_64
    [[ -e $medium/installer.iso ]] || die "run build.sh first"
    create "$@"
    write_client_files
    start "$1"
    wait_for "$1"
}

serve() {
    # shellcheck disable=SC2064  # the name of now
    trap "down '${1:?name}'" EXIT
    trap 'exit 1' TERM INT HUP
    up "$@"
    echo up
    cat >/dev/null
}

# Nobody knows the key that an installer made for itself; whoever tests keys has settings of his own.
write_client_files() {
    local dir
    {
        for dir in "$machines"/*/; do
            printf 'Host %s\n    HostName 127.0.0.1\n    Port %s\n' "$(basename "$dir")" "$(<"$dir/port")"
        done
        printf 'Host *\n'
        printf '    %s\n' "User root" "IdentityFile $BED_CLIENT_KEY" "IdentitiesOnly yes" "BatchMode yes" \
            "UserKnownHostsFile /dev/null" "StrictHostKeyChecking no" "LogLevel ERROR" "ConnectTimeout 8" \
            "ServerAliveInterval 5" "ServerAliveCountMax 4"
    } >"$machines/ssh_config"
}

wait_for() {
    local deadline=$((SECONDS + ${2:-300})) port
    port=$(<"$machines/$1/port")
    until answers "$port"; do
        machine_pid "$1" >/dev/null || die "$1 has ended: $(tail -n 3 "$machines/$1/qemu.log")"
        ((SECONDS < deadline)) || die "$1 does not answer: $(tail -n 20 "$machines/$1/console.log")"
        sleep 0.2
    done
}

off() {
    local pid
    pid=$(machine_pid "$1") || return 0
    kill "$pid"
    poll 10 ended "$1" || kill -KILL "$pid"
}

ended() {
    ! machine_pid "$1" >/dev/null
}

on() {
    ended "$1" || die "$1 is on"
    [[ ${2:-} != --no-medium ]] || settings "$machines/$1" with_medium no
    start "$1"
}

names() {
    local dir
    for dir in "$machines"/*/; do
        [[ -d $dir ]] && basename "$dir"
    done
    return 0
}

down() {
    local name
    for name in "$@"; do
        off "$name"
        rm -rf "${machines:?}/$name"
    done
    rm -f "$machines/ssh_config"
    if ! rmdir "$machines" 2>/dev/null && [[ -d $machines ]]; then
        write_client_files
    fi
    rmdir "$BED_STATE" 2>/dev/null || true
}

status() {
    local name pid answer port
    for name in $(names); do
        pid=$(machine_pid "$name") || pid=off
        port=$(<"$machines/$name/port")
        answer=-
        answers "$port" && answer=ssh
        printf '%-12s 127.0.0.1:%-6s pid %-8s %s\n' "$name" "$port" "$pid" "$answer"
    done
}

command=${1:-}
[[ -n $command ]] || usage 2
shift
case $command in
serve) serve "$@" ;;
up) up "$@" ;;
down)
    if (($#)); then
        down "$@"
    else
        mapfile -t all < <(names)
        down "${all[@]}"
    fi
    ;;
status) status ;;
-h | --help | help) usage ;;
*)
    known "${1:-}"
    case $command in
    wait) wait_for "$@" ;;
    ssh) exec ssh -F "$machines/ssh_config" "$@" ;;
    console) cat "$machines/$1/console.log" ;;
    reset) monitor "$1" system_reset ;;
    off) off "$1" ;;
    on) on "$@" ;;
    cut) monitor "$1" "set_link nic off" ;;
    heal) monitor "$1" "set_link nic on" ;;
    *) usage 2 ;;
    esac
    ;;
esac
