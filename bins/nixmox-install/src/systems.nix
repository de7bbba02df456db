# What nixmox-install asks of configurations: of those with these names, among all.
names: all:
let
  made = x: {
    drv = x.drvPath;
    out = x.outPath;
  };

  # What cannot be evaluated is not known.
  known =
    value:
    let
      tried = builtins.tryEval (builtins.deepSeq value value);
    in
    if tried.success then tried.value else null;

  names' = set: builtins.attrNames set;
  ed25519 =
    config:
    builtins.filter (key: (key.type or "") == "ed25519") (config.services.openssh.hostKeys or [ ]);

  # Certificates and commands let people in as well, who are not known here.
  elsewhere =
    sshd:
    (sshd.settings.TrustedUserCAKeys or null) != null
    || !builtins.elem (sshd.authorizedKeysCommand or "none") [ "none" ];
  hasKey =
    user:
    (user.openssh.authorizedKeys.keys or [ ]) != [ ]
    || (user.openssh.authorizedKeys.keyFiles or [ ]) != [ ];
  logins =
    config:
    if !(config ? users.users) || elsewhere (config.services.openssh or { }) then
      null
    else
      builtins.filter (name: hasKey config.users.users.${name}) (names' config.users.users);

  firmware =
    loader:
    let
      grub = loader.grub or { };
      enabled = grub.enable or false;
      disks = [ (grub.device or "") ] ++ (grub.devices or [ ])
        ++ builtins.concatMap (boot: boot.devices or [ ]) (grub.mirroredBoots or [ ]);
      onDisk = builtins.any (disk: disk != "" && disk != "nodev") disks;
    in
    (if enabled && onDisk then [ "bios" ] else [ ])
    ++ (if (loader.systemd-boot.enable or false) || (enabled && (grub.efiSupport or false)) then [ "efi" ] else [ ]);

  network =
    config:
    let
      networking = config.networking or { };
      interfaces = networking.interfaces or { };
      each = f: map (name: f interfaces.${name}) (names' interfaces);
      of = family: interface: map (one: one.address) (interface.${family}.addresses or [ ]);
      others = [
        (config.systemd.network.enable or false)
        (networking.networkmanager.enable or false)
        (!(networking ? useDHCP))
      ];
    in
    if builtins.elem true others then
      { }
    else
      {
        addresses = builtins.concatLists (each (of "ipv4") ++ each (of "ipv6"));
        dhcp = networking.useDHCP || builtins.elem true (each (interface: (interface.useDHCP or null) == true));
      };

  # Those that are always mounted first.
  early = [ "/" "/nix" "/nix/store" "/etc" "/usr" "/var" "/var/lib" "/var/lib/nixos" "/var/log" ];
  late =
    systems:
    builtins.filter (
      at: !(systems.${at}.neededForBoot or false) && !builtins.elem (systems.${at}.mountPoint or at) early
    ) (names' systems);
  asks = devices: builtins.filter (name: (devices.${name}.keyFile or null) == null) (names' devices);

  one =
    name:
    let
      config = all.${name}.config;
      build = config.system.build;
      net = known (network config);
    in
    {
      inherit name;
      value = {
        toplevel = made build.toplevel;
        format = made build.diskoScript;
        mount = if build ? mountScript then made build.mountScript else null;
        devices = map (disk: disk.device) (builtins.attrValues (config.disko.devices.disk or { }));
        system = config.nixpkgs.hostPlatform.system or null;
        hostKeyPath = if ed25519 config == [ ] then null else (builtins.head (ed25519 config)).path;
        config = {
          sshd = known (config.services.openssh.enable or null);
          logins = known (logins config);
          hostKeys = known (map (key: key.path) (ed25519 config));
          firmware = known (firmware (config.boot.loader or { }));
          addresses = net.addresses or null;
          dhcp = net.dhcp or null;
          passphrases = known (asks (config.boot.initrd.luks.devices or { }));
          late = known (late (config.fileSystems or { }));
        };
      };
    };
in
builtins.listToAttrs (map one (builtins.filter (name: all ? ${name}) names))
