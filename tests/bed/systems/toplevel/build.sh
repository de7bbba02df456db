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
printf %s "quiet" >"$out/kernel-params"

# The bootspec (NixOS RFC 125).
cat >"$out/boot.json" <<__end__
{
  "org.nixos.bootspec.v1": {
    "init": "$out/init",
    "kernelParams": ["init=$out/init", "quiet"],
    "label": "$label",
    "system": "$system",
    "toplevel": "$out"
  },
  "org.nixos.specialisation.v1": {}
}
__end__
