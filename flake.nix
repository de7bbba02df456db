{
  description = "One repository, many NixOS machines: secrets first";

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
      eachSystem = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
      workspace = (builtins.fromTOML (builtins.readFile ./Cargo.toml)).workspace.package;

      nixmox-secrets =
        pkgs:
        pkgs.rustPlatform.buildRustPackage {
          pname = "nixmox-secrets";
          inherit (workspace) version;
          src = self;
          cargoLock.lockFile = ./Cargo.lock;
          cargoBuildFlags = [ "--package=nixmox-secrets-cli" ];
          # The tests of the whole workspace need other people's tools and the network: `cargo xtask test` has both.
          cargoTestFlags = [
            "--package=nixmox-tree"
            "--package=nixmox-topology"
            "--package=nixmox-cascade"
            "--package=nixmox-hostkey"
            "--package=nixmox-sops"
          ];
          nativeBuildInputs = [ pkgs.installShellFiles ];
          postInstall = ''
            for shell in bash fish zsh; do
              $out/bin/nixmox-secrets completions $shell > nixmox-secrets.$shell
              installShellCompletion --cmd nixmox-secrets --$shell nixmox-secrets.$shell
            done
            $out/bin/nixmox-secrets man --dir man
            installManPage man/*.1
          '';
          meta = {
            description = "One secrets file in, one sealed file per host out";
            license = [
              pkgs.lib.licenses.mit
              pkgs.lib.licenses.asl20
            ];
            mainProgram = "nixmox-secrets";
          };
        };

      # The package's own build, ended by another command of cargo.
      cargoCheck =
        pkgs: name: tools: command:
        (nixmox-secrets pkgs).overrideAttrs (old: {
          pname = "nixmox-${name}";
          nativeBuildInputs = old.nativeBuildInputs ++ tools;
          buildPhase = command;
          doCheck = false;
          installPhase = "touch $out";
          postInstall = "";
        });
    in
    {
      packages = eachSystem (pkgs: {
        nixmox-secrets = nixmox-secrets pkgs;
        default = nixmox-secrets pkgs;
      });

      apps = eachSystem (pkgs: {
        default = {
          type = "app";
          program = "${nixmox-secrets pkgs}/bin/nixmox-secrets";
        };
      });

      checks = eachSystem (pkgs: {
        build = nixmox-secrets pkgs;
        clippy = cargoCheck pkgs "clippy" [ pkgs.clippy ] "cargo clippy --workspace --all-targets -- -D warnings";
        format = cargoCheck pkgs "format" [ pkgs.rustfmt ] "cargo fmt --all --check";
      });

      devShells = eachSystem (pkgs: {
        default = pkgs.mkShell {
          inputsFrom = [ (nixmox-secrets pkgs) ];
          packages = [
            pkgs.age
            pkgs.cargo-nextest
            pkgs.clippy
            pkgs.git
            pkgs.nodejs
            pkgs.openssh
            pkgs.rustfmt
            pkgs.tmux
            pkgs.vim
          ]
          ++ pkgs.lib.optional pkgs.stdenv.hostPlatform.isLinux pkgs.strace;
        };
      });

      formatter = eachSystem (pkgs: pkgs.nixfmt-rfc-style);
    };
}
