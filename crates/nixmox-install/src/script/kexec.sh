
# image SHA256 FORM -- what comes over standard input is unpacked in memory, and given up unless it has that digest.
image() {
    _image=$dir/image
    drop_directory "$_image" || return 1
    mkdir -p "$_image"
    mount -t tmpfs -o mode=0700,size=90% nixmox "$_image" || return 1
    in_memory "$_image" || refuse not-memory "$_image"
    mkfifo "$_image/fifo" || return 1
    sha256sum <"$_image/fifo" >"$_image/sum" &
    case $2 in
    gzip) tee "$_image/fifo" | tar -xz -C "$_image" -f - ;;
    *) tee "$_image/fifo" | tar -x -C "$_image" -f - ;;
    esac
    _status=$?
    wait
    _sum=$(cat "$_image/sum")
    if [ "${_sum%% *}" != "$1" ] || [ $_status -ne 0 ]; then
        umount "$_image"
        refuse digest "the image"
    fi
    if [ ! -e "$_image/kexec/bzImage" ] || [ ! -e "$_image/kexec/initrd" ]; then
        refuse image "it has no kexec/bzImage and kexec/initrd"
    fi
    say line "$(sed -n 's/.*--command-line[ =]"\([^"]*\)".*/\1/p' "$_image/kexec/run" 2>/dev/null | head -n 1)"
}

# drop_directory PATH -- what a lost connection has left there is ended: it would go on with what comes now.
drop_directory() {
    _tries=0
    while mounted "$1"; do
        end_users "$1" >/dev/null
        if ! umount "$1" 2>/dev/null; then
            [ "$_tries" -lt 10 ] || return 1
            _tries=$((_tries + 1))
            sleep 1
        fi
    done
}

# network -- addresses and routes as they are now, for the installer to have them too.
network() {
    _ip=$dir/image/kexec/ip
    [ -x "$_ip" ] || _ip=ip
    "$_ip" --json addr
    echo
    "$_ip" -4 --json route
    echo
    "$_ip" -6 --json route
}

# append -- what comes over standard input is one more archive at the end of the initrd.
append() {
    _initrd=$dir/image/kexec/initrd
    in_memory "${_initrd%/*}" || refuse not-memory "$_initrd"
    chmod u+w "$_initrd"
    # The kernel finds an archive where the offset is a multiple of four.
    _size=$(wc -c <"$_initrd")
    head -c $(((512 - _size % 512) % 512)) /dev/zero >>"$_initrd" && cat >>"$_initrd"
}

# kexec_program ARGUMENT... -- the image's, or the machine's.
kexec_program() {
    if [ -x "$dir/image/kexec/kexec" ]; then
        "$dir/image/kexec/kexec" "$@"
    else
        kexec "$@"
    fi
}

# load -- the image is what runs next; its command line comes over standard input.
load() {
    _line=$(head -c 4096)
    cd "$dir/image/kexec" || return 1
    kexec_program --load bzImage --initrd=initrd --command-line="$_line" || {
        kexec_program --kexec-syscall-auto --load bzImage --initrd=initrd --command-line="$_line" || return 1
    }
}

# jump -- in a moment, so that whoever asks hears that it was heard.
jump() {
    (
        setsid sh "$self" jump-now "$run" >/dev/null 2>&1 </dev/null &
    )
    say jumping yes
}

jump_now() {
    sleep 2
    sync
    kexec_program -e
}

# drop_image -- what was loaded is not started, and the image is forgotten.
drop_image() {
    kexec_program --unload 2>/dev/null
    ! mounted "$dir/image" || umount "$dir/image"
}

# borrow_store -- a machine without Nix gets a directory for store paths in memory.
borrow_store() {
    [ -d /nix/store ] && return 0
    mkdir -p /nix && mount -t tmpfs -o mode=0755,size=80% nixmox /nix && mkdir -p /nix/store
}

# unpack ROOT -- store paths come as an archive over standard input.
unpack() {
    mkdir -p "$1/nix/store" && tar -x -C "$1" -f -
}

# register -- what the new system's own Nix has to know of its paths comes over standard input. It is told once the
# system is activated: not before that does everything in it run.
register() {
    cat >"$registration.new" || return 1
    to_disk "$registration.new"
    mv -f "$registration.new" "$registration"
}
