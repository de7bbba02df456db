{
  lib,
  stdenv,
  mkShell,
  nixmox,
  age,
  cargo-fuzz,
  cargo-nextest,
  clippy,
  git,
  jq,
  nano,
  nodejs,
  openssh,
  python3,
  rust-analyzer,
  rustfmt,
  sops,
  strace,
  tmux,
  vim,
}:
mkShell {
  inputsFrom = [ nixmox ];
  packages = [
    age
    cargo-fuzz
    cargo-nextest
    clippy
    git
    jq
    nano
    nodejs
    openssh
    python3
    rust-analyzer
    rustfmt
    sops
    tmux
    vim
  ]
  ++ lib.optionals stdenv.hostPlatform.isLinux [ strace ];
}
