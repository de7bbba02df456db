
# walk DIRECTORY -- goes there below /mnt, making what is not there; a symbolic link on the way is refused.
walk() {
    cd -P "$root" || return 1
    _rest=${1#/}/
    while [ -n "$_rest" ]; do
        _name=${_rest%%/*}
        _rest=${_rest#*/}
        [ -n "$_name" ] || continue
        case $_name in
        . | ..) refuse path "$1" ;;
        esac
        [ ! -L "$_name" ] || refuse link "$1"
        if [ ! -d "$_name" ]; then
            [ ! -e "$_name" ] || refuse path "$1"
            mkdir "$_name" && chmod 0755 "$_name" || return 1
            [ ! -r "$dir/owner" ] || chown "$(cat "$dir/owner")" "$_name" || return 1
        fi
        cd -P "./$_name" || return 1
    done
}

# place PATH MODE OWNER SHA256 -- what comes over standard input becomes a file below /mnt.
place() {
    mounted "$root" || [ -r "$dir/owner" ] || refuse not-mounted "$root"
    _directory=${1%/*}
    _file=${1##*/}
    walk "$_directory"
    [ ! -d "./$_file" ] || refuse path "$1"
    _new=.nixmox-$$
    rm -f "./$_new"
    cat >"./$_new" || return 1
    _sum=$(sha256sum "./$_new")
    if [ "${_sum%% *}" != "$4" ]; then
        rm -f "./$_new"
        refuse digest "$1"
    fi
    chown "$3" "./$_new" && chmod "$2" "./$_new" || return 1
    to_disk "./$_new"
    mv -f "./$_new" "./$_file" || return 1
    to_disk .
}

# public_key PATH SYSTEM -- the public half of a private key below /mnt, worked out from the private one.
public_key() {
    if has ssh-keygen; then
        ssh-keygen -y -P '' -f "$root$1" </dev/null
    else
        chroot "$root" "$2/sw/bin/ssh-keygen" -y -P '' -f "$1" </dev/null
    fi
}

# memory_file PATH SHA256 -- what comes over standard input becomes a file in memory, for the scripts of disks.
memory_file() {
    case $1 in
    /run/* | /tmp/* | /dev/shm/*) ;;
    *) refuse path "$1" ;;
    esac
    mkdir -p "${1%/*}" || return 1
    in_memory "${1%/*}" || refuse not-memory "$1"
    cat >"$1.new" || return 1
    _sum=$(sha256sum "$1.new")
    [ "${_sum%% *}" = "$2" ] || refuse digest "$1"
    mv -f "$1.new" "$1"
    mkdir -p "$dir"
    echo "$1" >>"$dir/memory-files"
}

# forget_memory_files -- and gone they are.
forget_memory_files() {
    [ -r "$dir/memory-files" ] || return 0
    while read -r _file; do rm -f "$_file"; done <"$dir/memory-files"
    rm -f "$dir/memory-files"
}
