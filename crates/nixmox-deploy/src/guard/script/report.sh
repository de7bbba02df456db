# --------------------------------------------------------------------- report

# probe -- what a deployer wants to know before it does anything. It changes nothing.
probe() {
    boot_id
    uptime_seconds
    say version 1
    say boot "$boot"
    say uptime "$uptime"
    # One program for three links, where it takes several; every program is a good part of what an answer costs.
    # shellcheck disable=SC2046  # split on purpose: paths of the store have no spaces
    set -- $(readlink -f /run/current-system /run/booted-system "$profile" 2>/dev/null)
    [ $# = 3 ] || set -- "$(current_system)" "$(readlink -f /run/booted-system)" "$(profile_system)"
    say current "$1"
    say booted "$2"
    say profile_system "$3"
    say profile "$(readlink "$profile" 2>/dev/null)"
    ! value_of "$state/provenance" toplevel || say deployed "$value"
    ! value_of "$state/provenance" revision || say deployed_revision "$value"
    lock_holder
    [ -z "$holder" ] || say holder "$holder"
    if _last=$(readlink "$state/last" 2>/dev/null); then
        txn=${_last##*/}
        dir=$state/txn/$txn
        say last "$txn"
        report_state
        is_over "$phase" || report_order
    fi
}

# report_order -- what the activation that goes on is for, and whose it is.
report_order() {
    for _name in toplevel goal deployer; do
        ! asked "$_name" || say "asked.$_name" "$value"
    done
    ! fact old || say before "$value"
}

report_state() {
    phase_now
    say phase "$phase"
    for _name in reason status boot since; do
        ! value_of "$dir/state" "$_name" || say "state.$_name" "$value"
    done
    ! value_of "$dir/confirmed" count || say confirmed "$value"
}

# status -- where a transaction stands, and what runs.
status() {
    use_old_tools
    boot_id
    say boot "$boot"
    say current "$(current_system)"
    # Whoever may ask this is root, and could read it.
    ! asked nonce || say nonce "$value"
    report_state
}

# follow OFFSET SECONDS -- the state and what was logged from OFFSET on, as soon as there is news. What takes longer is
# looked at less often: each look takes two programs, and a host has better things to do.
follow() {
    _offset=$1
    _left=$(($2 * 10))
    _looks=0
    phase_now
    _before=$phase
    while [ "$_left" -gt 0 ]; do
        _size=$(wc -c <"$dir/log" 2>/dev/null || echo 0)
        phase_now
        if [ "$_size" -gt "$_offset" ] || [ "$phase" != "$_before" ] || is_over "$phase"; then
            break
        fi
        # The first two seconds by fifths, then by halves.
        if [ "$_looks" -lt 10 ]; then
            sleep 0.2
            _left=$((_left - 2))
        else
            sleep 0.5
            _left=$((_left - 5))
        fi
        _looks=$((_looks + 1))
    done
    # No more of the log than there was before the state was read: whoever knows a line of it knows its phase.
    _size=$(wc -c <"$dir/log" 2>/dev/null || echo 0)
    status
    say size "$_size"
    say log ''
    _news=$((_size - _offset))
    [ "$_news" -gt 0 ] || return 0
    [ "$_news" -le 65536 ] || _news=65536
    tail -c "+$((_offset + 1))" "$dir/log" 2>/dev/null | head -c "$_news"
}

# dry TOPLEVEL -- what its activation would change.
dry() {
    [ -x "$1/bin/switch-to-configuration" ] || refuse missing "$1"
    in_time 300 "$1/bin/switch-to-configuration" dry-activate 2>&1
}

# push TOPLEVEL -- it stays in the store, until another one is pushed.
push() {
    [ -e "$1" ] || refuse missing "$1"
    mkdir -p "$roots"
    ln -sfn "$1" "$roots/pushed.new" && move_link "$roots/pushed.new" "$roots/pushed"
    rm -f "$roots/brought"
    say pushed "$1"
}

# ------------------------------------------------------- what a crash has left

# recover -- settles a transaction that a reboot has interrupted.
recover() {
    keep_out
    phase_now
    is_over "$phase" || recover_one
    let_in
    status
}

# recover_one -- the state is not over, and its boot is not this one. What runs decides: the machine has booted
# either the old system, which then is all of it again, or the new one, which a commit had made the default.
recover_one() {
    boot_id
    value_of "$dir/state" boot || value=
    if [ "$value" = "$boot" ]; then
        is_running activate || is_running commit || is_running rollback || is_waited_for || due
        return 0
    fi
    asked toplevel || value=
    new=$value
    if [ "$phase" = committing ] && [ "$(current_system)" = "$new" ]; then
        # In this boot from now on, so that nobody else takes it up as well.
        arm limit 330 due || note "no timer for the rest of the commit"
        enter committing
        let_in
        launch commit 300 committing || committing
        return 0
    fi
    if [ "$phase" = trying ] && [ "$(current_system)" = "$new" ]; then
        tried
        return 0
    fi
    fact old || value=
    old=$value
    if is_whole; then
        [ "$phase" != trying ] || enter trying not-booted
        restore_secrets
        restore_profile
        restore_boot
        value_of "$dir/state" reason && [ -n "$value" ] || value=rebooted
        enter rolled-back "$value"
        forget_secrets
        drop_roots
        drop_lock
    else
        go_back rebooted
    fi
}

# is_whole -- whether a machine that has booted is all of its old system again.
is_whole() {
    [ "$(current_system)" = "$old" ]
}

# Whether some timer is still to come.
is_waited_for() {
    for _timer in deadman confirm expire limit again0 again1 again2 again3; do
        if with_systemd; then
            systemctl is-active --quiet "$(unit "$_timer").timer" && return 0
        elif [ -r "$run/$(unit "$_timer").pid" ] && read -r _pid <"$run/$(unit "$_timer").pid" &&
            kill -0 "$_pid" 2>/dev/null; then
            return 0
        fi
    done
    return 1
}

# The transaction before this one may have ended with the power.
recover_last() {
    _own=$txn
    if _last=$(readlink "$state/last" 2>/dev/null) && [ "${_last##*/}" != "$_own" ]; then
        txn=${_last##*/}
        dir=$state/txn/$txn
        staged=$run/secrets.$txn
        phase_now
        is_over "$phase" || recover_one
        txn=$_own
        dir=$state/txn/$txn
        staged=$run/secrets.$txn
    fi
}
