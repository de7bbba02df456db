# prepare TXN [LINE...]
prepare() {
    _txn=$1
    shift
    # The first of a name counts.
    printf '%s\n' "$@" "toplevel=$new" "expected=$old" goal=switch nonce=good activation=20 confirmation=20 \
        dwell=0 confirmations=2 commit=20 rollback=20 deployer=someone | $guard prepare "$_txn"
}

# ends TXN -- its last phase, as soon as it is over.
ends() {
    while :; do
        _said=$($guard follow "$1" 1000000 5 | sed -n 's/^phase=//p')
        case $_said in
        committed | rolled-back | rollback-failed) break ;;
        esac
    done
    echo "$_said"
}

# awaits TXN -- until it waits for confirmations.
awaits() {
    while [ "$($guard status "$1" | sed -n 's/^phase=//p')" = activating ]; do
        sleep 0.1
    done
}

# is NAME EXPECTED FOUND
is() {
    [ "$2" = "$3" ] || {
        echo "$1: not $2 but $3"
        cat /var/lib/nixmox/txn/*/log /var/db/nixmox/txn/*/log 2>/dev/null || true
        exit 1
    }
}
