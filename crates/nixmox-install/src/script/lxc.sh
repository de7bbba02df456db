
# A container of Proxmox has its root below /var/lib/lxc while `pct mount` holds it; see base.sh.

# lxc_state NUMBER -- what Proxmox says of a container: stopped, running, or absent.
lxc_state() {
    has pct || refuse tool pct
    if _state=$(pct status "$1" 2>/dev/null); then
        say state "${_state#status: }"
        say name "$(pct config "$1" 2>/dev/null | sed -n 's/^hostname: *//p')"
        say run "$(pct config "$1" 2>/dev/null | sed -n 's/^description: *nixmox-install  *\([A-Za-z0-9._-]*\).*/\1/p')"
    else
        say state absent
    fi
}

# lxc_template FILE SHA256 -- what comes over standard input is the template of that name.
lxc_template() {
    _directory=/var/lib/vz/template/cache
    mkdir -p "$_directory" || return 1
    if [ -e "$_directory/$1" ]; then
        _sum=$(sha256sum <"$_directory/$1")
        [ "${_sum%% *}" != "$2" ] || {
            cat >/dev/null
            return 0
        }
    fi
    umask 022
    cat >"$_directory/$1.new" || return 1
    _sum=$(sha256sum <"$_directory/$1.new")
    if [ "${_sum%% *}" != "$2" ]; then
        rm -f "$_directory/$1.new"
        refuse digest "the template"
    fi
    mv -f "$_directory/$1.new" "$_directory/$1"
}

# lxc_mount NUMBER OWNER -- its root can be reached; directories that are made there belong to OWNER.
lxc_mount() {
    mkdir -p "$dir"
    echo "$2" >"$dir/owner"
    mounted "$root" || pct mount "$1" || return 1
    mounted "$root" || [ -d "$root/sbin" ] || [ -L "$root/sbin" ] || refuse not-mounted "$root"
}

lxc_unmount() {
    sync
    pct unmount "$1"
}

# lxc_create NUMBER -- what `pct create` is told comes over standard input, a word a line.
lxc_create() {
    _number=$1
    shift
    set --
    while IFS= read -r _word; do set -- "$@" "$_word"; done
    pct create "$_number" "$@"
}
