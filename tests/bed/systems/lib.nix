# NixOS-like systems without nixpkgs.
#
# The store paths that these functions make look like NixOS's: `activate`, `bin/switch-to-configuration`, `init`, `etc`,
# `sw`, `boot.json`, profiles and generations. They behave like NixOS's too, down to the exit codes, as far as a deploy
# tool can see; see ./toplevel for the scripts. What runs in them is Debian's: a "userland" tree (systemd, openssh, nix)
# that lies in the store and is linked to /usr, and its kernel.
{
  # a folder with bin/busybox, a static one: the builder of everything here
  busybox,
  # userland, kernel -> { url, sha256 } of its tar
  lock,
  # the public keys that may log in as root, unless a system says otherwise
  authorizedKeys,
  system ? "x86_64-linux",
}:
let
  inherit (builtins)
    attrNames
    concatStringsSep
    filter
    isAttrs
    listToAttrs
    replaceStrings
    ;

  sh = "${busybox}/bin/busybox";

  run =
    name: env: script:
    derivation (
      {
        inherit name system script;
        builder = sh;
        # $PATH gives the script busybox's programs by their names.
        args = [
          "sh"
          "-euc"
          ''
            export PATH=${tools}/bin
            eval "$script"
          ''
        ];
        # Small and local: never worth a remote builder.
        preferLocalBuild = true;
        allowSubstitutes = false;
      }
      // env
    );

  # busybox's applets as links, so that PATH=${tools}/bin is a whole userland.
  tools = derivation {
    name = "busybox-tools";
    inherit system;
    builder = sh;
    args = [
      "sh"
      "-euc"
      ''
        b=${sh}
        $b mkdir -p $out/bin
        $b cp $b $out/bin/busybox
        for applet in $($b --list); do
          [ $applet = busybox ] || $b ln -s busybox $out/bin/$applet
        done
      ''
    ];
  };

  fetch =
    name:
    derivation {
      name = "${name}.tar";
      system = "builtin";
      builder = "builtin:fetchurl";
      inherit (lock.${name} or (throw "lock.json has no '${name}': run tests/bed/build.sh")) url;
      outputHash = lock.${name}.sha256;
      outputHashAlgo = "sha256";
      outputHashMode = "flat";
      executable = false;
      unpack = false;
      preferLocalBuild = true;
    };

  unpack =
    name:
    run name { src = fetch name; } ''
      mkdir $out
      tar -xf $src -C $out
    '';

  quote = text: "'${replaceStrings [ "'" ] [ "'\\''" ] text}'";
  lines = concatStringsSep "\n";

  # A tree of text files: { "path" = "text" or { text, mode } or { target }; }
  textTree =
    name: files:
    run name { } (
      "mkdir $out\n"
      + lines (
        map (
          path:
          let
            file = if isAttrs files.${path} then files.${path} else { text = files.${path}; };
            target = "$out/${quote path}";
          in
          ''
            mkdir -p "$(dirname ${target})"
          ''
          + (
            if file ? target then
              "ln -s ${quote file.target} ${target}"
            else
              ''
                printf %s ${quote file.text} > ${target}
                chmod ${file.mode or "0444"} ${target}
              ''
          )
        ) (attrNames files)
      )
    );

  script =
    name: text:
    run name { text = "#!${tools}/bin/busybox sh\n${text}"; } ''
      printf '%s\n' "$text" > $out
      chmod 555 $out
    '';

  # vmlinuz, modules/*.ko, modules.order, version
  kernel = unpack "kernel";

  # COMMANDS run before anything else; a variant's may end the boot there.
  initrdWith =
    commands:
    run "initrd"
      {
        inherit kernel;
        init = replaceStrings [ "@initrdCommands@" ] [ commands ] (builtins.readFile ./toplevel/initrd-init.sh);
      }
      ''
        mkdir -p root/bin root/modules root/proc root/sys root/dev root/run root/sysroot $out
        cp ${tools}/bin/busybox root/bin/busybox
        cp $kernel/modules/*.ko $kernel/modules.order root/modules/
        printf '%s\n' "$init" > root/init
        chmod 755 root/init
        # Equal inputs give an equal archive: no times, a fixed order.
        find root -exec touch -h -d @1 {} +
        (cd root && find . | sort | cpio -o -H newc -R 0:0) | gzip > $out/initrd
      '';

  # The programs in PATH: the userland's, and nixos-version.
  systemPathFor =
    usr:
    run "system-path"
      {
        inherit usr;
        nixosVersion = script "nixos-version" "echo \"$(${tools}/bin/cat /run/current-system/nixos-version)\"";
      }
      ''
        mkdir -p $out/bin
        ln -sf $usr/usr/sbin/* $usr/usr/bin/* $out/bin/
        ln -s $nixosVersion $out/bin/nixos-version
        [ -e $out/bin/busybox ] || ln -s ${tools}/bin/busybox $out/bin/busybox
      '';

  # What a variant adds to a system.  Each is a way in which a deployment goes
  # wrong on real machines; `ok` is the one that does not.  See docs/testbed.md.
  variants = {
    ok = { };

    # Fails before anything on the host has changed: exit 1.
    bootloader-fails.installBootLoader = "echo 'installing the boot loader fails' >&2; exit 1";

    # An activation snippet fails; the rest is switched all the same: exit 2.
    activate-fails.activationScripts.broken = "echo 'this snippet fails' >&2; exit 1";

    # A unit fails to start: exit 4.
    unit-fails.units."broken.service" = {
      enable = true;
      text = ''
        [Unit]
        Description=A unit that cannot start
        [Service]
        Type=oneshot
        RemainAfterExit=yes
        ExecStart=${tools}/bin/false
      '';
    };

    # The switch never ends: in the activation script, or waiting for a unit.
    hang.activationScripts.hang = "echo 'hanging'; sleep 100000";
    hang-unit.units."hanging.service" = {
      enable = true;
      text = ''
        [Unit]
        Description=A unit that never becomes active
        [Service]
        Type=oneshot
        TimeoutStartSec=infinity
        ExecStart=${tools}/bin/sleep 100000
      '';
    };

    # The new generation has no network: link down, a wrong address, or no way
    # back to the deployer (packets come in, answers do not leave).
    net-down.network.command = "ip link set \"$IFACE\" down";
    net-wrong-ip.network.command = ''
      ip addr flush dev "$IFACE"
      ip addr add 198.18.0.1/24 dev "$IFACE"
    '';
    net-blackhole.network.command = ''
      ip route add blackhole 0.0.0.0/1
      ip route add blackhole 128.0.0.0/1
      ip addr show dev "$IFACE" | awk '$1 == "inet" { print $2 }' | while read -r address; do
        ip addr del "$address" dev "$IFACE"
        ip addr add "''${address%/*}/32" dev "$IFACE"
      done
    '';

    # The host is up, but the deployer cannot log in any more.
    no-keys.authorizedKeys = [ ];
    sshd-off.sshd.enable = false;
    sshd-broken.sshd.extraConfig = "ThisIsNoSuchOption yes";
    sshd-port.sshd.extraConfig = "Port 2222";

    # The machine reboots in the middle of the switch (the boot loader already
    # names the new generation, if the action was `switch`); or it does so at
    # each boot; or it does not come up at all.
    reboot.activationScripts.reboot = "[ -z \"\${NIXOS_ACTION:-}\" ] || { sync; reboot -f; sleep 60; }";
    reboot-loop.activationScripts.reboot = "sync; reboot -f; sleep 60";
    boot-fails.bootCommands = "echo 'this generation does not boot' >&2; exit 1";

    # A machine's initrd gives up, and the kernel panics and reboots; or it hangs, and waits for the reset button.
    initrd-panics.initrdCommands = "echo 'this initrd gives up'; exit 1";
    initrd-hangs.initrdCommands = "echo 'this initrd hangs'; sleep 1000000000";

    # Takes its time, and then succeeds.
    slow.activationScripts.slow = "echo 'taking ten seconds'; sleep 10";

    # Kills the processes of whoever is logged in, the deployer's too.
    kills-sessions.activationScripts.kill = ''
      [ -z "''${NIXOS_ACTION:-}" ] ||
        for pid in $(pidof sshd sshd-session); do
          [ "$(awk '/^PPid/ { print $2 }' /proc/$pid/status)" = 1 ] || kill $pid
        done
    '';
  };

  # The systems every host has.
  mkSystem =
    {
      name,
      # one of `variants`
      variant ? "ok",
      # any number: the label's end, and the content of /etc/testbed/revision,
      # so that another revision is another store path
      revision ? 1,
      # with a kernel and an initrd, so that a machine can boot from it
      bootable ? false,
      kernelParams ? (
        if bootable then
          [
            "console=ttyS0"
            "panic=1"
            "quiet"
          ]
        else
          [ "quiet" ]
      ),
      # files below /etc, units, and snippets of the activation script
      etc ? { },
      units ? { },
      activationScripts ? { },
      # what runs before the boot loader is written
      installBootLoader ? "",
      # a static address { iface, address, gateway } instead of what the host
      # itself says in /etc/testbed/network.env
      network ? null,
      # the name in /etc/hostname, if not the one the host has
      hostName ? name,
      # what fleet tools are told: how to reach the host, and its tags
      targetHost ? name,
      targetUser ? "root",
      tags ? [ ],
      # the disk that the disko scripts below partition
      disk ? "/dev/disk/by-id/virtio-disk0",
      # what they format /boot with: vfat or ext4
      bootFileSystem ? "vfat",
      ...
    }@args:
    let
      effect = variants.${variant} or (throw "no variant '${variant}'");
      keys = effect.authorizedKeys or (args.authorizedKeys or authorizedKeys);
      label = "23.05.testbed.${variant}.${toString revision}";
      usr = unpack "userland";

      sshdConfig = ''
        HostKey /etc/ssh/ssh_host_ed25519_key
        AuthorizedKeysFile %h/.ssh/authorized_keys /etc/ssh/authorized_keys.d/%u
        PermitRootLogin prohibit-password
        PasswordAuthentication no
        KbdInteractiveAuthentication no
        UsePAM no
        UseDNS no
        PrintMotd no
        MaxStartups 100
        MaxSessions 100
        SetEnv PATH=/run/wrappers/bin:/nix/var/nix/profiles/default/bin:/run/current-system/sw/bin
        Subsystem sftp internal-sftp
        ${effect.sshd.extraConfig or ""}
      '';

      networkScript = script "network-setup" (
        builtins.readFile ./toplevel/network-setup.sh
        + (
          if network == null then
            ""
          else
            ''
              IFACE=${network.iface or "eth0"} ADDRESS=${network.address} GATEWAY=${network.gateway or ""}
            ''
        )
        + "configure\n"
        + (effect.network.command or "")
      );

      baseUnits = {
        "network-setup.service" = {
          enable = true;
          text = ''
            [Unit]
            Description=Addresses and routes
            Before=network.target sshd.service
            Wants=network.target
            DefaultDependencies=no
            Conflicts=shutdown.target
            Before=shutdown.target
            [Service]
            Type=oneshot
            RemainAfterExit=yes
            Environment=PATH=${tools}/bin
            ExecStart=${networkScript}
          '';
        };
        "sshd.service" = {
          enable = effect.sshd.enable or true;
          text = ''
            # ${builtins.hashString "sha256" sshdConfig}
            [Unit]
            Description=SSH Daemon
            After=network.target
            StartLimitIntervalSec=0
            [Service]
            Environment=PATH=/run/current-system/sw/bin
            ExecStartPre=${script "sshd-keygen" ''
              PATH=${tools}/bin
              mkdir -p /run/sshd /etc/ssh
              [ -s /etc/ssh/ssh_host_ed25519_key ] ||
                /usr/bin/ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key
            ''}
            ExecStartPre=/usr/sbin/sshd -t -f /etc/ssh/sshd_config
            ExecStart=/usr/sbin/sshd -D -f /etc/ssh/sshd_config
            KillMode=process
            Restart=always
            RestartSec=200ms
          '';
        };
        "nix-daemon.socket" = {
          enable = true;
          wantedBy = "sockets.target";
          text = ''
            [Unit]
            Description=Nix Daemon Socket
            [Socket]
            ListenStream=/nix/var/nix/daemon-socket/socket
          '';
        };
        "nix-daemon.service" = {
          enable = false;
          present = true;
          text = ''
            [Unit]
            Description=Nix Daemon
            Requires=nix-daemon.socket
            [Service]
            Environment=PATH=/run/current-system/sw/bin
            ExecStart=/usr/bin/nix-daemon --daemon
            KillMode=process
          '';
        };
        # A service whose unit changes with each revision: a switch restarts it.
        "testbed-app.service" = {
          enable = true;
          text = ''
            [Unit]
            Description=An application, revision ${toString revision}
            [Service]
            ExecStart=${tools}/bin/sh -c 'echo revision ${toString revision} >/run/testbed-app; exec sleep 1000000000'
          '';
        };
      };

      allUnits = baseUnits // units // (effect.units or { });
      present = filter (u: allUnits.${u}.enable or false || allUnits.${u}.present or false) (attrNames allUnits);
      enabled = filter (u: allUnits.${u}.enable or false) (attrNames allUnits);

      etcTree = textTree "etc" (
        {
          "NIXOS" = "";
          "os-release" = ''
            ID=nixos
            NAME=NixOS
            PRETTY_NAME="NixOS ${label} (testbed)"
            VERSION_ID="23.05"
            BUILD_ID="${label}"
          '';
          "nix/nix.conf" = ''
            build-users-group = nixbld
            sandbox = false
            substitute = false
            fsync-metadata = false
            trusted-users = root deploy
            experimental-features = nix-command flakes
          '';
          "nsswitch.conf" = ''
            passwd: files
            group: files
            shadow: files
            hosts: files dns
          '';
          "ssh/sshd_config" = sshdConfig;
          "sudoers" = {
            mode = "0440";
            text = ''
              Defaults env_reset, secure_path="/run/wrappers/bin:/run/current-system/sw/bin"
              root ALL=(ALL:ALL) ALL
              %wheel ALL=(ALL:ALL) NOPASSWD: ALL
            '';
          };
          "pam.d/other" = ''
            auth    required pam_permit.so
            account required pam_permit.so
            session required pam_permit.so
            password required pam_permit.so
          '';
          "profile" = ''
            export PATH=/run/wrappers/bin:/nix/var/nix/profiles/default/bin:/run/current-system/sw/bin
            [ "$(id -u)" = 0 ] || export NIX_REMOTE=daemon
          '';
          "systemd/system/default.target".target = "/usr/lib/systemd/system/multi-user.target";
          "systemd/system/sysinit.target.wants/systemd-journald.service".target = "/usr/lib/systemd/system/systemd-journald.service";
          "systemd/system/sysinit.target.wants/systemd-journal-flush.service".target = "/usr/lib/systemd/system/systemd-journal-flush.service";
          "systemd/system/sockets.target.wants/systemd-journald.socket".target = "/usr/lib/systemd/system/systemd-journald.socket";
          "systemd/system/sockets.target.wants/systemd-journald-dev-log.socket".target = "/usr/lib/systemd/system/systemd-journald-dev-log.socket";
          "systemd/system/sockets.target.wants/dbus.socket".target = "/usr/lib/systemd/system/dbus.socket";
          "systemd/journald.conf" = ''
            [Journal]
            SystemMaxUse=32M
            ForwardToConsole=no
          '';
          "systemd/system.conf" = ''
            [Manager]
            DefaultTimeoutStopSec=10s
            ShowStatus=no
          '';
          "testbed/revision" = "${toString revision}\n";
          "testbed/variant" = "${variant}\n";
        }
        // (
          if bootable then
            {
              "fstab" = ''
                LABEL=nixos / ext4 defaults 0 1
                LABEL=BOOT /boot ${bootFileSystem} defaults 0 2
              '';
            }
          else
            { }
        )
        // etc
        // listToAttrs (
          map (unit: {
            name = "systemd/system/${unit}";
            value = allUnits.${unit}.text;
          }) present
        )
        // listToAttrs (
          map (unit: {
            name = "systemd/system/${allUnits.${unit}.wantedBy or "multi-user.target"}.wants/${unit}";
            value.target = "../${unit}";
          }) enabled
        )
        // listToAttrs (
          map
            (user: {
              name = "ssh/authorized_keys.d/${user}";
              value = concatStringsSep "" (map (key: key + "\n") keys);
            })
            [
              "root"
              "deploy"
              "guest"
            ]
        )
      );

      # The system's own snippets, in the order of their names; a variant's
      # come last, when /etc is already the new one.
      snippets = activationScripts // (effect.activationScripts or { });
      snippetText = lines (
        map (snippet: ''
          snippet ${quote snippet} <<'__end_of_snippet__'
          ${snippets.${snippet}}
          __end_of_snippet__
        '') (attrNames snippets)
      );

      template =
        file: extra:
        replaceStrings
          ([
            "@tools@"
            "@usr@"
            "@hostName@"
            "@variant@"
            "@label@"
          ] ++ attrNames extra)
          ([
            "${tools}"
            "${usr}"
            hostName
            variant
            label
          ] ++ map (k: extra.${k}) (attrNames extra))
          (builtins.readFile file);

      # As disko's: they run in an installer, with its programs, and leave the new system's file systems at /mnt.
      diskHead = "set -e\ndisk=${disk}\n";
      diskFormat = ''
        umount -R /mnt 2>/dev/null || true
        sfdisk -q --wipe always "$disk" <<__end__
        label: gpt
        size=1M, type=21686148-6449-6E6F-744E-656564454649, name=grub
        size=256M, type=uefi, name=boot
        type=linux, name=root
        __end__
        udevadm settle
        ${
          if bootFileSystem == "ext4" then "mkfs.ext4 -q -F -L BOOT" else "mkfs.vfat -n BOOT"
        } /dev/disk/by-partlabel/boot >/dev/null 2>&1
        mkfs.ext4 -q -F -L nixos /dev/disk/by-partlabel/root
        udevadm settle
      '';
      diskMount = ''
        mkdir -p /mnt
        mount /dev/disk/by-partlabel/root /mnt
        mkdir -p /mnt/boot
        mount /dev/disk/by-partlabel/boot /mnt/boot
      '';

      toplevel =
        run "nixos-system-${name}-${label}"
          {
            inherit label usr;
            etc = etcTree;
            activate = template ./toplevel/activate.sh { "@snippets@" = snippetText; };
            dryActivate = template ./toplevel/dry-activate.sh { };
            init = template ./toplevel/init.sh { "@bootCommands@" = effect.bootCommands or ""; };
            switch = template ./toplevel/switch-to-configuration.sh { };
            loader = template ./toplevel/install-boot-loader.sh {
              "@installBootLoader@" = effect.installBootLoader or installBootLoader;
            };
            kernel = if bootable then kernel else "";
            initrd = if bootable then initrdWith (effect.initrdCommands or "") else "";
            kernelParams = concatStringsSep " " kernelParams;
            build = builtins.readFile ./toplevel/build.sh;
            systemPath = systemPathFor usr;
          }
          ''
            eval "$build"
          '';
    in
    {
      config = {
        system = {
          inherit name;
          build = {
            inherit toplevel;
            etc = etcTree;
            userland = usr;
            formatScript = script "disko-format" (diskHead + diskFormat);
            mountScript = script "disko-mount" (diskHead + diskMount);
            diskoScript = script "disko" (diskHead + diskFormat + diskMount);
          };
          nixos = {
            inherit label;
            version = label;
          };
        };
        networking.hostName = hostName;
        disko.devices.disk = if bootable then { main.device = disk; } else { };
        services.openssh.hostKeys = [
          {
            type = "ed25519";
            path = "/etc/ssh/ssh_host_ed25519_key";
          }
        ];
        nixpkgs.hostPlatform = { inherit system; };
        testbed = {
          inherit
            variant
            revision
            targetHost
            targetUser
            tags
            ;
        };
      };
      options = { };
    };

  # A system with the layout of nix-darwin's, for a host that says that it is a Mac: it has `activate`, and neither
  # `switch-to-configuration` nor what only Linux has. Its programs are those of a Mac where they differ from GNU's.
  mkDarwin =
    {
      name,
      # ok, fails, hangs or no-keys
      variant ? "ok",
      revision ? 1,
      ...
    }@args:
    let
      usr = unpack "userland";
      keys = if variant == "no-keys" then [ ] else args.authorizedKeys or authorizedKeys;
      onlyLinux = script "only-linux" ''
        echo "''${0##*/} $*" >>/var/log/only-linux
        echo "''${0##*/}: command not found" >&2
        exit 127
      '';
      move = script "mv" ''
        case $1 in
        -*T*) exec ${onlyLinux} "$@" ;;
        esac
        exec ${tools}/bin/mv "$@"
      '';
      unameProgram = script "uname" "echo Darwin";
      sysctl = script "sysctl" ''
        case "$*" in
        "-n kern.bootsessionuuid") ${tools}/bin/cat /proc/sys/kernel/random/boot_id ;;
        "-n kern.boottime")
          read -r up _ </proc/uptime
          echo "{ sec = $(($(${tools}/bin/date +%s) - ''${up%.*})), usec = 0 } some day"
          ;;
        *) exit 1 ;;
        esac
      '';
    in
    {
      system =
        run "darwin-system-${name}-${variant}.${toString revision}"
          {
            inherit
              usr
              onlyLinux
              move
              unameProgram
              sysctl
              ;
            activate = ''
              #!${tools}/bin/busybox sh
              set -e
              PATH=${tools}/bin
              [ "$(id -u)" = 0 ] || { echo "must be run as root" >&2; exit 2; }
              echo "activate @out@" >>/var/log/darwin.log
              echo "setting up /etc..." >&2
              ${
                {
                  fails = "echo 'this activation fails' >&2; exit 1";
                  hangs = "sleep 100000";
                }
                .${variant} or ""
              }
              for user in root deploy; do
                rm -f /etc/ssh/authorized_keys.d/$user
                printf %s ${quote (concatStringsSep "" (map (key: key + "\n") keys))} >/etc/ssh/authorized_keys.d/$user
              done
              ln -sfn @out@ /run/current-system
            '';
          }
          ''
            mkdir -p $out/sw/bin
            ln -sf $usr/usr/sbin/* $usr/usr/bin/* $out/sw/bin/
            for program in flock setsid timeout sha256sum systemctl systemd-run ip realpath; do
              ln -sf $onlyLinux $out/sw/bin/$program
            done
            ln -sf $move $out/sw/bin/mv
            ln -sf $unameProgram $out/sw/bin/uname
            ln -sf $sysctl $out/sw/bin/sysctl
            printf '%s\n' "$activate" | sed "s|@out@|$out|g" >$out/activate
            chmod 555 $out/activate
            printf %s $out >$out/systemConfig
          '';
    };

  linkFarm =
    name: entries:
    run name { } (
      "mkdir $out\n" + lines (map (k: "ln -s ${entries.${k}} $out/${quote k}") (attrNames entries))
    );
in
{
  inherit
    mkSystem
    mkDarwin
    variants
    tools
    linkFarm
    script
    textTree
    kernel
    ;
  # What the installation medium boots with.
  initrd = initrdWith "";
}
