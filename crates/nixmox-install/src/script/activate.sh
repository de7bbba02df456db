
# valid SYSTEM -- is every path of the system's closure in the new store?
valid() {
    if has nix-store; then
        nix-store --store "$root" --query --requisites "$1" >/dev/null
    else
        [ -e "$root$1/init" ] || [ -e "$root$1/activate" ]
    fi
}

# build DERIVATION -- in the new store.
build() {
    nix-store --store "$root" --realise "$1"
}

# verify -- looks at every file of the new store; what a crash has left broken is taken out of it, to be copied again.
verify() {
    has nix-store || return 0
    [ -d "$root/nix/store" ] || return 0
    nix-store --store "$root" --verify --check-contents >"$dir/verified" 2>&1
    cat "$dir/verified"
    _broken=$(sed -n "s/.*path '\(\/nix\/store\/[^']*\)' .*\(modified\|disappeared\).*/\1/p" "$dir/verified" | sort -u)
    rm -f "$dir/verified"
    [ -n "$_broken" ] || return 0
    # shellcheck disable=SC2086  # store paths have no spaces
    _broken=$(nix-store --store "$root" --query --referrers-closure $_broken)
    # shellcheck disable=SC2086
    nix-store --store "$root" --delete --ignore-liveness $_broken
}

# activate SYSTEM ACCEPT -- makes the system the one that boots. Status 71: its activation failed; 72: its boot loader.
activate() {
    mounted "$root" || refuse not-mounted "$root"
    umask 022
    chmod 0755 "$root"
    set_profile "$1" || return 73
    mkdir -p "$root/etc" "$root/tmp" "$root/dev" "$root/proc" "$root/sys" "$root/run"
    chmod 1777 "$root/tmp"
    [ -L "$root/etc/NIXOS" ] || : >>"$root/etc/NIXOS"
    ln -sfn /proc/mounts "$root/etc/mtab"
    unshare --mount --uts --pid --fork sh "$self" inside "$run" "$1" "${2:-no}"
}

# set_profile SYSTEM -- with Nix, or with the links that it would make.
set_profile() {
    _profiles=$root/nix/var/nix/profiles
    if has nix-env; then
        nix-env --store "$root" -p "$_profiles/system" --set "$1"
        return
    fi
    mkdir -p "$_profiles" "$root/nix/var/nix/gcroots"
    ln -sfn "$1" "$_profiles/system-1-link" && ln -sfn system-1-link "$_profiles/system" &&
        ln -sfn /nix/var/nix/profiles "$root/nix/var/nix/gcroots/profiles"
}

# inside SYSTEM ACCEPT -- the same, in namespaces of its own.
inside() {
    _chroot=$(command -v chroot)
    mount --make-rprivate / 2>/dev/null
    mount --rbind /dev "$root/dev" && mount --rbind /sys "$root/sys" && mount -t proc proc "$root/proc" &&
        mount -t tmpfs -o mode=0755 tmpfs "$root/run" || return 73
    _path=/run/current-system/sw/bin:$1/sw/bin
    env -i PATH="$_path" IN_NIXOS_ENTER=1 LOCALE_ARCHIVE="$1/sw/lib/locale/locale-archive" \
        "$_chroot" "$root" "$1/activate"
    _status=$?
    if [ $_status -ne 0 ]; then
        echo "the activation ended with $_status"
        [ "$2" = accept ] && [ -e "$root/etc/os-release" ] || return 71
    fi
    tell_nix "$1" || return 73
    env -i PATH="$_path" NIXOS_INSTALL_BOOTLOADER=1 NIXOS_NO_CHECK=1 \
        "$_chroot" "$root" "$1/bin/switch-to-configuration" boot
    _status=$?
    if [ $_status -ne 0 ]; then
        echo "the boot loader was not installed: switch-to-configuration ended with $_status"
        return 72
    fi
    sync
}

# tell_nix SYSTEM -- its Nix hears of paths that came as an archive.
tell_nix() {
    [ -e "$registration" ] || return 0
    # A link of a system leads to a path of the store, which is not here but in the new root.
    case $(readlink "$root$1/sw" 2>/dev/null) in
    /*) _sw=$root$(readlink "$root$1/sw") ;;
    *) _sw=$root$1/sw ;;
    esac
    [ -e "$_sw/bin/nix-store" ] || [ -L "$_sw/bin/nix-store" ] || return 0
    mkdir -p "$root/nix/var/nix/db"
    env -i PATH="$_path" "$_chroot" "$root" "$1/sw/bin/nix-store" --load-db <"$registration" || {
        echo "the new system's Nix does not take the list of its paths"
        return 1
    }
    rm -f "$registration"
}

# ready SYSTEM -- is the new system whole? One line for everything that is not so.
ready() {
    mounted "$root" || refuse not-mounted "$root"
    _named=$(readlink -f "$root/nix/var/nix/profiles/system" 2>/dev/null)
    _linked=$(readlink "$root/nix/var/nix/profiles/$(readlink "$root/nix/var/nix/profiles/system")" 2>/dev/null)
    [ "$_named" = "$root$1" ] || [ "$_linked" = "$1" ] || say missing "profile"
    for _file in kernel initrd; do
        [ ! -e "$root$1/$_file" ] && [ ! -L "$root$1/$_file" ] && continue
        find "$root/boot" -type f 2>/dev/null | grep -q . || {
            say missing "/boot"
            break
        }
    done
    [ -e "$root$1/init" ] || say missing "$1/init"
    # The activation may make it a link that leads nowhere from here.
    [ -L "$root/etc/NIXOS" ] || [ -e "$root/etc/NIXOS" ] || say missing "/etc/NIXOS"
    say checked yes
}
