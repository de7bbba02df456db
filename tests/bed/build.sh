#!/usr/bin/env bash
# build.sh -- build, once, what the bed's hosts and machines are made of.
#
#   build.sh            everything that hosts.sh and vm.sh need; what is there and current stays
#   build.sh clean      remove it
#
# In $BED_CACHE (target/bed):
#   root-bookworm/      a Debian root, made by debootstrap from the mirror that apt uses
#   userland-bookworm.tar   the part of it that a host needs, the same bytes each time
#   kernel.tar          Debian's kernel for clouds, and the modules that a machine needs
#   inputs/             what fleets read: busybox, the client's public key, the tars' hashes
#   seed                the path of the disk that hosts start from: seed-HASH
#   medium/             what machines boot from: installer.iso, installer.squashfs, and kexec.tar
# Each has a file *.key beside it: the hash of what it was made of.

# shellcheck source=lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=lib/medium.sh
. "$BED_ROOT/lib/medium.sh"

PACKAGES=(
    nix-bin systemd systemd-sysv udev dbus openssh-client openssh-server openssh-sftp-server sudo iproute2
    busybox-static procps kmod util-linux mount curl ca-certificates xz-utils zstd bzip2 less passwd iputils-ping
    fdisk e2fsprogs dosfstools grub-pc-bin grub2-common isolinux syslinux-common xorriso kexec-tools squashfs-tools
)

# What a machine needs to reach its disk, its network, the installer's squashfs and a FAT /boot; what these modules
# depend on is added.
MODULES=(virtio_pci virtio_blk virtio_net virtio_rng ext4 vfat nls_cp437 nls_ascii nls_iso8859-1 squashfs overlay loop)

root=$BED_CACHE/root-$BED_SUITE
tar=$BED_CACHE/userland-$BED_SUITE.tar
kernel=$BED_CACHE/kernel.tar
medium=$BED_CACHE/medium
inputs=$BED_CACHE/inputs

# current THING KEY -- was THING made of what KEY says?
current() {
    [[ -e $1 && $(cat "$1.key" 2>/dev/null) == "$2" ]]
}

hash_of() {
    sha256sum | cut -d' ' -f1
}

# The mirror of apt's sources, in either of their forms.
mirror() {
    local found
    found=$(
        grep -hoE '^URIs: *[^ ]+/debian/?$' /etc/apt/sources.list.d/*.sources 2>/dev/null | sed 's/^URIs: *//'
        grep -hE '^deb ' /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
            grep -oE '(https?|file):[^ ]+/debian/? ' | tr -d ' '
    ) || true
    head -n 1 <<<"${found:-http://deb.debian.org/debian}"
}

build_root() {
    local key setting
    key=$(printf '%s\n' "$BED_SUITE" "${PACKAGES[@]}" | hash_of)
    current "$root" "$key" && return
    need debootstrap
    note "a Debian root: debootstrap $BED_SUITE (about a minute)"
    rm -rf --one-file-system "$root" "$root.key"
    # debootstrap takes a proxy from the environment alone, apt in the new root likewise.
    setting=$(apt-config dump --format '%v' Acquire::http::Proxy 2>/dev/null) || true
    [[ -z $setting || -n ${http_proxy:-} ]] || export http_proxy=$setting
    debootstrap --variant=minbase "$BED_SUITE" "$root" "$(mirror)" >"$root.log" 2>&1 ||
        die "debootstrap failed, see $root.log"
    # No service is to be started inside the root.
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    DEBIAN_FRONTEND=noninteractive chroot "$root" \
        apt-get install -y --no-install-recommends "${PACKAGES[@]}" >>"$root.log" 2>&1 ||
        die "apt-get failed in $root, see $root.log"
    chroot "$root" apt-get clean
    echo "$key" >"$root.key"
}

# Copy one path of the root into a tree, following links inside the root so that both the link and what it points at
# arrive.
copy_path() {
    local tree=$1 path=$2 target
    if [[ -L $root/$path ]]; then
        target=$(readlink "$root/$path")
        # Debian's alternatives lie in /etc, which is the host's own.
        if [[ $target == /etc/alternatives/* ]]; then
            target=$(chroot "$root" readlink -f "/$path")
            mkdir -p "$tree/$(dirname "$path")"
            ln -s "$(realpath -m --relative-to "/$(dirname "$path")" "$target")" "$tree/$path"
            copy_path "$tree" "${target#/}"
            return
        fi
        [[ $target == /* ]] || target=/$(dirname "$path")/$target
        target=$(realpath -ms "$target")
        # bin, sbin and lib are links into usr (merged /usr).
        [[ $target =~ ^/(bin|sbin|lib|lib64)/ ]] && target=/usr$target
        mkdir -p "$tree/$(dirname "$path")"
        cp -a "$root/$path" "$tree/$path"
        [[ -e $root$target || -L $root$target ]] || return 0
        copy_path "$tree" "${target#/}"
    elif [[ -d $root/$path ]]; then
        mkdir -p "$tree/$path"
        cp -a "$root/$path/." "$tree/$path/"
    elif [[ -e $root/$path ]]; then
        mkdir -p "$tree/$(dirname "$path")"
        cp -a "$root/$path" "$tree/$path"
    fi
}

copy_listed() {
    local tree=$1 line pattern patterns path
    while read -r line; do
        [[ -z $line || $line == \#* ]] && continue
        # The list is ours, so braces may be expanded with eval; the globs wait.
        set -f
        eval "patterns=($line)"
        set +f
        for pattern in "${patterns[@]}"; do
            while read -r path; do
                copy_path "$tree" "$path"
            done < <(cd "$root" && { compgen -G "$pattern" || true; })
        done
    done <"$BED_ROOT/lib/userland.list"
}

# The shared libraries of everything executable in the tree. (ldd fails for each file that is no dynamic program; those
# count for nothing.)
copy_libraries() {
    local tree=$1 library
    find "$tree" -type f \( -perm /111 -o -name '*.so*' \) -printf '/%P\n' |
        { chroot "$root" xargs -n 64 ldd 2>/dev/null || true; } |
        sed -nE 's/^\s*(.* => )?(\/[^ ]+) \(0x.*/\2/p' | sort -u |
        while read -r library; do
            [[ $library =~ ^/(lib|lib64)/ ]] && library=/usr$library
            copy_path "$tree" "${library#/}"
        done
    mkdir -p "$tree/usr/lib64"
    [[ -e $tree/usr/lib64/ld-linux-x86-64.so.2 ]] || copy_path "$tree" usr/lib64/ld-linux-x86-64.so.2
}

build_userland() {
    local key tree=${tar%.tar}
    key=$(cat "$root.key" "$BED_ROOT/lib/userland.list" "$BED_ROOT/build.sh" | hash_of)
    current "$tar" "$key" && return
    note "the hosts' userland"
    rm -rf "$tree" "$tar.key"
    mkdir -p "$tree"
    copy_listed "$tree"
    copy_libraries "$tree"
    # The store keeps no set-user-id bits; activation makes the wrappers.
    chmod -R u-s,g-s,u+w "$tree"
    find "$tree" -xtype l -delete
    pack "$tree" "$tar"
    echo "$key" >"$tar.key"
}

# Only unpacked: nothing of it is set up, and no initrd is made.
build_kernel() {
    local key tree=$BED_CACHE/kernel downloads package version
    key=$(cat "$root.key" <(printf '%s\n' "${MODULES[@]}") | hash_of)
    current "$kernel" "$key" && return
    note "the machines' kernel"
    rm -rf "$tree" "$kernel.key"
    downloads=$root/var/tmp/kernel
    rm -rf "$downloads"
    mkdir -p "$downloads" "$tree/modules"
    package=$(chroot "$root" apt-cache depends --important linux-image-cloud-amd64 |
        awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }')
    chroot "$root" sh -c "cd /var/tmp/kernel && apt-get -o APT::Sandbox::User=root download -qq '$package'" \
        >>"$root.log" 2>&1 || die "no kernel, see $root.log"
    dpkg-deb -x "$downloads"/linux-image-*.deb "$downloads/tree"
    version=${package#linux-image-}
    cp "$downloads/tree/boot/vmlinuz-$version" "$tree/vmlinuz"
    printf '%s\n' "$version" >"$tree/version"
    chroot "$root" depmod -b /var/tmp/kernel/tree "$version"
    # In modules.order, every module comes after what it depends on.
    for package in "${MODULES[@]}"; do
        chroot "$root" modprobe -d /var/tmp/kernel/tree --set-version "$version" --show-depends "$package" || true
    done 2>>"$root.log" | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r package; do
        cp "$root$package" "$tree/modules/"
        basename "$package"
    done >"$tree/modules.order"
    [[ -s $tree/modules.order ]] || die "the kernel has no modules"
    pack "$tree" "$kernel"
    rm -rf "$downloads"
    echo "$key" >"$kernel.key"
}

# pack TREE TAR -- the same bytes for the same tree.
pack() {
    (cd "$1" && tar --sort=name --mtime=@1 --owner=0 --group=0 --numeric-owner \
        --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime -cf "$2.tmp" .)
    rm -rf "$1"
    mv "$2.tmp" "$2"
}

# locked TAR -- how the Nix expressions name it.
locked() {
    printf '{ "url": "file://%s", "sha256": "%s" }' "$1" "$(sha256sum "$1" | cut -d' ' -f1)"
}

# The Nix expressions fetch the tars by their hash, so that they evaluate in pure mode, and take the rest from `inputs`.
build_inputs() {
    local key
    [[ -e $BED_CLIENT_KEY ]] || ssh-keygen -q -t ed25519 -N '' -C bed-client -f "$BED_CLIENT_KEY"
    key=$(cat "$tar.key" "$kernel.key" "$BED_CLIENT_KEY.pub" "$(command -v busybox)" | hash_of)
    current "$inputs" "$key" && return
    # The static one, since it runs before there is a /lib64.
    ! ldd "$(command -v busybox)" >/dev/null 2>&1 || die "busybox is not static; install busybox-static"
    rm -rf "$inputs" "$inputs.key"
    mkdir -p "$inputs/busybox/bin"
    install -m 755 "$(command -v busybox)" "$inputs/busybox/bin/busybox"
    printf '["%s"]\n' "$(<"$BED_CLIENT_KEY.pub")" >"$inputs/keys.json"
    printf '{ "userland": %s, "kernel": %s }\n' "$(locked "$tar")" "$(locked "$kernel")" >"$inputs/lock.json"
    echo "$key" >"$inputs.key"
}

# The disk that every host starts from: generation 1, installed and activated.
build_seed() {
    local key system disk
    key=$(cd "$BED_ROOT" && { cat "$inputs.key" build.sh; find systems -type f | sort | xargs cat; } | hash_of)
    current "$BED_CACHE/seed" "$key" && [[ -d $(<"$BED_CACHE/seed") ]] && return
    note "the hosts' disk"
    system=$(nix-build --no-out-link -E "(import $BED_ROOT/systems { inputs = $inputs; }).lib.mkSystem {
        name = \"host\"; hostName = \"\"; revision = 0; }" \
        -A config.system.build.toplevel 2>"$BED_CACHE/seed.log") || die "no seed: $(tail -n 3 "$BED_CACHE/seed.log")"
    # Another one of before may be the disk of hosts that are up.
    disk=$BED_CACHE/seed-${key:0:12}
    rm -rf "$disk"
    mkdir -p "$disk"/{boot,proc,sys,dev,run}
    nix copy --no-check-sigs --to "$disk" "$system"
    nix-env --store "$disk" -p "$disk/nix/var/nix/profiles/system" --set "$system"
    NIXOS_ENTER=1 chroot "$disk" "$system/activate" >/dev/null || die "the seed does not activate"
    chroot "$disk" "$system/install-boot-loader" || die "the seed has no boot loader"
    # What belongs to one host, or to one boot.
    rm -rf "$disk/etc/machine-id" "$disk/var/log/testbed.log"
    find "$disk/run" -mindepth 1 -delete
    printf '%s\n' "$disk" >"$BED_CACHE/seed"
    echo "$key" >"$BED_CACHE/seed.key"
}

case ${1:-} in
'')
    need_root
    need nix nix-build nix-env busybox ssh-keygen tar flock
    mkdir -p "$BED_CACHE"
    # One at a time: whoever comes second finds everything done.
    exec 9>"$BED_CACHE/lock"
    flock 9
    build_root
    build_userland
    build_kernel
    build_inputs
    build_seed
    build_medium
    ;;
clean) rm -rf --one-file-system "$BED_CACHE" ;;
*) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" ;;
esac
