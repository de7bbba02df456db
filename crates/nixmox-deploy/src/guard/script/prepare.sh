# -------------------------------------------------------------------- prepare

tools_needed="awk cat chmod cp df flock grep head ln mkdir mkfifo mv nix-env nix-store readlink rm sed sha256sum sleep sync sort tail timeout tr wc"

check_tools() {
    for _tool in $tools_needed; do
        command -v "$_tool" >/dev/null || refuse no-tool "$_tool"
    done
    with_systemd || command -v setsid >/dev/null || refuse no-tool setsid
}

# prepare <REQUEST -- takes the lock and writes down everything that there is to go back to.
prepare() {
    check_tools
    mkdir -p "$run" "$state/txn" "$roots"
    chmod 0700 "$run" "$state"
    keep_out
    recover_last
    keep_out
    phase_now
    [ "$phase" = none ] || refuse phase "$phase"
    mkdir -p "$dir"
    keep "$dir/request"
    : >>"$dir/log"
    take_lock
    # From here on the host is ours, and a refusal has to give it back.
    check_request || {
        drop_lock
        rm -rf "$dir"
        refuse "$refused" "$detail"
    }
    ln -sfn "txn/$txn" "$state/last.new" && move_link "$state/last.new" "$state/last" && to_disk "$state"
    write_facts | keep "$dir/facts"
    use_old_tools
    forget_old_transactions
    root new "$new"
    root old "$old"
    # What kept it on its way here.
    rm -f "$roots/brought"
    enter prepared
    # Whoever prepares and then is gone does not keep the host for ever.
    arm expire 900 due
    say phase prepared
    say current "$old"
}

check_request() {
    detail=
    asked toplevel || value=
    new=$value
    refused=missing detail=$new
    [ -x "$new/bin/switch-to-configuration" ] || return 1
    old=$(current_system)
    refused=unexpected detail=$old
    ! asked expected || [ "$value" = "$old" ] || return 1
    refused=no-old detail=$old
    [ -x "$old/bin/switch-to-configuration" ] || return 1
    refused=no-space detail=$state
    [ "$(free_kib "$state")" -gt 1024 ] || return 1
    refused=boot detail="the default is $(boot_default)"
    check_boot_default || return 1
    refused=checks
    ask_new_system
}

# What the new system itself says against being switched to, where it can be asked that: before anything is touched.
ask_new_system() {
    _said=$dir/check
    in_time 60 "$new/bin/switch-to-configuration" check >"$_said" 2>&1 </dev/null 8>&- && return 0
    # An older NixOS does not know that question.
    ! grep -q '^Usage: ' "$_said" || return 0
    detail=$(tail -c 1000 "$_said" | tail -n 3 | tr '\n' ' ')
    return 1
}

# What boots has to be there, or a power cut would not lead back to anything.
check_boot_default() {
    _default=$(boot_default)
    [ -z "$_default" ] || [ -e "$_default/init" ]
}

# What was there before, and how somebody came in.
write_facts() {
    boot_id
    say old "$old"
    say booted "$(readlink -f /run/booted-system)"
    say profile "$(readlink "$profile" || true)"
    say profile_system "$(profile_system)"
    say boot_default "$(boot_default)"
    say init "$(init_link)"
    say boot "$boot"
    say failed "$(failed_units)"
    say addresses "$(addresses)"
    say gateway "$(gateway)"
    # Address and port of the client, address and port of ours.
    # shellcheck disable=SC2046  # split on purpose
    set -- $(connection_of $$)
    say peer "${1:-}"
    say ssh_port "${4:-22}"
    if listens "${4:-22}" && has_route "${1:-}"; then
        say reachable yes
    else
        say reachable no
    fi
}

# The last twenty stay, for their logs. What kept the systems of one that could not go back is not needed any more.
forget_old_transactions() {
    for _root in "$roots"/*-new "$roots"/*-old; do
        case ${_root##*/} in
        "$txn"-*) ;;
        *) rm -f "$_root" ;;
        esac
    done
    for _old in "$state"/txn/*; do
        printf '%s\n' "${_old##*/}"
    done | sort -r | tail -n +21 | while IFS= read -r _old; do
        rm -rf "$state/txn/${_old:?}"
    done
}

# root NAME PATH -- keeps it from being collected.
root() {
    ln -sfn "$2" "$roots/$txn-$1.new" && move_link "$roots/$txn-$1.new" "$roots/$txn-$1"
}

drop_roots() {
    rm -f "$roots/$txn-new" "$roots/$txn-old"
}
