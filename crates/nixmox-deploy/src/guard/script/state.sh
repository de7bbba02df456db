# ------------------------------------------------------------- where it stands

# phase_now -- into $phase; `none` when there is no such transaction.
phase_now() {
    value_of "$dir/state" phase || value=none
    phase=$value
}

# enter PHASE [REASON] -- writes down what is about to be done, before it is done. Without a reason the one that
# is there stays.
enter() {
    value_of "$dir/state" reason || value=
    _reason=${2:-$value}
    value_of "$dir/state" status || value=
    boot_id
    uptime_seconds
    {
        say phase "$1"
        say reason "$_reason"
        say status "${status:-$value}"
        say boot "$boot"
        say since "$uptime"
    } | keep "$dir/state" || note "cannot write the state $1"
    phase=$1
    note "$1${_reason:+ ($_reason)}"
}

is_over() {
    case $1 in
    committed | rolled-back | rollback-failed | none) return 0 ;;
    *) return 1 ;;
    esac
}

# asked NAME -- into $value, what the deployer asked for.
asked() {
    value_of "$dir/request" "$1"
}

# fact NAME -- into $value, what was there before.
fact() {
    value_of "$dir/facts" "$1"
}

# ------------------------------------------------------------ who has the host

# The lock lies in memory, so a reboot takes it away.
lock_holder() {
    holder=
    if value_of "$run/lock" txn; then
        holder=$value
    fi
}

take_lock() {
    lock_holder
    if [ -n "$holder" ] && [ "$holder" != "$txn" ]; then
        value_of "$state/txn/$holder/state" phase || value=none
        if ! is_over "$value"; then
            _phase=$value
            value_of "$run/lock" deployer || true
            say holder "$holder"
            say phase "$_phase"
            refuse locked "$value"
        fi
    fi
    uptime_seconds
    asked deployer || value=
    {
        say txn "$txn"
        say deployer "$value"
        say since "$uptime"
    } >"$run/lock.new" && mv -f "$run/lock.new" "$run/lock"
}

drop_lock() {
    lock_holder
    [ "$holder" != "$txn" ] || rm -f "$run/lock"
}
