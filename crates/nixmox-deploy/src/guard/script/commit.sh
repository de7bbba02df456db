# --------------------------------------------------------------------- commit

# commit -- needs enough confirmations; what lasts is changed from here on.
commit() {
    keep_out
    phase_now
    case $phase in
    committing | committed)
        say phase "$phase"
        return
        ;;
    awaiting)
        asked confirmations || value=2
        _needed=$value
        value_of "$dir/confirmed" count || value=0
        [ "$value" -ge "$_needed" ] || refuse unconfirmed "$value"
        ;;
    prepared) { asked goal && [ "$value" = boot ]; } || refuse phase "$phase" ;;
    *) refuse phase "$phase" ;;
    esac
    asked commit || value=120
    arm limit $((value + 30)) due || refuse no-timer
    enter committing
    disarm confirm deadman expire
    let_in
    say phase committing
    asked commit || value=120
    launch commit "$value" committing || committing
}

# committing -- may be killed anywhere, and may be called again.
committing() {
    to_log
    asked toplevel || exit 1
    new=$value
    asked goal || value=switch
    _goal=$value
    if [ "$_goal" != test ] && is_to_be_tried; then
        commit_secrets && set_profile && try_boot && return
        note "it cannot be tried"
        go_back commit
        return
    fi
    # A test lasts until the next boot, and so do its files of secrets.
    if [ "$_goal" = test ] || { commit_secrets && set_profile && set_boot; }; then
        finish_commit
    else
        note "the commit failed"
        go_back commit
    fi
}

set_profile() {
    [ "$(profile_system)" != "$new" ] || return 0
    # It was tried, and is kept now.
    if [ -e "$dir/tried" ] && value_of "$dir/made" generation &&
        [ "$(readlink "${profile%/*}/$value")" = "$new" ]; then
        point_profile "$value"
        return
    fi
    # The name that the generation will have, on the disk before it is there.
    say generation "$(next_generation)" | keep "$dir/made" || return 1
    nix-env -p "$profile" --set "$new" || return 1
    [ "$(profile_system)" = "$new" ] || return 1
    say generation "$(readlink "$profile")" | keep "$dir/made"
}

next_generation() {
    _last=0
    for _link in "$profile"-*-link; do
        _number=${_link#"$profile"-}
        _number=${_number%-link}
        case $_number in
        '' | *[!0-9]*) ;;
        *) [ "$_number" -le "$_last" ] || _last=$_number ;;
        esac
    done
    printf '%s-%s-link' "${profile##*/}" $((_last + 1))
}

set_boot() {
    [ -e "$dir/made" ] || say generation none | keep "$dir/made" || return 1
    "$new/bin/switch-to-configuration" boot || return 1
    _default=$(boot_default)
    if [ -n "$_default" ] && [ "$_default" != "$new" ]; then
        note "the loader still boots $_default"
        return 1
    fi
}

finish_commit() {
    enter committed
    disarm limit
    forget_secrets
    drop_roots
    drop_lock
    {
        sed -n 's/^from\.//p' "$dir/request"
        say toplevel "$new"
    } | keep "$state/provenance"
}
