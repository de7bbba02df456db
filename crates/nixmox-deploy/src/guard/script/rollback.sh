# ------------------------------------------------------------------ going back

# go_back REASON -- leaves it to a process that nobody can take away.
go_back() {
    keep_out
    phase_now
    is_over "$phase" && { let_in; return 0; }
    if [ "$phase" = rolling-back ] && is_running rollback; then
        let_in
        return 0
    fi
    value_of "$dir/state" reason || value=
    [ "$phase" = rolling-back ] && set -- "$value"
    enter rolling-back "$1"
    asked rollback || value=300
    # Two activations and the waiting in between.
    _most=$((value * 2 + 120))
    value_of "$dir/tries" tries || value=0
    # A name of its own for each: the one before may be what is calling.
    arm "again$value" $((_most + 30)) due || note "no timer for another try"
    disarm deadman confirm expire limit
    let_in
    launch rollback "$_most" rollback rolled || rollback
}

# rolled -- going back is over, and if it did not come to an end it is tried again.
rolled() {
    phase_now
    [ "$phase" = rolling-back ] && [ ! -e "$dir/rebooting" ] || exit 0
    note "going back was interrupted: ${SERVICE_RESULT:-unknown}"
    value_of "$dir/tries" tries || value=0
    [ "$value" -lt 3 ] || exit 0
    arm "soon$value" 2 due
}

# due -- a timer is over. What it means depends on where the transaction stands.
due() {
    phase_now
    case $phase in
    prepared) go_back asked ;;
    activating) go_back activation ;;
    awaiting) go_back not-confirmed ;;
    committing | trying) go_back commit ;;
    rolling-back) go_back again ;;
    esac
}

# rollback -- back to the system that the snapshot names, by that system's own means.
rollback() {
    use_old_tools
    to_log
    fact old || exit 1
    old=$value
    count_try
    kill_all activate
    kill_all commit
    wait_for_switch 30 || note "another switch still holds the lock"
    uncover_secrets || note "a file of secrets is still covered"
    restore_secrets
    restore_profile
    _action="test"
    [ "$tries" -lt 2 ] || _action=switch
    if reactivate "$_action" && restore_boot; then
        end_rollback
        return
    fi
    if [ "$tries" -lt 2 ]; then
        note "going back failed; once more"
        exec "$(own_shell)" "$guard" rollback "$txn"
    fi
    last_resort
}

count_try() {
    value_of "$dir/tries" tries || value=0
    tries=$((value + 1))
    say tries "$tries" | keep "$dir/tries"
}

# reactivate ACTION -- nothing to do when nothing was touched.
reactivate() {
    asked rollback || value=300
    if [ "$(current_system)" = "$old" ] && [ ! -e "$dir/touched" ]; then
        return 0
    fi
    _status=0
    go_to "$value" "$old" "$1" || _status=$?
    note "it ended with $_status"
    [ "$(current_system)" = "$old" ] || return 1
    # 4: units failed. They may have failed before as well.
    case $_status in
    0 | 4) ;;
    *) return 1 ;;
    esac
    if stays_cut_off; then
        note "nobody can reach this host: $cut_off"
        return 1
    fi
}

# go_to SECONDS SYSTEM ACTION
go_to() {
    note "$2/bin/switch-to-configuration $3"
    in_time "$1" "$2/bin/switch-to-configuration" "$3"
}

# Only what we set ourselves is taken back.
restore_profile() {
    value_of "$dir/made" generation || return 0
    _made=$value
    asked toplevel || value=
    if [ "$(profile_system)" = "$value" ] && [ "$(readlink "$profile")" = "$_made" ]; then
        fact profile || value=
        [ -n "$value" ] || return 0
        point_profile "$value"
        rm -f "${profile%/*}/$_made"
        note "the profile is $value again"
    elif [ -e "$dir/tried" ]; then
        drop_generation "$_made"
    fi
}

# A commit that did not end may have changed what boots.
restore_boot() {
    restore_pointers
    [ ! -e "$dir/tried" ] || forget_boot_once || note "the loader may boot the new system once more"
    fact boot_default || value=
    [ -e "$dir/made" ] || [ "$(boot_default)" != "$value" ] || return 0
    # What booted before may have been another system than the one that ran.
    [ -x "$value/bin/switch-to-configuration" ] || value=$old
    _boots=$value
    asked rollback || value=300
    go_to "$value" "$_boots" boot
}

end_rollback() {
    enter rolled-back
    disarm_tries
    forget_secrets
    drop_roots
    drop_lock
}

disarm_tries() {
    disarm again0 again1 again2 again3
}

# last_resort -- the host reboots into its old system, when it was told to, when it sees by itself that nobody can
# reach it, and when the old system is certain to be what boots. That a client is gone is no reason.
last_resort() {
    asked reboot || value=no
    if [ "$value" = yes ] && is_cut_off && [ "$(boot_default)" = "$old" ]; then
        note "rebooting into $old, because $cut_off"
        : >"$dir/rebooting"
        to_disk "$dir/log"
        disarm_tries
        if with_systemd; then
            systemctl reboot || systemctl reboot --force --force
        else
            reboot -f
        fi
        return
    fi
    enter rollback-failed
    disarm_tries
    drop_lock
}

# abort -- somebody asks for it: REASON is plain words.
abort() {
    phase_now
    case $phase in
    prepared | activating | awaiting | committing | trying) go_back "${1:-asked}" ;;
    rolling-back) due ;;
    esac
    report_state
}
