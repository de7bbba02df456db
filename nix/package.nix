{
  lib,
  stdenv,
  rustPlatform,
  installShellFiles,
}:
let
  workspace = (lib.importTOML ../Cargo.toml).workspace;
in
rustPlatform.buildRustPackage {
  pname = "nixmox-secrets";
  inherit (workspace.package) version;

  # Every member of the workspace, because cargo reads all their manifests; nothing that only people read.
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../Cargo.lock
      ../Cargo.toml
      ../benches
      ../bins
      ../clippy.toml
      ../crates
      ../rustfmt.toml
      ../tests
      ../xtask
    ];
  };

  cargoLock.lockFile = ../Cargo.lock;
  cargoBuildFlags = [
    "--package=nixmox-secrets-cli"
    "--package=nixmox-sops-cli"
  ];

  # The tests want a terminal, a file system in memory and other people's tools: `cargo xtask test` runs them.
  doCheck = false;

  nativeBuildInputs = [ installShellFiles ];

  # The program writes both itself, so it must run here.
  postInstall = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    installShellCompletion --cmd nixmox-secrets \
      --bash <("$out/bin/nixmox-secrets" completions bash) \
      --fish <("$out/bin/nixmox-secrets" completions fish) \
      --zsh <("$out/bin/nixmox-secrets" completions zsh)
    "$out/bin/nixmox-secrets" man --dir man
    installManPage man/*.1
  '';

  meta = {
    description = "One secrets file in, one sealed file per host out";
    license = with lib.licenses; [
      mit
      asl20
    ];
    mainProgram = "nixmox-secrets";
    platforms = lib.platforms.unix;
  };
}
