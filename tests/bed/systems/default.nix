# A fleet, described by ./nodes.json; usable as a flake (flake.nix) and without: `nix-build -A toplevels.node1`.
#
# nodes.json:  { "count": 3, "default": { ... }, "nodes": { "node2": { ... } } }
#   count    nodes node1 ... nodeN
#   default  settings of every node
#   nodes    settings of single nodes, over the default; other names are added
# The settings are the arguments of mkSystem in ./lib.nix, for example
#   { "variant": "hang", "revision": 7 }
# or with { "os": "darwin" } those of mkDarwin.
{
  nodesFile ? ./nodes.json,
  # made by tests/bed/build.sh; fleets have a copy beside them
  inputs ? ./inputs,
}:
let
  read = file: builtins.fromJSON (builtins.readFile file);
  fleet = read nodesFile;

  lib = import ./lib.nix {
    busybox = inputs + "/busybox";
    lock = read (inputs + "/lock.json");
    authorizedKeys = read (inputs + "/keys.json");
  };

  numbered = builtins.genList (i: "node${toString (i + 1)}") (fleet.count or 0);
  names = numbered ++ builtins.attrNames (builtins.removeAttrs (fleet.nodes or { }) numbered);

  settings = name: { inherit name; } // (fleet.default or { }) // (fleet.nodes.${name} or { });
  isDarwin = name: (settings name).os or "nixos" == "darwin";
  configurations =
    make: wanted:
    builtins.listToAttrs (
      map (name: {
        inherit name;
        value = make (settings name);
      }) (builtins.filter wanted names)
    );
  nixosConfigurations = configurations lib.mkSystem (name: !isDarwin name);
  darwinConfigurations = configurations lib.mkDarwin isDarwin;
  toplevels =
    builtins.mapAttrs (_: node: node.config.system.build.toplevel) nixosConfigurations
    // builtins.mapAttrs (_: node: node.system) darwinConfigurations;
in
{
  inherit
    lib
    nixosConfigurations
    darwinConfigurations
    toplevels
    ;
  all = lib.linkFarm "fleet" toplevels;
}
