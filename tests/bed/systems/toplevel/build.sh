# build.sh -- runs in the Nix build of a toplevel; puts its parts together.
# shellcheck shell=sh
# shellcheck disable=SC2154  # the derivation sets the variables

put() {
    printf '%s\n' "$1" | sed "s|@out@|$out|g" >"$out/$2"
    chmod 555 "$out/$2"
}

mkdir -p "$out/bin" "$out/specialisation"
put "$activate" activate
put "$dryActivate" dry-activate
put "$init" init
put "$switch" bin/switch-to-configuration
put "$loader" install-boot-loader

ln -s "$etc" "$out/etc"
ln -s "$systemPath" "$out/sw"
ln -s "$usr/usr" "$out/systemd"
printf %s "$label" >"$out/nixos-version"
printf %s "$system" >"$out/system"
printf %s "systemd testbed" >"$out/init-interface-version"
printf %s "$kernelParams" >"$out/kernel-params"

if [ -n "$kernel" ]; then
    ln -s "$kernel/vmlinuz" "$out/kernel"
    ln -s "$kernel" "$out/kernel-modules"
    ln -s "$initrd/initrd" "$out/initrd"
fi

# The bootspec (NixOS RFC 125).
params=
for param in "init=$out/init" $kernelParams; do
    params="$params${params:+, }\"$param\""
done
cat >"$out/boot.json" <<__end__
{
  "org.nixos.bootspec.v1": {
    "init": "$out/init",
    "initrd": "${initrd:+$initrd/initrd}",
    "kernel": "${kernel:+$kernel/vmlinuz}",
    "kernelParams": [$params],
    "label": "$label",
    "system": "$system",
    "toplevel": "$out"
  },
  "org.nixos.specialisation.v1": {}
}
__end__
