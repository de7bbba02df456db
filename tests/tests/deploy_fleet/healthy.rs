//! What has to be true before a system is kept, seen from here, from the host, and from another one.

use std::fs;
use std::process::{Child, Command, Stdio};

use nixmox_tests::BedHost;

use crate::operator::Operator;

/// A web server with TLS on a host's port 443, which names itself `web.lan`. It is this machine's OpenSSL, in the host's
/// network alone.
struct Server(Child);

impl Server {
    fn start(operator: &Operator, host: BedHost<'_>) -> Self {
        let (key, certificate) = (operator.env.path("given/key"), operator.env.path("given/ca"));
        let mut make = Command::new("openssl");
        make.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        make.args(["-nodes", "-subj", "/CN=web.lan", "-addext", "subjectAltName=DNS:web.lan"]);
        make.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
        assert!(make.output().unwrap().status.success());
        let network = host.root().with_file_name("ns/net");
        let mut server = Command::new("nsenter");
        server.arg(format!("--net={}", network.display()));
        server.args(["openssl", "s_server", "-accept", "443", "-www", "-quiet"]);
        server.arg("-key").arg(&key).arg("-cert").arg(&certificate);
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(server.spawn().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_is_kept_was_seen_from_several_sides() {
    let mut operator = Operator::new(2);
    let certificate = operator.env.path("given/ca").display().to_string();
    operator.env.var("CURL_CA_BUNDLE", &certificate);
    let _server = Server::start(&operator, operator.host(1));
    for number in [1, 2] {
        let address = operator.host(number).address();
        let checks = if number == 1 { "\"from:node2:tcp:22\" \"https:web.lan/\"" } else { "" };
        let text = format!(
            "{{ os = \"nixos\"; deploy = {{ targetHost = \"{address}\"; checks = [ {checks} ]; }}; }}"
        );
        operator.file(&format!("nodes/node{number}/node.nix"), &text);
    }
    let deploy = |operator: &Operator, revision: u32, check: &str| {
        operator.systems.set_all("revision", revision);
        let systems = operator.build();
        let words = format!("deploy node1 --paths PATHS --dwell 1 --check {check}");
        (systems["node1"].clone(), operator.run(&words))
    };

    // The other host does not know the certificate, and this one does.
    let before = operator.running();
    let (_, ran) = deploy(&operator, 2, "from:node2:https:web.lan/");
    let ran = ran.ends(70);
    assert!(ran.out.contains("the check from:node2:https:web.lan/ failed"), "{ran:#?}");
    for passed in ["check from:node2:tcp:22: passed", "check https:web.lan/: passed"] {
        assert!(ran.err.contains(passed), "{ran:#?}");
    }
    operator.host(1).runs_and_boots(&before["node1"]);
    let place = operator.host(2).root().join("etc/ssl/certs");
    fs::create_dir_all(&place).unwrap();
    fs::copy(&certificate, place.join("ca-certificates.crt")).unwrap();
    let (system, ran) = deploy(&operator, 3, "from:node2:https:web.lan/");
    ran.ends(0);
    operator.host(1).runs_and_boots(&system);
    // Nobody was deployed to from where it was looked.
    assert_eq!(operator.host(2).current_system(), before["node2"]);

    // A certificate of another name, a port where nobody listens.
    for check in ["https:other.lan/", "from:node2:tcp:444", "from:node2:http:80/"] {
        let (_, ran) = deploy(&operator, 4, check);
        let ran = ran.ends(70);
        assert!(ran.out.contains(&format!("the check {check} failed")), "{ran:#?}");
        operator.host(1).runs_and_boots(&system);
    }
    let (_, ran) = deploy(&operator, 4, "from:node9:tcp:22");
    let ran = ran.ends(5);
    assert!(ran.err.contains("node9, which is no host of this fleet"), "{ran:#?}");
}
