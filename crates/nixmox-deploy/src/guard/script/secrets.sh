# ------------------------------------------------- files of secrets, put in place

# Until the commit a new file only lies over the old one (a bind mount), so that a machine that loses power has the
# old one again. Staged files are in memory: NAME, NAME.path, NAME.mode.

staged=$run/secrets.$txn

is_mounted() {
    awk -v path="$1" '$5 == path { found = 1 } END { exit !found }' /proc/self/mountinfo
}

# stage NAME DIGEST <BYTES
stage() {
    case $1 in
    sealed | host-key) ;;
    *) refuse no-such-file ;;
    esac
    phase_now
    [ "$phase" = prepared ] || refuse phase "$phase"
    asked "path.$1" || refuse no-such-file
    mkdir -p "$staged"
    cat >"$staged/$1.new" || refuse no-space
    _digest=$(sha256sum "$staged/$1.new")
    if [ "${_digest%% *}" != "$2" ]; then
        rm -f "$staged/$1.new"
        refuse damaged "$1"
    fi
    chmod 0400 "$staged/$1.new"
    mv -f "$staged/$1.new" "$staged/$1"
}

# each_staged COMMAND -- calls it with the name and the path of each file.
each_staged() {
    for _staged in sealed host-key; do
        [ -e "$staged/$_staged" ] || continue
        asked "path.$_staged" || continue
        "$1" "$_staged" "$value" || return 1
    done
}

cover_one() {
    ! is_covered "$2" || return 0
    if [ ! -e "$2" ]; then
        mkdir -p "${2%/*}" && : >"$2" && say created "$2" >>"$staged/created" || return 1
    fi
    mount --bind "$staged/$1" "$2" && printf '%s\n' "$2" >>"$staged/covered"
}

# is_covered PATH -- whether this transaction lies over it. A test before it may lie below.
is_covered() {
    [ -e "$staged/covered" ] && grep -qxF -- "$1" "$staged/covered"
}

uncover_one() {
    ! is_covered "$2" || ! is_mounted "$2" || umount -l "$2" || return 1
    if grep -qxF -- "created=$2" "$staged/created" 2>/dev/null && [ ! -s "$2" ]; then
        rm -f "$2"
    fi
}

# The old file stays in the transaction until the commit is complete.
replace_one() {
    while is_mounted "$2"; do
        umount -l "$2" || return 1
    done
    if [ -s "$2" ] && [ ! -e "$dir/old.$1" ]; then
        cp -p "$2" "$dir/old.$1" && to_disk "$dir/old.$1" || return 1
    fi
    cp "$staged/$1" "$2.nixmox" && chmod 0400 "$2.nixmox" && to_disk "$2.nixmox" &&
        mv -f "$2.nixmox" "$2" && to_disk "${2%/*}"
}

# Without the staged files, because a reboot may have taken them.
restore_secrets() {
    for _staged in sealed host-key; do
        asked "path.$_staged" || continue
        [ -e "$dir/old.$_staged" ] || continue
        cp -p "$dir/old.$_staged" "$value.nixmox" && to_disk "$value.nixmox" &&
            mv -f "$value.nixmox" "$value" && to_disk "${value%/*}"
    done
}

cover_secrets() {
    each_staged cover_one
}

uncover_secrets() {
    each_staged uncover_one
}

commit_secrets() {
    each_staged replace_one
}

forget_secrets() {
    rm -rf "$staged" "$dir/old.sealed" "$dir/old.host-key"
}
