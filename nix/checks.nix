{
  nixmox,
  clippy,
  rustfmt,
}:
let
  # The package's sources and vendored crates under another cargo command; there is nothing to install.
  run =
    name: tools: command:
    nixmox.overrideAttrs (package: {
      pname = "nixmox-${name}";
      nativeBuildInputs = package.nativeBuildInputs ++ tools;
      buildPhase = command;
      installPhase = "touch $out";
      postInstall = "";
      dontFixup = true;
    });
in
{
  build = nixmox;
  clippy = run "clippy" [ clippy ] "cargo clippy --offline --workspace --all-targets -- -D warnings";
  fmt = run "fmt" [ rustfmt ] "cargo fmt --all --check";
}
