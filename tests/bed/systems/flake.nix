{
  description = "A fleet of NixOS-like systems that needs no nixpkgs";

  outputs =
    { self }:
    let
      fleet = import ./. { };
    in
    {
      inherit (fleet) nixosConfigurations darwinConfigurations lib;
      packages.x86_64-linux = fleet.toplevels // {
        # Every node's system at once, as a farm of links.
        all = fleet.all;
      };
    };
}
