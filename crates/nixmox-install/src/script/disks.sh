
# release -- nothing has /mnt any more: processes that use it are ended, swap and mounts below it are taken away.
release() {
    end_users "$root"
    has swapoff && swapoff -a 2>/dev/null
    _tries=0
    while mounted "$root" && [ "$_tries" -lt 5 ]; do
        umount -R "$root" 2>/dev/null || umount_all
        _tries=$((_tries + 1))
        ! mounted "$root" || { end_users "$root" && sleep 1; }
    done
    if has zpool; then
        zpool export -a 2>/dev/null
    fi
    if has vgchange; then
        vgchange -an >/dev/null 2>&1
    fi
    ! mounted "$root" || {
        echo "something is still mounted at $root"
        return 1
    }
}

# umount_all -- for tools that do not know `umount -R`: the last that was mounted first.
umount_all() {
    awk -v root="$root" '$2 == root || index($2, root "/") == 1 { print $2 }' /proc/self/mounts |
        awk '{ all[NR] = $0 } END { for (i = NR; i > 0; i--) print all[i] }' |
        while read -r _target; do umount "$_target" 2>/dev/null; done
}

# end_users PATH -- ends the processes that have a directory, a file or their program there.
end_users() {
    for _process in /proc/[0-9]*; do
        _pid=${_process#/proc/}
        [ "$_pid" != $$ ] || continue
        for _link in "$_process"/root "$_process"/cwd "$_process"/exe "$_process"/fd/*; do
            case $(readlink "$_link" 2>/dev/null) in
            "$1" | "$1"/*)
                echo "ending process $_pid, which uses $1"
                kill -KILL "$_pid" 2>/dev/null
                break
                ;;
            esac
        done
    done
}

# format SCRIPT -- lets the script of the configuration erase, partition, format and mount.
format() {
    [ -z "${IN_DISKO_TEST:-}" ] || refuse disko-test "IN_DISKO_TEST is set"
    release || return 1
    rm -f "$dir/formatted"
    : >"$dir/formatting"
    # Directories that it makes are those of the new system.
    umask 022
    "$1" || return 1
    has udevadm && udevadm settle
    mounted "$root" || {
        echo "the script has ended well, but nothing is mounted at $root"
        return 1
    }
    : >"$dir/formatted"
    rm -f "$dir/formatting"
}

# mount_only SCRIPT -- lets the script of the configuration mount what is there.
mount_only() {
    mounted "$root" && return 0
    umask 022
    "$1" || return 1
    mounted "$root"
}

# mark -- the marker of the installation is what comes over standard input.
mark() {
    mounted "$root" || refuse not-mounted "$root"
    cat >"$marker.new" || return 1
    chmod 0600 "$marker.new"
    to_disk "$marker.new"
    mv -f "$marker.new" "$marker"
    to_disk "$root"
}
