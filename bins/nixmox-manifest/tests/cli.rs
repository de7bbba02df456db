//! What a person sees, command by command.
//!
//! Needs git, bash, caddy, openssl, and nix-instantiate (Debian: git, bash, caddy, openssl, nix-bin).

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use insta::assert_snapshot;
use tempfile::TempDir;

const EXAMPLE: &str = include_str!("../../../fixtures/manifest/example.nix");
const SEED: &str = include_str!("../../../fixtures/manifest/seed.nix");

/// A directory with files, and a home of its own.
struct Env {
    dir: TempDir,
}

impl Env {
    fn new(files: &[(&str, &str)]) -> Self {
        let env = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(env.dir.path().join("home")).unwrap();
        for (name, text) in files {
            env.write(name, text);
        }
        env
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.env("HOME", self.dir.path().join("home")).env("LANG", "C.UTF-8");
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn git(&self, args: &[&str]) {
        let mut git = self.command("git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@example.lan"]).args(args);
        let output = git.output().unwrap_or_else(|e| panic!("git runs: {e}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs the program and shows it as a person would see it.
    fn run(&self, args: &[&str]) -> String {
        let output =
            self.command(env!("CARGO_BIN_EXE_nixmox-manifest")).args(args).output().unwrap();
        let (out, err) = (output.stdout, output.stderr);
        let said = format!("{}{}", String::from_utf8_lossy(&out), String::from_utf8_lossy(&err));
        let dir = self.dir.path().canonicalize().unwrap();
        let said = said.replace(dir.to_str().unwrap(), "/test");
        let code = output.status.code().unwrap();
        format!("$ nixmox-manifest {}\n{said}[{code}]\n", args.join(" "))
    }
}

fn example() -> Env {
    Env::new(&[("service-manifest.nix", EXAMPLE)])
}

#[test]
fn the_help() {
    assert_snapshot!("help", example().run(&["-h"]));
}

#[test]
fn a_clean_manifest() {
    assert_snapshot!(example().run(&["check"]), @r"
    $ nixmox-manifest check
    all is well: 7 services
    [0]
    ");
    let below = Env::new(&[("nixos/service-manifest.nix", EXAMPLE)]);
    assert!(below.run(&["check", "--deny", "warnings"]).ends_with("[0]\n"));
}

#[test]
fn findings_in_every_form() {
    let env = Env::new(&[("service-manifest.nix", SEED)]);
    assert_snapshot!("seed-pretty", env.run(&["check"]));
    assert_snapshot!("seed-short", env.run(&["check", "--format", "short"]));
    assert_snapshot!("seed-github", env.run(&["check", "--format", "github"]));
    let json = env.run(&["check", "--format", "json"]);
    let json = json.split_once('\n').unwrap().1.strip_suffix("[1]\n").unwrap();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!((&json["errors"], &json["warnings"]), (&2.into(), &10.into()));
}

#[test]
fn warnings_fail_when_they_are_denied() {
    let env = Env::new(&[("service-manifest.nix", &EXAMPLE.replacen("vmid = 904;", "", 1))]);
    assert!(env.run(&["check"]).ends_with("[0]\n"));
    assert!(env.run(&["check", "--deny", "warnings"]).ends_with("[1]\n"));
}

#[test]
fn rules_are_explained() {
    let env = example();
    assert_snapshot!(env.run(&["check", "--explain", "m201"]), @r"
    $ nixmox-manifest check --explain m201
    M201 (error): two services have one address

    Only one machine can have an address. The second one to start takes it from the first.
    [0]
    ");
    assert_snapshot!(env.run(&["rules", "M999"]), @r"
    $ nixmox-manifest rules M999
    error: there is no rule `M999`
      hint: list them: nixmox-manifest rules
    [2]
    ");
}

#[test]
fn mistakes() {
    let env = Env::new(&[("x.nix", "{ network = { }; "), ("y.txt", "")]);
    assert_snapshot!(env.run(&["check"]), @r"
    $ nixmox-manifest check
    error: there is no service manifest here or above
      hint: name it: --manifest FILE
      hint: it is looked for as service-manifest.nix, .toml, .yaml, .json, also in nixos/
    [100]
    ");
    assert_snapshot!(env.run(&["check", "x.nix"]), @r"
    $ nixmox-manifest check x.nix
    error[M001]

      × the manifest does not evaluate: syntax error: expected a name
       ╭─[x.nix:1:18]
     1 │ { network = { }; 
       ╰────

    1 error in 0 services
    [1]
    ");
    assert_snapshot!(env.run(&["check", "y.txt"]), @r"
    $ nixmox-manifest check y.txt
    error: y.txt is in no known format
      hint: its name ends in .nix, .toml, .yaml or .json
    [2]
    ");
    assert_snapshot!(env.run(&["plan", "-m", "x.nix"]), @r"
    $ nixmox-manifest plan -m x.nix
    error: the manifest has 1 error
      hint: x.nix:1:18: error[M001]: the manifest does not evaluate: syntax error: expected a name
      hint: see all of it: nixmox-manifest check
    [2]
    ");
    assert_snapshot!(example().run(&["why", "monitoring", "postgres"]), @r"
    $ nixmox-manifest why monitoring postgres
    error: there is no service `postgres`
      hint: did you mean postgresql?
    [2]
    ");
    assert_snapshot!(example().run(&["json", "--host", "nobody"]), @r"
    $ nixmox-manifest json --host nobody
    error: there is no enabled host `nobody`
      hint: there are authentik, caddy, dns, media, monitoring, postgresql, vaultwarden
    [7]
    ");
    assert_snapshot!(example().run(&["diff", "nowhere"]), @r"
    $ nixmox-manifest diff nowhere
    error: `nowhere` is neither a file nor a revision that has service-manifest.nix
    [100]
    ");
}

#[test]
fn who_needs_whom() {
    let env = example();
    assert_snapshot!("graph-text", env.run(&["graph"]));
    assert_snapshot!("graph-dot", env.run(&["graph", "--format", "dot"]));
    assert_snapshot!("graph-mermaid", env.run(&["graph", "--format", "mermaid"]));
    let svg = env.run(&["graph", "--format", "svg"]);
    assert!(svg.contains("<svg") && svg.contains("vaultwarden"), "{svg}");
    assert_snapshot!(env.run(&["why", "monitoring", "postgresql"]), @r"
    $ nixmox-manifest why monitoring postgresql
    monitoring needs authentik: declared in depends_on (service-manifest.nix:130:30)
    authentik needs postgresql: implied by its database (service-manifest.nix:43:9)
    [0]
    ");
    assert_snapshot!(env.run(&["why", "dns", "caddy"]), @r"
    $ nixmox-manifest why dns caddy
    dns does not need caddy
    [1]
    ");
}

#[test]
fn what_a_deployment_does() {
    assert_snapshot!("plan", example().run(&["plan"]));
}

#[test]
fn what_changed_since_a_revision() {
    let env = Env::new(&[
        ("nixos/service-manifest.nix", "import ./rest.nix"),
        ("nixos/rest.nix", EXAMPLE),
    ]);
    env.git(&["init", "--quiet"]);
    env.git(&["add", "."]);
    env.git(&["commit", "--quiet", "-m", "one"]);
    assert_snapshot!(env.run(&["diff"]), @r"
    $ nixmox-manifest diff
    nothing changes
    [0]
    ");
    env.write(
        "nixos/rest.nix",
        &EXAMPLE.replacen("192.168.99.14:8080", "192.168.99.14:8090", 1).replacen(
            "ports = [ 8080 ]",
            "ports = [ 8090 ]",
            1,
        ),
    );
    assert_snapshot!("diff", env.run(&["diff", "HEAD"]));
    env.write("old.nix", EXAMPLE);
    env.write("new.nix", &EXAMPLE.replacen("# A small", "# Another", 1));
    assert!(env.run(&["diff", "old.nix", "new.nix"]).contains("nothing changes\n[0]"));
}

#[test]
fn names_of_secrets_and_groups() {
    assert_snapshot!(example().run(&["secrets"]), @r"
    $ nixmox-manifest secrets
    authentik-ldap/env  for authentik
    authentik-radius/env  for authentik
    authentik/bootstrap_token  for authentik
    authentik/database_password  for authentik, postgresql
    internal_ca/wildcard_private_key  for caddy
    media/jellyfin/oidc_client_secret  for media
    media/sonarr/database_password  for media, postgresql
    monitoring/oidc_client_secret  for monitoring
    postgresql/admin_password  for postgresql
    vaultwarden/database_password  for vaultwarden, postgresql
    vaultwarden/oidc_client_secret  for vaultwarden
    [0]
    ");
    assert_snapshot!(example().run(&["inventory"]), @r"
    $ nixmox-manifest inventory
    all: core_services, services
    core_services: authentik, caddy, dns, postgresql
    services: media, monitoring, vaultwarden
    [0]
    ");
}

#[test]
fn sealed_names_are_compared() {
    let env = example();
    env.write(
        "secrets.yaml",
        "vaultwarden:\n    database_pasword: ENC[x]\nsops:\n    version: 3\n",
    );
    assert_snapshot!(
        "sealed",
        env.run(&["check", "--secrets", "secrets.yaml", "--format", "short"])
    );
}

#[test]
fn a_real_nix_reads_what_is_beyond() {
    let beyond = "let x = builtins.fromTOML \"a = 1\"; in builtins.seq x (import ./rest.nix)";
    let env = Env::new(&[("service-manifest.nix", beyond), ("rest.nix", SEED)]);
    assert_snapshot!(env.run(&["check", "--format", "short"]), @r"
    $ nixmox-manifest check --format short
    service-manifest.nix:1:18: error[M001]: the manifest does not evaluate: this builtin is not supported
    1 error in 0 services
    [1]
    ");
    let real = env.run(&["check", "--nix", "--format", "short"]);
    assert_snapshot!("real-nix", real);
}

#[test]
fn every_command_takes_the_file_alike() {
    let env = Env::new(&[("m.nix", EXAMPLE)]);
    for args in [
        &["check"][..],
        &["graph"],
        &["why", "monitoring", "postgresql"],
        &["plan"],
        &["json"],
        &["json", "--host", "caddy"],
        &["secrets"],
        &["inventory"],
    ] {
        let behind = env.run(&[args, &["m.nix"]].concat());
        let named = env.run(&[&["-m", "m.nix"], args].concat());
        assert!(behind.ends_with("[0]\n"), "{behind}");
        let said = |text: &str| text.split_once('\n').unwrap().1.to_owned();
        assert_eq!(said(&behind), said(&named));
    }
}

#[test]
fn a_certificate_is_held_against_the_vhosts() {
    let env = example();
    let certificate = |days: &str, names: &str| {
        let mut openssl = env.command("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        openssl.args(["-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=x"]);
        openssl.args(["-days", days, "-addext", &format!("subjectAltName={names}")]);
        let output = openssl.output().unwrap_or_else(|e| panic!("openssl runs: {e}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        env.run(&["check", "--certificate", "cert.pem", "--format", "short"])
    };
    let good = certificate("90", "DNS:*.example.lan,DNS:example.lan,IP:192.168.99.10");
    assert!(good.contains("all is well"), "{good}");
    let soon = certificate("20", "DNS:*.example.lan");
    assert!(soon.contains("[M906]: the certificate ends in "), "{soon}");
    let other = certificate("90", "DNS:*.example.org");
    assert!(
        other.contains("[M906]: the certificate does not cover `vault.example.lan`"),
        "{other}"
    );
    let deep = EXAMPLE.replacen("vault.example.lan", "a.b.example.lan", 2);
    env.write("service-manifest.nix", &deep);
    let beyond = certificate("90", "DNS:*.example.lan");
    assert!(beyond.contains("error[M407]"), "{beyond}");
    let covered = certificate("90", "DNS:*.example.lan,DNS:*.b.example.lan");
    assert!(!covered.contains("[M407]"), "{covered}");
    env.write("cert.pem", "no certificate");
    let wrong = env.run(&["check", "--certificate", "cert.pem"]);
    assert!(wrong.contains("cert.pem is not a certificate as PEM"), "{wrong}");
}

#[test]
fn caddy_reads_what_is_pasted_into_its_sites() {
    let extra = "header X-Frame-Options DENY";
    assert!(EXAMPLE.contains("extra_config = "), "the example has extra configuration");
    let line = EXAMPLE.lines().find(|line| line.contains("extra_config = ")).unwrap();
    let with = |text: &str| EXAMPLE.replacen(line, &format!("extra_config = \"{text}\";"), 1);
    let env = Env::new(&[("good.nix", &with(extra)), ("bad.nix", &with("\\nheadr X Y"))]);
    let good = env.run(&["check", "good.nix", "--tools", "--format", "short"]);
    assert!(good.contains("all is well"), "{good}");
    let bad = env.run(&["check", "bad.nix", "--tools", "--format", "short"]);
    assert!(bad.contains("error[M411]") && bad.contains("line 2"), "{bad}");
    // Without Caddy nothing is said about texts that nobody has read, and one thing about Caddy.
    let bin = env.dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let bash = std::env::split_paths(&path).map(|dir| dir.join("bash")).find(|path| path.is_file());
    std::os::unix::fs::symlink(bash.unwrap(), bin.join("bash")).unwrap();
    let mut command = env.command(env!("CARGO_BIN_EXE_nixmox-manifest"));
    let output = command.args(["check", "good.nix", "--tools"]).env("PATH", &bin).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_snapshot!(String::from_utf8_lossy(&output.stdout), @"all is well: 7 services");
    assert_snapshot!(String::from_utf8_lossy(&output.stderr), @r"
    error: caddy cannot be run
      hint: --tools asks it: install caddy, or leave --tools out
    ");
}

#[test]
fn other_programs_judge() {
    let text = EXAMPLE.replacen("pg_isready --quiet", "if true; pg_isready", 1);
    let env = Env::new(&[("service-manifest.nix", &text)]);
    let without = env.run(&["check", "--format", "short"]);
    assert!(without.ends_with("[0]\n"), "{without}");
    let with = env.run(&["check", "--format", "short", "--tools"]);
    assert!(with.contains("error[M704]"), "{with}");
}

#[test]
fn links_and_paths_out_of_the_repository_are_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("x.nix"), EXAMPLE).unwrap();
    let env = Env::new(&[("m.nix", "import ./link.nix"), ("n.nix", "import ../x.nix")]);
    std::os::unix::fs::symlink(outside.path().join("x.nix"), env.dir.path().join("link.nix"))
        .unwrap();
    for name in ["m.nix", "n.nix"] {
        let said = env.run(&["check", name, "--format", "short"]);
        assert!(said.contains("error[M001]"), "{said}");
    }
}

#[test]
fn pages_and_schemas() {
    let env = example();
    for args in [
        &["schema"][..],
        &["schema", "--outputs"],
        &["man"],
        &["completions", "bash"],
        &["rules"],
        &["rules", "--markdown"],
        &["json"],
        &["json", "--host", "caddy"],
        &["plan", "--json"],
        &["graph", "--json"],
        &["rules", "--json"],
    ] {
        let said = env.run(args);
        assert!(said.ends_with("[0]\n") && said.len() > 200, "{said}");
    }
}

#[test]
fn the_programs_path_is_real() {
    assert!(Path::new(env!("CARGO_BIN_EXE_nixmox-manifest")).exists());
}
