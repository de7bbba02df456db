{
  description = "nixmox: one secrets file in, one sealed file per host out";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "x86_64-darwin"
        "aarch64-darwin"
      ];
      eachSystem = f: nixpkgs.lib.genAttrs systems (system: f system nixpkgs.legacyPackages.${system});
    in
    {
      packages = eachSystem (
        system: pkgs: rec {
          nixmox-secrets = pkgs.callPackage ./nix/package.nix { };
          default = nixmox-secrets;
        }
      );

      apps = eachSystem (
        system: pkgs: rec {
          nixmox-secrets = {
            type = "app";
            program = nixpkgs.lib.getExe self.packages.${system}.nixmox-secrets;
            meta.description = "Edit, seal and check the secrets of a fleet";
          };
          default = nixmox-secrets;
        }
      );

      checks = eachSystem (
        system: pkgs:
        pkgs.callPackage ./nix/checks.nix { inherit (self.packages.${system}) nixmox-secrets; }
      );

      devShells = eachSystem (
        system: pkgs: {
          default = pkgs.callPackage ./nix/shell.nix { inherit (self.packages.${system}) nixmox-secrets; };
        }
      );

      formatter = eachSystem (system: pkgs: pkgs.nixfmt-tree);
    };
}
