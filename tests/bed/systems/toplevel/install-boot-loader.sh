#!@tools@/bin/busybox sh
# install-boot-loader -- make this system the one that boots next, with a menu of all generations, in the form of
# NixOS's generic-extlinux-compatible. The "firmware" (lib/boot.sh) reads it; kernels are left out, since a host has
# none.
# shellcheck shell=sh

set -e
export PATH=@tools@/bin
system=@out@

@installBootLoader@

# entry LABEL TITLE SYSTEM
entry() {
    echo
    echo "LABEL $1"
    echo "  MENU LABEL $2"
    echo "  APPEND init=$3/init $(cat "$3/kernel-params")"
}

mkdir -p /boot/extlinux
{
    echo "# Generated file, all changes will be lost on nixos-rebuild!"
    echo "DEFAULT nixos-default"
    echo "TIMEOUT 50"
    entry nixos-default "NixOS - Default" "$system"
    for _link in $(printf '%s\n' /nix/var/nix/profiles/system-*-link | sort -t- -k2 -n -r | head -n 20); do
        [ -e "$_link/init" ] || continue
        _number=${_link%-link}
        _number=${_number##*-}
        entry "nixos-$_number-default" "NixOS - Configuration $_number" "$(readlink -f "$_link")"
    done
} >/boot/extlinux/extlinux.conf.new
# (Nothing waits for a disk here: a host's "power cut" loses no page that the machine holds.)
mv /boot/extlinux/extlinux.conf.new /boot/extlinux/extlinux.conf
