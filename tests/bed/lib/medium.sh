# shellcheck shell=bash
# medium.sh -- what machines boot from. Sourced by build.sh.
#
# In $BED_CACHE/medium:
#   installer.squashfs  the installer's root
#   installer.iso       a CD that boots it: of several disks a BIOS tries the first alone, but after it the CD
#   kexec.tar           an archive that starts it where some Linux runs, made as that of nixos-images

# shellcheck disable=SC2154  # build.sh sets root, medium and inputs

# from_root PROGRAM ARGUMENTS... -- a program of the Debian root, run here, whatever is installed here.
from_root() {
    local program=$1
    shift
    "$root/usr/lib64/ld-linux-x86-64.so.2" --library-path "$root/usr/lib/x86_64-linux-gnu" "$root/usr/bin/$program" "$@"
}

# In a mount namespace of its own: nothing stays mounted, whatever happens.
build_squashfs() {
    local work=$medium/work
    mkdir -p "$work"/{upper,work,root}
    export -f from_root fill_root
    export BED_ROOT BED_CLIENT_KEY root medium work
    unshare --mount --propagation private bash -euc fill_root >"$medium/squashfs.log" 2>&1 ||
        die "no installer, see $medium/squashfs.log"
    rm -rf "$work"
}

# shellcheck disable=SC2317  # called by name
fill_root() {
    mount -t overlay -o "lowerdir=$root,upperdir=$work/upper,workdir=$work/work" overlay "$work/root"
    "$BED_ROOT/lib/installer/prepare.sh" "$work/root" "$BED_CLIENT_KEY.pub"
    cd "$work/root" || exit
    rm -rf usr/share/{doc,man,locale,info,i18n,zoneinfo,perl} usr/lib/x86_64-linux-gnu/{perl,gconv} \
        var/lib/apt var/cache/apt var/lib/dpkg/info boot/* usr/lib/udev/hwdb.*
    from_root mksquashfs . "$medium/installer.squashfs" -noappend -quiet -no-progress -comp zstd -Xcompression-level 6
}

build_iso() {
    local kernel=$1 initrd=$2 work=$medium/work
    mkdir -p "$work"
    cp -L "$kernel/vmlinuz" "$work/vmlinuz"
    cp -L "$initrd/initrd" "$work/initrd"
    cp "$root/usr/lib/ISOLINUX/isolinux.bin" "$root/usr/lib/syslinux/modules/bios/ldlinux.c32" "$work/"
    printf '%s\n' "DEFAULT installer" "PROMPT 0" "TIMEOUT 1" "LABEL installer" \
        "  LINUX /vmlinuz" "  INITRD /initrd" \
        "  APPEND console=ttyS0 quiet panic=1 bed.squashfs=search init=/lib/systemd/systemd" >"$work/isolinux.cfg"
    from_root xorrisofs -quiet -o "$medium/installer.iso" -b isolinux.bin -c boot.cat -no-emul-boot \
        -boot-load-size 4 -boot-info-table -input-charset utf-8 -V INSTALLER "$work"
    rm -rf "$work"
}

build_kexec() {
    local kernel=$1 initrd=$2 work=$medium/work library
    mkdir -p "$work/kexec/lib" "$work/initrd"
    cp -L "$kernel/vmlinuz" "$work/kexec/bzImage"
    # One initrd after the other: the second holds the installer's root.
    ln "$medium/installer.squashfs" "$work/initrd/installer.squashfs"
    {
        cat "$initrd/initrd"
        (cd "$work/initrd" && echo installer.squashfs | busybox cpio -o -H newc 2>/dev/null)
    } >"$work/kexec/initrd"
    install -m 755 "$BED_ROOT/lib/installer/run" "$BED_ROOT/lib/installer/kexec" "$work/kexec/"
    install -m 755 "$root/usr/sbin/kexec" "$work/kexec/lib/"
    cp -L "$root/usr/lib64/ld-linux-x86-64.so.2" "$work/kexec/lib/"
    chroot "$root" ldd /usr/sbin/kexec | sed -nE 's/.* => (\/[^ ]+) .*/\1/p' | while read -r library; do
        cp -L "$root/$library" "$work/kexec/lib/"
    done
    tar -C "$work" --sort=name --mtime=@1 --owner=0 --group=0 -cf "$medium/kexec.tar" kexec
    rm -rf "$work"
}

build_medium() {
    local key kernel initrd lib="(import $BED_ROOT/systems { inputs = $inputs; }).lib"
    key=$(cd "$BED_ROOT" && cat "$root.key" "$inputs.key" lib/medium.sh lib/installer/* systems/lib.nix \
        systems/toplevel/initrd-init.sh | hash_of)
    current "$medium" "$key" && return
    note "the machines' installation medium"
    rm -rf "$medium" "$medium.key"
    mkdir -p "$medium"
    kernel=$(nix-build --no-out-link -E "$lib.kernel" 2>"$medium/nix.log") || die "no kernel, see $medium/nix.log"
    initrd=$(nix-build --no-out-link -E "$lib.initrd" 2>"$medium/nix.log") || die "no initrd, see $medium/nix.log"
    build_squashfs
    build_iso "$kernel" "$initrd"
    build_kexec "$kernel" "$initrd"
    echo "$key" >"$medium.key"
}
