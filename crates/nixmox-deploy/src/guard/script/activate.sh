# ------------------------------------------------------------------- activate

# start -- arms the timer, and has the new system activated apart from this connection.
start() {
    keep_out
    phase_now
    if [ "$phase" = activating ] || [ "$phase" = awaiting ]; then
        say phase "$phase"
        return
    fi
    [ "$phase" = prepared ] || refuse phase "$phase"
    asked activation || refuse request activation
    _activation=$value
    asked confirmation || refuse request confirmation
    enter activating
    if ! arm deadman $((_activation + value + 30)) due; then
        enter prepared
        refuse no-timer
    fi
    disarm expire
    : >"$dir/touched"
    let_in
    if ! cover_secrets; then
        go_back secrets
        refuse secrets
    fi
    if ! launch activate "$_activation" activate activated; then
        go_back launch
        refuse launch
    fi
    say phase activating
}

# activate -- what runs in a control group of its own, and may be killed at any time.
activate() {
    asked toplevel || exit 1
    to_log
    exec "$value/bin/switch-to-configuration" test
}

# activated -- the activation is over, however it ended: $SERVICE_RESULT and $EXIT_STATUS say how.
activated() {
    keep_out
    phase_now
    [ "$phase" = activating ] || exit 0
    status=${EXIT_STATUS:-killed}
    [ "${SERVICE_RESULT:-}" != timeout ] || status=timeout
    note "the activation ended: ${SERVICE_RESULT:-unknown} ($status)"
    restore_pointers
    if is_accepted "$status"; then
        asked confirmation || value=60
        arm confirm "$value" due || note "the second timer could not be armed; the first one still runs"
        enter awaiting
        disarm deadman
    else
        let_in
        go_back activation
    fi
}

is_accepted() {
    asked toplevel || return 1
    if [ "$(current_system)" != "$value" ]; then
        note "the new system is not the current one"
        return 1
    fi
    case $1 in
    0) return 0 ;;
    4) asked failed_units && [ "$value" = yes ] ;;
    *) return 1 ;;
    esac
}

# Some activations move what boots, though they were asked not to.
restore_pointers() {
    if fact init && [ -n "$value" ] && [ "$(init_link)" != "$value" ]; then
        note "the activation moved /sbin/init; it goes back to $value"
        ln -sfn "$value" /sbin/init.nixmox && move_link /sbin/init.nixmox /sbin/init && to_disk /sbin
    fi
    fact profile || value=
    if [ -n "$value" ] && [ "$(readlink "$profile")" != "$value" ]; then
        note "the activation moved the system profile; it goes back to $value"
        point_profile "$value"
    fi
}

# -------------------------------------------------------------------- confirm

# confirm <NONCE -- somebody came in over a connection of their own.
confirm() {
    read -r _nonce || _nonce=
    keep_out
    phase_now
    [ "$phase" = awaiting ] || refuse phase "$phase"
    { asked nonce && [ "$value" = "$_nonce" ]; } || refuse nonce
    asked dwell || value=5
    _dwell=$value
    value_of "$dir/confirmed" count || value=0
    _count=$value
    uptime_seconds
    if value_of "$dir/confirmed" since && [ $((uptime - value)) -lt "$_dwell" ]; then
        refuse early $((_dwell - uptime + value))
    fi
    {
        say count $((_count + 1))
        say since "$uptime"
    } | keep "$dir/confirmed"
    say count $((_count + 1))
    say new_failed "$(new_failed_units)"
}

# Units that failed since the snapshot.
new_failed_units() {
    fact failed || value=
    for _unit in $(failed_units); do
        case " $value " in
        *" $_unit "*) ;;
        *) printf '%s ' "$_unit" ;;
        esac
    done
}
