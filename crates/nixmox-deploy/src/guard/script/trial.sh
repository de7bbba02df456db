# -------------------------------------------------------- a system that is booted once

# A kernel that does not boot cannot go back by itself. So what lasts still names the old system when the machine
# reboots; its loader boots the new one once, and only when that was seen to run it becomes the one that boots.

# is_to_be_tried -- asked for, possible, and not done yet.
is_to_be_tried() {
    asked trial && [ "$value" = yes ] && [ ! -e "$dir/tried" ] && can_boot_once
}

# try_boot -- reboots into the new system, of which there is a generation.
try_boot() {
    fact old || return 1
    old=$value
    # The old system's own menu: the old one is the default, and every generation is in it.
    "$old/bin/switch-to-configuration" boot || return 1
    if [ "$(boot_default)" != "$old" ]; then
        note "the loader boots $(boot_default), not $old"
        return 1
    fi
    fact profile && [ -n "$value" ] && point_profile "$value" || return 1
    boot_once "$new" || {
        note "the menu has no entry for $new"
        return 1
    }
    : >"$dir/tried" && to_disk "$dir/tried"
    disarm limit
    arm limit 300 due || note "no timer for a reboot that does not begin"
    enter trying
    rm -f "$dir/confirmed"
    reboot_machine
}

reboot_machine() {
    sync
    if with_systemd; then
        systemctl reboot || systemctl reboot --force --force
    else
        shutdown -r now
    fi
}

# tried -- the machine runs the new system in another boot: it waits for confirmations, as after any activation.
tried() {
    note "it has booted $new"
    take_lock
    asked confirmation || value=60
    arm confirm "$value" due || note "no timer for the confirmations"
    enter awaiting
}

# point_profile LINK -- has the profile name a generation that is there.
point_profile() {
    [ "$(readlink "$profile")" != "$1" ] || return 0
    ln -sfn "$1" "$profile.nixmox" && move_link "$profile.nixmox" "$profile" && to_disk "${profile%/*}"
}

# drop_generation LINK -- takes a generation away that was only tried.
drop_generation() {
    case $1 in
    "${profile##*/}"-*-link) ;;
    *) return 0 ;;
    esac
    [ "$(readlink "$profile")" = "$1" ] || rm -f "${profile%/*}/$1"
}
