# What a scenario has: an old and a new system, of which the old one runs, and the script as $guard.
# $1 is the shell, $2 the script.
set -eu
PATH=/usr/bin:/bin
old=/nix/store/00000000000000000000000000000000-old
new=/nix/store/11111111111111111111111111111111-new
mkdir -p /run/nixos /nix/store /nix/var/nix/profiles /boot/extlinux /var/log

# system PATH -- what it does is in $PATH/fault: a script that runs before everything else.
system() {
    mkdir -p "$1/bin" "$1/sw/bin"
    : >"$1/init"
    cat >"$1/bin/switch-to-configuration" <<__end__
#!/bin/sh
if [ "\$1" = check ]; then
    [ -e "$1/check" ] || { echo "Usage: \$0 [switch|boot|test|dry-activate]" >&2; exit 1; }
    . "$1/check"
    exit 0
fi
echo "\${0%/bin/*} \$1" >>/var/log/switches
exec 9>/run/nixos/switch-to-configuration.lock
flock -n 9 || exit 1
[ ! -e "$1/fault" ] || . "$1/fault"
case \$1 in
test | switch) ln -sfn "$1" /run/current-system ;;
esac
case \$1 in
boot | switch) printf 'DEFAULT it\nLABEL it\nAPPEND init=%s/init\n' "$1" >/boot/extlinux/extlinux.conf ;;
esac
exit 0
__end__
    chmod 755 "$1/bin/switch-to-configuration"
    ln -s "$shell" "$1/sw/bin/sh"
    cat >"$1/sw/bin/nix-env" <<'__end__'
#!/bin/sh
ln -sfn "$4" "$2-2-link"
ln -sfn system-2-link "$2"
__end__
    printf '#!/bin/sh\n' >"$1/sw/bin/nix-store"
    chmod 755 "$1/sw/bin/nix-env" "$1/sw/bin/nix-store"
}

shell=$(command -v "$1")
[ "${shell##*/}" != busybox ] || {
    # By its name it knows which applet it is.
    ln -s "$shell" /tmp/sh
    shell=/tmp/sh
}
guard="$shell $2"
system "$old"
system "$new"
ln -s "$old" /run/current-system
ln -s "$old" /run/booted-system
ln -s "$old" /nix/var/nix/profiles/system-1-link
ln -s system-1-link /nix/var/nix/profiles/system
"$old/bin/switch-to-configuration" boot
rm /var/log/switches
: >/var/log/switches

# settled SYSTEM -- all of the machine is on it, and nothing is left over.
settled() {
    is current "$1" "$(readlink /run/current-system)"
    is profile "$1" "$(readlink -f /nix/var/nix/profiles/system)"
    is boot "APPEND init=$1/init" "$(tail -n 1 /boot/extlinux/extlinux.conf)"
    # What it kept for this is given up right after it is over.
    _left=100
    while [ "$_left" -gt 0 ] && [ "$(ls /nix/var/nix/gcroots/nixmox)$(ls /run/nixmox/lock 2>/dev/null)" ]; do
        sleep 0.1
        _left=$((_left - 1))
    done
    is roots '' "$(ls /nix/var/nix/gcroots/nixmox)"
    is lock no "$([ -e /run/nixmox/lock ] && echo yes || echo no)"
}
