{
  description = "nixmox: one repository in, running, secret-holding machines out";

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
          nixmox = pkgs.callPackage ./nix/package.nix { };
          default = nixmox;
        }
      );

      apps = eachSystem (
        system: pkgs:
        let
          app = name: description: {
            type = "app";
            program = "${self.packages.${system}.nixmox}/bin/${name}";
            meta = { inherit description; };
          };
          apps = builtins.mapAttrs app (import ./nix/programs.nix);
        in
        apps // { default = apps.nixmox-secrets; }
      );

      checks = eachSystem (
        system: pkgs: pkgs.callPackage ./nix/checks.nix { inherit (self.packages.${system}) nixmox; }
      );

      devShells = eachSystem (
        system: pkgs: {
          default = pkgs.callPackage ./nix/shell.nix { inherit (self.packages.${system}) nixmox; };
        }
      );

      formatter = eachSystem (system: pkgs: pkgs.nixfmt-tree);
    };
}
