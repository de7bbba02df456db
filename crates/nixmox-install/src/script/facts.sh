
# One line a fact.
facts() {
    say boot_id "$(cat /proc/sys/kernel/random/boot_id)"
    say arch "$(uname -m)"
    say system "$(uname -s)"
    say uid "$(id -u)"
    say clock "$(date +%s)"
    say memory_kib "$(sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p' /proc/meminfo)"
    say os "$(os_release ID)"
    say variant "$(os_release VARIANT_ID)"
    if [ -d /sys/firmware/efi ]; then say firmware efi; else say firmware bios; fi
    for _tool in nix nix-store lsblk findmnt setsid unshare chroot ssh-keygen kexec ip sha256sum tar systemctl; do
        ! has "$_tool" || say tool "$_tool"
    done
    say container "$(container)"
    say kexec_disabled "$(cat /proc/sys/kernel/kexec_load_disabled 2>/dev/null)"
    say lockdown "$(sed -n 's/.*\[\(.*\)\].*/\1/p' /sys/kernel/security/lockdown 2>/dev/null)"
    say disko_test "${IN_DISKO_TEST:+yes}"
    say machine_serial "$(cat /sys/class/dmi/id/product_serial 2>/dev/null)"
    say current_system "$(readlink -f /run/current-system 2>/dev/null)"
    if mounted "$root"; then say mounted yes; else say mounted no; fi
    [ ! -r "$marker" ] || say marker "$(head -c 4096 "$marker" | tr -d '\n')"
    for _run in "$base"/*/; do
        [ -d "$_run" ] || continue
        _run=${_run%/}
        for _job in "$_run"/jobs/*/; do
            [ -d "$_job" ] || continue
            _job=${_job%/}
            say job "${_run##*/} ${_job##*/} $(job_state "$_job")"
        done
        [ ! -e "$_run/formatted" ] || say formatted "${_run##*/}"
        [ ! -e "$_run/finished" ] || say finished "${_run##*/} $(cat "$_run/finished")"
    done
}

os_release() {
    sed -n "s/^$1=\"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p" /etc/os-release 2>/dev/null
}

container() {
    if has systemd-detect-virt; then
        systemd-detect-virt --container 2>/dev/null | grep -v '^none$'
    elif [ -e /run/.containerenv ] || [ -e /.dockerenv ] || [ -n "${container:-}" ]; then
        echo yes
    fi
}

# Disks and what is on them, then where names lead to, then numbers that lsblk may not know.
disks() {
    has lsblk || refuse tool lsblk
    has udevadm && udevadm settle 2>/dev/null
    lsblk --json --bytes --output NAME,PATH,TYPE,SIZE,SERIAL,WWN,MODEL,RO,RM,FSTYPE,MOUNTPOINT || refuse lsblk "it failed"
    echo
    for _device in "$@"; do
        say device "$_device $(readlink -f "$_device" 2>/dev/null)"
    done
    for _disk in /sys/block/*/; do
        _disk=${_disk%/}
        for _file in serial device/serial; do
            [ -r "$_disk/$_file" ] || continue
            say serial "${_disk##*/} $(head -c 200 "$_disk/$_file" | tr -d '\n')"
            break
        done
    done
}

mounts() {
    has findmnt || refuse tool findmnt
    mounted "$root" || refuse not-mounted "$root"
    findmnt --json --list --submounts --output TARGET,SOURCE,FSTYPE,OPTIONS,UUID,LABEL,PARTUUID,PARTLABEL "$root"
    echo
    _system=${1:-}
    if [ -n "$_system" ] && [ -r "$root$_system/etc/fstab" ]; then
        grep -v '^ *#' "$root$_system/etc/fstab" | while read -r _source _target _type _rest; do
            [ -z "${_target:-}" ] || say fstab "$_source $_target $_type"
        done
    fi
    # What was copied before an interruption is part of what there is room for.
    say room_kib "$(df -Pk "$root" | awk 'NR == 2 { print $3 + $4 }')"
}
