{
  nixmox-secrets,
  clippy,
  rustfmt,
}:
let
  # The package's sources and vendored crates under another cargo command; there is nothing to install.
  run =
    name: tools: command:
    nixmox-secrets.overrideAttrs (package: {
      pname = "nixmox-secrets-${name}";
      nativeBuildInputs = package.nativeBuildInputs ++ tools;
      buildPhase = command;
      installPhase = "touch $out";
      postInstall = "";
      dontFixup = true;
    });
in
{
  build = nixmox-secrets;
  clippy = run "clippy" [ clippy ] "cargo clippy --offline --workspace --all-targets -- -D warnings";
  fmt = run "fmt" [ rustfmt ] "cargo fmt --all --check";
}
