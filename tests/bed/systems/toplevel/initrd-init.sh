#!/bin/busybox sh
# The initrd's init -- stage 1: load modules, find the root, hand over.
#
#   root=LABEL=... | UUID=... | /dev/...    the installed system's root
#   init=...                                what to run there
#   bed.squashfs=search or /file            a read-only root instead, with a RAM disk over it: the installer
# shellcheck shell=sh

/bin/busybox --install -s /bin
export PATH=/bin

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs -o mode=0755,nosuid,nodev tmpfs /run

@initrdCommands@

fail() {
    echo "stage 1: $*" >&2
    # Somebody may be watching the console; then the kernel panics.
    sleep 2
    exit 1
}

while read -r module; do
    insmod "/modules/$module" || echo "stage 1: $module does not load" >&2
done </modules/modules.order

root='' squashfs='' init=/sbin/init
read -r cmdline </proc/cmdline
for word in $cmdline; do
    case $word in
    root=*) root=${word#root=} ;;
    init=*) init=${word#init=} ;;
    bed.squashfs=*) squashfs=${word#bed.squashfs=} ;;
    esac
done

# resolve SPEC -- wait for the device that SPEC names; prints it.
resolve() {
    for _ in $(seq 100); do
        case $1 in
        LABEL=* | UUID=*) _device=$(findfs "$1" 2>/dev/null) ;;
        *) _device=$1 ;;
        esac
        [ -n "$_device" ] && [ -e "$_device" ] && echo "$_device" && return
        sleep 0.1
    done
    return 1
}

# Whichever disk is a squashfs.
search() {
    for _ in $(seq 100); do
        for _device in /dev/vd? /dev/sd?; do
            [ "$(head -c 4 "$_device" 2>/dev/null)" = hsqs ] && echo "$_device" && return
        done
        sleep 0.1
    done
    return 1
}

if [ -n "$squashfs" ]; then
    if [ "$squashfs" = search ]; then
        device=$(search) || fail "no installer medium"
    else
        device=$squashfs
    fi
    mkdir -p /lower /ram
    # A file (after kexec) is in RAM already: loop over it.
    mount -t squashfs -o ro "$device" /lower || fail "cannot mount $device"
    mount -t tmpfs -o mode=0755,size=80% tmpfs /ram
    mkdir -p /ram/upper /ram/work
    mount -t overlay -o lowerdir=/lower,upperdir=/ram/upper,workdir=/ram/work overlay /sysroot ||
        fail "cannot mount the overlay"
    # What was appended to the initrd for the installer, in the places where nixos-images has it.
    [ ! -d /ssh ] || { mkdir -m 700 /run/handover && cp -R /ssh /run/handover/; }
else
    device=$(resolve "$root") || fail "no root $root"
    mount "$device" /sysroot || fail "cannot mount $device"
fi

mkdir -p /sysroot/proc /sysroot/sys /sysroot/dev /sysroot/run
for dir in proc sys dev run; do
    mount -o move "/$dir" "/sysroot/$dir"
done
exec switch_root /sysroot "$init"
