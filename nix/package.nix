{
  lib,
  stdenv,
  rustPlatform,
  installShellFiles,
}:
let
  workspace = (lib.importTOML ../Cargo.toml).workspace;
  programs = import ./programs.nix;
in
rustPlatform.buildRustPackage {
  pname = "nixmox";
  inherit (workspace.package) version;

  # Every member of the workspace, because cargo reads all their manifests, and what their tests include; nothing that
  # only people read.
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../Cargo.lock
      ../Cargo.toml
      ../benches
      ../bins
      ../clippy.toml
      ../crates
      ../fixtures
      ../rustfmt.toml
      ../tests
      ../xtask
    ];
  };

  cargoLock.lockFile = ../Cargo.lock;
  cargoBuildFlags = map (program: "--package=${program}-cli") (builtins.attrNames programs);

  # The tests want a terminal, a file system in memory and other people's tools: `cargo xtask test` runs them.
  doCheck = false;

  nativeBuildInputs = [ installShellFiles ];

  # The programs write both themselves, so they must run here.
  postInstall = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    for program in ${toString (builtins.attrNames programs)}; do
      installShellCompletion --cmd "$program" \
        --bash <("$out/bin/$program" completions bash) \
        --fish <("$out/bin/$program" completions fish) \
        --zsh <("$out/bin/$program" completions zsh)
      "$out/bin/$program" man --dir man
    done
    installManPage man/*.1
  '';

  meta = {
    description = "One repository in, running, secret-holding machines out";
    license = with lib.licenses; [
      mit
      asl20
    ];
    mainProgram = "nixmox-secrets";
    platforms = lib.platforms.unix;
  };
}
