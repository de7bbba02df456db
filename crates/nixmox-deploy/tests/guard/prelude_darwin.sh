# What a scenario has on a machine that says that it is a Mac: an old and a new system of nix-darwin, of which the old one
# runs, and the script as $guard. $1 is the shell, $2 the script. What Macs do not have says so when it is called.
set -eu
PATH=/usr/bin:/bin
old=/nix/store/00000000000000000000000000000000-old
new=/nix/store/11111111111111111111111111111111-new
mkdir -p /nix/store /nix/var/nix/profiles /nix/var/nix/gcroots /var/run /var/db /var/log

# program NAME -- its text is read.
program() {
    { echo '#!/bin/sh' && cat; } >"$bin/$1"
    chmod 755 "$bin/$1"
}

# system PATH -- what its activation does is in $PATH/fault: a script that runs before everything else.
system() {
    bin=$1/sw/bin
    mkdir -p "$bin"
    cat >"$1/activate" <<__end__
#!/bin/sh
echo "\${0%/activate}" >>/var/log/switches
[ ! -e "$1/fault" ] || . "$1/fault"
ln -sfn "$1" /run/current-system
__end__
    chmod 755 "$1/activate"
    ln -s "$shell" "$bin/sh"
    program uname <<'__end__'
echo Darwin
__end__
    program sysctl <<'__end__'
case $2 in
kern.bootsessionuuid) cat /var/boot ;;
kern.boottime) echo '{ sec = 1700000000, usec = 5 } Tue Nov 14 22:13:20 2023' ;;
esac
__end__
    program nix-env <<'__end__'
ln -sfn "$4" "$2-2-link"
ln -sfn system-2-link "$2"
__end__
    program only-linux <<'__end__'
echo "${0##*/} $*" >>/var/log/only-linux
exit 127
__end__
    for _name in flock setsid timeout sha256sum systemctl systemd-run realpath ip; do
        ln -s only-linux "$bin/$_name"
    done
    program mv <<'__end__'
case $1 in
-*T*) echo "mv $*" >>/var/log/only-linux && exit 64 ;;
esac
exec /usr/bin/mv "$@"
__end__
}

shell=$(command -v "$1")
guard="$shell $2"
system "$old"
system "$new"
echo first >/var/boot
ln -s "$old" /run/current-system
ln -s "$old" /nix/var/nix/profiles/system-1-link
ln -s system-1-link /nix/var/nix/profiles/system

# settled SYSTEM -- all of the machine is on it, and nothing is left over.
settled() {
    is current "$1" "$(readlink /run/current-system)"
    is profile "$1" "$(readlink -f /nix/var/nix/profiles/system)"
    _left=100
    while [ "$_left" -gt 0 ] && [ "$(ls /nix/var/nix/gcroots/nixmox)$(ls -d /var/run/nixmox/lock /var/run/nixmox/mutex.d 2>/dev/null)" ]; do
        sleep 0.1
        _left=$((_left - 1))
    done
    is roots '' "$(ls /nix/var/nix/gcroots/nixmox)"
    is lock '' "$(ls -d /var/run/nixmox/lock /var/run/nixmox/mutex.d 2>/dev/null || true)"
    is foreign '' "$(cat /var/log/only-linux 2>/dev/null || true)"
}
