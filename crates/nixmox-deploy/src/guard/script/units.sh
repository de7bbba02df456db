# ------------------------------------------- what runs without anybody connected

with_systemd() {
    [ -d /run/systemd/system ]
}

unit() {
    printf 'nixmox-%s-%s' "$1" "$txn"
}

own_shell() {
    # The old system's, where there is one: the new one may not have it.
    command -v sh
}

# detached NAME WORD... -- in a session of its own, which its first process names.
detached() {
    _file=$run/$(unit "$1").pid
    shift
    setsid "$@" </dev/null >>"$dir/log" 2>&1 8>&- &
    printf '%s\n' $! >"$_file"
}

# arm NAME SECONDS VERB -- has the first process call VERB later, whatever becomes of everything else.
arm() {
    if with_systemd; then
        systemd-run --quiet --unit="$(unit "$1")" --on-active="${2}s" --timer-property=AccuracySec=1s \
            --property=KillMode=process --collect -- "$(own_shell)" "$guard" "$3" "$txn" 8>&- >>"$dir/log" 2>&1
    else
        detached "$1" "$(own_shell)" "$guard" later "$txn" "$2" "$3" "$1"
    fi
}

# disarm NAME... -- timers that are not there may be named as well.
disarm() {
    if with_systemd; then
        _timers=
        for _timer; do
            _timers="$_timers nixmox-$_timer-$txn.timer"
        done
        # shellcheck disable=SC2086  # split on purpose
        systemctl stop $_timers >/dev/null 2>&1 8>&- || true
    else
        for _timer; do
            end_session "$_timer"
        done
    fi
}

# launch NAME SECONDS VERB [LAST] -- runs VERB apart from any connection; after SECONDS it is killed with
# everything that it started. LAST is called when it is over, however it ended.
launch() {
    if with_systemd; then
        set -- "$1" "$2" "$3" "${4:-}" "$(own_shell)"
        systemd-run --quiet --collect --unit="$(unit "$1")" --service-type=exec \
            --property=RuntimeMaxSec="$2" --property=TimeoutStopSec=15 --property=KillMode=control-group \
            ${4:+--property="ExecStopPost=$5 $guard $4 $txn"} \
            -- "$5" "$guard" "$3" "$txn" 8>&- >>"$dir/log" 2>&1
    else
        detached "$1" "$(own_shell)" "$guard" bounded "$txn" "$2" "$3" "${4:-}" "$1"
    fi
}

is_running() {
    if with_systemd; then
        case $(systemctl show -p ActiveState "$(unit "$1").service" 2>/dev/null) in
        *=active | *=activating | *=deactivating | *=reloading) return 0 ;;
        *) return 1 ;;
        esac
    fi
    [ -r "$run/$(unit "$1").pid" ] && read -r _pid <"$run/$(unit "$1").pid" && kill -0 "$_pid" 2>/dev/null
}

# kill_all NAME -- ends what `launch` started, all of it.
kill_all() {
    if with_systemd; then
        systemctl kill --kill-who=all --signal=KILL "$(unit "$1").service" >/dev/null 2>&1 8>&- || true
        _left=50
        while is_running "$1" && [ "$_left" -gt 0 ]; do
            sleep 0.2
            _left=$((_left - 1))
        done
    else
        end_session "$1"
    fi
}

# end_session NAME -- kills the session that was started under that name, without systemd.
end_session() {
    _file=$run/$(unit "$1").pid
    [ -r "$_file" ] && read -r _leader <"$_file" || return 0
    rm -f "$_file"
    for _stat in /proc/[0-9]*/stat; do
        # Behind the name in brackets: state, parent, group, session.
        _rest=$(sed 's/.*) //' "$_stat" 2>/dev/null) || continue
        # shellcheck disable=SC2086  # split on purpose
        set -- $_rest
        [ "${4:-}" != "$_leader" ] || {
            _pid=${_stat#/proc/}
            _pid=${_pid%/stat}
            [ "$_pid" = $$ ] || kill -KILL "$_pid" 2>/dev/null || true
        }
    done
}

# The two bodies of what has no systemd to run it.
later() {
    sleep "$3"
    rm -f "$run/$(unit "$5").pid"
    exec "$(own_shell)" "$guard" "$4" "$txn"
}

bounded() {
    _last=$5
    _status=0
    # shellcheck disable=SC2034  # where a Mac finds what `in_time` has started
    group=$run/$(unit "$6").group
    # In the foreground, or it would be in a group of its own that nobody kills.
    in_time "$3" "$(own_shell)" "$guard" "$4" "$txn" || _status=$?
    # The number of the session stays: whatever it has left is killed before anything else is done.
    [ -n "$_last" ] || exit 0
    EXIT_STATUS=$_status
    SERVICE_RESULT=exit-code
    [ "$_status" -lt 124 ] || SERVICE_RESULT=timeout
    [ "$_status" -ne 0 ] || SERVICE_RESULT=success
    export EXIT_STATUS SERVICE_RESULT
    exec "$(own_shell)" "$guard" "$_last" "$txn"
}
