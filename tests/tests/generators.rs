//! Generated secrets before the programs that will read them.
//!
//! | judge | of |
//! |---|---|
//! | `openssl` | certificates: the chain, strictly; names, purposes, keys |
//! | `mkpasswd` (whois), `htpasswd` (apache2-utils), `argon2` | hashes |
//! | a PostgreSQL server (postgresql) | SCRAM verifiers: who has the password logs in, nobody else |
//! | `wg` (wireguard-tools), `ssh-keygen`, `age-keygen` | key pairs |
//! | `bwrap` (bubblewrap) | that a command reads nothing it was not given |
//!
//! What is missing fails the test.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]
#![expect(clippy::panic, reason = "a missing judge fails the test")]

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nixmox_tests::{Shape, TestEnv};
use tempfile::TempDir;

const MASTER: &str = r#"{
  nodes.servers = {
    _ca._generate = { type = "ca"; name = "Example CA"; };
    _pw._generate = { type = "password"; };
    tls._generate = {
      type = "certificate";
      ca = "servers._ca";
      names = [ "{{host}}.example.org" "*.apps.example.org" "10.0.0.7" "fd00::7" ];
      usage = "both";
      perHost = true;
    };
    client._generate = { type = "certificate"; ca = "servers._ca"; names = [ "backup" ]; usage = "client"; };
    bcrypt._generate = { type = "bcrypt"; of = "servers._pw"; cost = 5; };
    argon._generate = { type = "argon2id"; of = "servers._pw"; memory = 8192; passes = 2; lanes = 2; };
    crypt._generate = { type = "sha512-crypt"; of = "servers._pw"; rounds = 5000; };
    scram._generate = { type = "scram-sha-256"; of = "servers._pw"; };
    ssh._generate.type = "ssh-ed25519";
    wg._generate.type = "wireguard";
    age._generate.type = "age";
  };
}
"#;

fn generated() -> TestEnv {
    let mut env = TestEnv::new();
    env.fleet(Shape::default());
    env.types(MASTER).run(&["edit"]).ends(0);
    env
}

fn get(env: &TestEnv, path: &str) -> String {
    env.run(&["get", path]).ends(0).out
}

/// Runs a judge with something on standard input; returns whether it is content, and what it printed.
fn judge(program: &str, args: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn openssl_trusts_the_certificates_for_what_they_say() {
    let env = generated();
    let file = |path: &str| env.give(path, get(&env, path));
    let ca = file("servers._ca.cert");
    let verify = |cert: &str, more: &[&str]| {
        let args = [&["verify", "-x509_strict", "-CAfile", &ca], more, &[cert]].concat();
        judge("openssl", &args, "")
    };
    assert!(verify(&ca, &[]).0, "the authority itself");
    for host in ["server1", "server2"] {
        let cert = file(&format!("{host}.tls.cert"));
        let name = format!("{host}.example.org");
        for good in [
            &["-purpose", "sslserver", "-verify_hostname", &name][..],
            &["-purpose", "sslclient"],
            &["-verify_hostname", "x.apps.example.org"],
            &["-verify_ip", "10.0.0.7"],
            &["-verify_ip", "fd00::7"],
        ] {
            let (fine, said) = verify(&cert, good);
            assert!(fine, "{good:?}: {said}");
        }
        for bad in [
            &["-verify_hostname", "other.example.org"][..],
            &["-verify_ip", "10.0.0.8"],
            &["-purpose", "timestampsign"],
            &["-attime", "4102444800"],
        ] {
            assert!(!verify(&cert, bad).0, "{bad:?}");
        }
        // The key is the certificate's, and each host has its own.
        let key = file(&format!("{host}.tls.key"));
        let of_key = judge("openssl", &["pkey", "-in", &key, "-pubout"], "").1;
        let of_cert = judge("openssl", &["x509", "-in", &cert, "-noout", "-pubkey"], "").1;
        assert!(of_key.contains("BEGIN PUBLIC KEY") && of_key == of_cert, "{of_key} {of_cert}");
        assert_eq!(get(&env, &format!("{host}.tls.ca")), get(&env, "servers._ca.cert"));
    }
    let client = file("servers.client.cert");
    assert!(verify(&client, &["-purpose", "sslclient"]).0);
    assert!(!verify(&client, &["-purpose", "sslserver"]).0);
    // Nobody signs with a certificate that is no authority.
    let (_, shown) = judge("openssl", &["x509", "-in", &client, "-noout", "-text"], "");
    assert!(shown.contains("CA:FALSE") && shown.contains("Issuer: CN = Example CA"), "{shown}");
}

#[test]
fn readers_of_hashes_know_the_password_and_no_other() {
    let env = generated();
    let password = get(&env, "servers._pw");
    let hash = get(&env, "servers.crypt");
    let parts: Vec<&str> = hash.split('$').collect();
    let args = ["-m", "sha-512", "-R", "5000", "-S", parts[3], "-s"];
    assert_eq!(judge("mkpasswd", &args, &password).1.trim(), hash);
    assert_ne!(judge("mkpasswd", &args, "other").1.trim(), hash);

    let file = env.give("htpasswd", format!("app:{}\n", get(&env, "servers.bcrypt")));
    assert!(judge("htpasswd", &["-vi", &file, "app"], &password).0);
    assert!(!judge("htpasswd", &["-vi", &file, "app"], "other").0);

    let encoded = get(&env, "servers.argon");
    let salt = encoded.split('$').nth(4).unwrap();
    let salt = judge("base64", &["-d"], &format!("{salt}==")).1;
    let args = [&*salt, "-id", "-t", "2", "-k", "8192", "-p", "2", "-e"];
    assert_eq!(judge("argon2", &args, &password).1.trim(), encoded);
    assert_ne!(judge("argon2", &args, "other").1.trim(), encoded);
}

#[test]
fn makers_of_keys_agree_on_the_public_halves() {
    let env = generated();
    let private = |name: &str| get(&env, &format!("servers.{name}.private"));
    let public = |name: &str| get(&env, &format!("servers.{name}.public"));
    assert_eq!(judge("wg", &["pubkey"], &private("wg")).1.trim(), public("wg"));
    assert_eq!(judge("age-keygen", &["-y"], &private("age")).1.trim(), public("age"));
    let key = env.give("id", private("ssh"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(judge("ssh-keygen", &["-y", "-f", &key], "").1.trim(), public("ssh"));
    // What Nix reads is what was delivered.
    let clear = env.path("fleet/nodes/servers/server1/public.json");
    let clear: serde_json::Value = serde_json::from_slice(&fs::read(clear).unwrap()).unwrap();
    for name in ["wg", "age", "ssh"] {
        assert_eq!(clear[name], serde_json::json!({ "public": public(name) }));
    }
    assert_eq!(clear["_ca"], serde_json::json!({ "cert": get(&env, "servers._ca.cert") }));
    env.run(&["check"]).ends(0);
}

/// A PostgreSQL server of the test's own, reached through a socket alone.
struct Postgres {
    dir: TempDir,
    server: Child,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Finds a program of the server, which Debian keeps out of the search path.
fn server_program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin").join(name));
    found.max().filter(|path| path.exists()).unwrap_or_else(|| name.into())
}

/// Prepares a program that refuses to run as root.
fn as_nobody(program: &Path) -> Command {
    if judge("id", &["-u"], "").1.trim() != "0" {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

impl Postgres {
    fn start() -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        if judge("id", &["-u"], "").1.trim() == "0" {
            let number = |of: &str| judge("id", &[of, "postgres"], "").1.trim().parse().ok();
            chown(dir.path(), number("-u"), number("-g")).unwrap();
        }
        let data = dir.path().join("data");
        let made = as_nobody(&server_program("initdb"))
            .args(["--auth=trust", "--no-sync", "--username=admin", "-D"])
            .arg(&data)
            .current_dir("/")
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        fs::write(data.join("pg_hba.conf"), "local all admin trust\nlocal all all scram-sha-256\n")
            .unwrap();
        let server = as_nobody(&server_program("postgres"))
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"])
            .arg(dir.path())
            .arg("-D")
            .arg(&data)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let postgres = Self { dir, server };
        let end = Instant::now() + Duration::from_secs(60);
        while postgres.ask("admin", "", "select 1") != Some("1".to_owned()) {
            assert!(Instant::now() < end, "the server does not start");
            std::thread::sleep(Duration::from_millis(100));
        }
        postgres
    }

    /// Asks as somebody, and returns the answer if he is let in.
    fn ask(&self, user: &str, password: &str, question: &str) -> Option<String> {
        let mut child = Command::new("psql")
            .args(["-XqtA", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-U", user, "-h"])
            .arg(self.dir.path())
            .env("PGPASSWORD", password)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(question.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(answer)
    }
}

#[test]
fn postgresql_lets_in_who_has_the_password() {
    let env = generated();
    let (password, verifier) = (get(&env, "servers._pw"), get(&env, "servers.scram"));
    let postgres = Postgres::start();
    let role = format!("create role app login password '{verifier}'");
    postgres.ask("admin", "", &role).unwrap();
    let kept = postgres.ask("admin", "", "select rolpassword from pg_authid where rolname = 'app'");
    assert_eq!(kept, Some(verifier), "kept as it is, not hashed again");
    assert_eq!(postgres.ask("app", &password, "select current_user").as_deref(), Some("app"));
    assert_eq!(postgres.ask("app", "other", "select current_user"), None);
}

/// Declares a command and returns what came of it.
fn commanded(env: &mut TestEnv, script: &str, more: &str) -> nixmox_tests::Ran {
    let script = script.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    env.types(&format!(
        "{{ nodes.servers = {{ word = \"given\"; x._generate = {{ type = \"command\"; \
         command = [ \"sh\" \"-c\" \"{script}\" ]; inputs.word = \"servers.word\"; {more} }}; }}; }}"
    ));
    env.run(&["edit", "--repo", "."])
}

#[test]
fn a_command_reads_its_input_and_nothing_else() {
    const CANARY: &str = "cAnArY-of-the-sandbox";
    let mut env = TestEnv::new();
    env.fleet(Shape::default());
    let home = env.path("home").display().to_string();
    let fleet = env.path("fleet").display().to_string();
    for place in ["home/canary", "fleet/canary", "tmp/canary", "run/canary"] {
        fs::write(env.path(place), CANARY).unwrap();
    }
    env.var("CANARY", CANARY).var("SOPS_AGE_KEY", CANARY);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!(
        "cat; env; cat {home}/canary {fleet}/canary /etc/passwd /root/.profile ../canary; \
         find / -xdev -name 'canary*' -not -path '/proc/*'; ls /home /root /dev/shm /run /etc; \
         ls -l /proc/self/fd; cat /proc/*/environ; \
         perl -MIO::Socket::INET -e 'print \"net \", \
         IO::Socket::INET->new(\"127.0.0.1:{port}\") ? \"open\" : \"closed\", \"\\n\"'; \
         touch /usr/canary && echo wrote; touch /tmp/canary && echo temporary; true"
    );
    commanded(&mut env, &script, "").ends(0);
    let said = get(&env, "servers.x");
    assert!(said.starts_with(r#"{"host":null,"inputs":{"word":"given"},"seed":""#), "{said}");
    assert!(!said.contains(CANARY), "{said}");
    assert!(!said.contains("root:") && !said.contains(&fleet), "{said}");
    assert!(said.contains("net closed"), "{said}");
    assert!(said.contains("temporary") && !said.contains("wrote"), "{said}");
    let names = said.lines().filter_map(|line| line.split_once('='));
    let names: Vec<&str> =
        names.map(|(name, _)| name).filter(|n| n.chars().all(|c| c.is_ascii_uppercase())).collect();
    assert!(names.iter().all(|n| ["PATH", "LANG", "PWD"].contains(n)), "{said}");
    assert!(!Path::new("/tmp/canary").exists() && !Path::new("/usr/canary").exists());
    // Somebody could have connected: the listener works.
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
}

#[test]
fn files_that_were_open_are_closed_to_a_command() {
    const CANARY: &str = "cAnArY-of-an-open-file";
    let mut env = TestEnv::new();
    env.fleet(Shape::default());
    commanded(&mut env, "cat <&9; ls /proc/self/fd", "").ends(0);
    let canary = env.give("canary", CANARY);
    let script =
        format!("exec 9<{canary} 19<{canary}; exec \"$0\" generate --regenerate servers.x");
    let program = env.program().to_owned();
    let output =
        env.command(Path::new("bash")).args(["-c", &script]).arg(program).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = get(&env, "servers.x");
    assert!(!said.contains(CANARY), "{said}");
    assert_eq!(said.lines().collect::<Vec<_>>(), ["0", "1", "2", "3"], "3 is the listing itself");
}

#[test]
fn a_command_that_fails_or_says_too_much_gives_no_value() {
    let mut env = TestEnv::new();
    env.fleet(Shape::default());
    let ran = commanded(&mut env, "cat >&2; exit 3", "").ends(2);
    assert!(ran.err.contains("the command of `servers.x` failed"), "{ran:#?}");
    assert!(ran.err.contains("exit code 3") && !ran.err.contains("seed"), "{ran:#?}");
    let ran = commanded(&mut env, "yes", "").ends(2);
    assert!(ran.err.contains("it printed more than 65536 bytes"), "{ran:#?}");
    let ran = commanded(&mut env, "true", "").ends(2);
    assert!(ran.err.contains("came out empty"), "{ran:#?}");
    let parts = "outputs = [ \"key\" \"pub\" ]; public = [ \"pub\" ];";
    commanded(&mut env, r#"echo '{"key": "k", "pub": "p"}'"#, parts).ends(0);
    assert_eq!(get(&env, "servers.x.key"), "k");
    let clear = fs::read_to_string(env.path("fleet/nodes/servers/server1/public.json")).unwrap();
    assert!(clear.contains("\"pub\": \"p\"") && !clear.contains("\"key\""), "{clear}");
}
