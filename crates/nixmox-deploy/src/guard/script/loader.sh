# ------------------------------------------------------------- what the boot loader does

# loader -- which one decides what boots.
loader() {
    if [ -r /boot/loader/loader.conf ]; then
        echo systemd-boot
    elif [ -r /boot/grub/grub.cfg ]; then
        echo grub
    elif [ -r /boot/extlinux/extlinux.conf ]; then
        echo extlinux
    elif [ -L /sbin/init ]; then
        echo init
    fi
}

# boot_default -- the system that boots when nobody chooses, as far as its loader can be read.
boot_default() {
    case $(loader) in
    systemd-boot)
        _entry=$(awk '$1 == "default" { print $2 }' /boot/loader/loader.conf | tail -n 1)
        [ -r "/boot/loader/entries/${_entry%.conf}.conf" ] &&
            init_of "/boot/loader/entries/${_entry%.conf}.conf"
        ;;
    grub) init_of /boot/grub/grub.cfg ;;
    extlinux)
        awk '$1 == "DEFAULT" { wanted = $2 }
            $1 == "LABEL" { label = $2 }
            $1 == "APPEND" && label == wanted { print }' /boot/extlinux/extlinux.conf | init_of -
        ;;
    init) readlink /sbin/init | sed -n 's|^\(/nix/store/[^/]*\)/init$|\1|p' ;;
    esac
}

# init_of FILE -- the first system that it names.
init_of() {
    sed -n 's|.*[ "=]\{0,1\}init=\(/nix/store/[^/ ]*\)/init.*|\1|p' "$1" | head -n 1
}

# can_boot_once -- whether the loader can boot an entry once, and forgets that by itself before it does.
can_boot_once() {
    case $(loader) in
    systemd-boot) [ -d /sys/firmware/efi/efivars ] && command -v bootctl >/dev/null ;;
    grub)
        command -v grub-editenv >/dev/null && [ -s /boot/grub/grubenv ] &&
            grep -q 'save_env next_entry' /boot/grub/grub.cfg && grub_can_write
        ;;
    *) return 1 ;;
    esac
}

# GRUB cannot write to what is made of several disks, nor to most file systems: there it would never forget.
grub_can_write() {
    case $(findmnt -n -r -o FSTYPE,SOURCE -T /boot/grub 2>/dev/null) in
    *' /dev/mapper/'* | *' /dev/dm-'* | *' /dev/md'*) return 1 ;;
    'ext'[234]' /dev/'* | 'vfat /dev/'* | 'xfs /dev/'*) ;;
    *) return 1 ;;
    esac
}

# boot_once SYSTEM -- it is what boots next, and only then. Its entry has to be in the menu.
boot_once() {
    case $(loader) in
    systemd-boot)
        _entry=$(grep -lE "init=$1/init( |\$)" /boot/loader/entries/*.conf 2>/dev/null | head -n 1)
        [ -n "$_entry" ] && bootctl set-oneshot "${_entry##*/}"
        ;;
    grub)
        _entry=$(grub_entry "$1" </boot/grub/grub.cfg)
        [ -n "$_entry" ] && grub-editenv /boot/grub/grubenv set "next_entry=$_entry" && to_disk /boot/grub/grubenv
        ;;
    *) return 1 ;;
    esac
}

# grub_entry SYSTEM <MENU -- where it is in the menu: 1>0 is the first entry of the second menu.
grub_entry() {
    awk -v init="init=$1/init" '
        $1 == "menuentry" || $1 == "submenu" { place[depth + 0] = count[depth + 0]++; count[++depth] = 0; next }
        $1 == "}" { if (depth > 0) depth--; next }
        depth > 0 {
            for (i = 1; i <= NF; i++) if ($i == init) {
                for (d = 0; d < depth; d++) printf "%s%d", (d ? ">" : ""), place[d]
                exit
            }
        }'
}

# forget_boot_once -- the next boot is as any other.
forget_boot_once() {
    case $(loader) in
    systemd-boot) bootctl set-oneshot "" ;;
    grub) grub-editenv /boot/grub/grubenv unset next_entry && to_disk /boot/grub/grubenv ;;
    esac
}
