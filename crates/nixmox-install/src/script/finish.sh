
# finish SYSTEM -- everything is on the disks, and nothing uses them any more.
finish() {
    forget_memory_files
    if mounted "$root"; then
        rm -f "$marker"
        sync
        release || return 1
    fi
    sync
    echo "$1" >"$dir/finished"
}

# reboot_soon -- in a moment, so that whoever asks hears that it was heard.
reboot_soon() {
    (
        setsid sh -c 'sleep 2; if [ -d /run/systemd/system ]; then systemctl reboot || reboot -f; else reboot || reboot -f; fi' \
            >/dev/null 2>&1 </dev/null &
    )
    say rebooting yes
}

# give_up -- ends what goes on and lets go of the disks; what is on them stays as it is.
give_up() {
    stop_jobs
    forget_memory_files
    drop_image
    release
    rm -rf "$dir"
    say released yes
}

# health -- how the init system sees it, and which units have failed.
health() {
    has systemctl || return 0
    _tries=0
    while :; do
        _state=$(systemctl is-system-running 2>/dev/null)
        case $_state in
        initializing | starting) ;;
        *) break ;;
        esac
        [ "$_tries" -lt 40 ] || break
        _tries=$((_tries + 1))
        sleep 1
    done
    say state "$_state"
    systemctl list-units --failed --no-legend --plain --no-pager 2>/dev/null | while read -r _unit _rest; do
        say failed "$_unit"
    done
}

# forget -- nothing of an installation is left in memory.
forget() {
    cd / && rm -rf "$base"
}
