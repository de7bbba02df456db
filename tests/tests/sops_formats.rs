//! Both programs know the same formats, and open what the other one sealed.

use nixmox_tests::{Shape, TestEnv, sops_program};

const PLAIN: [(&str, &str); 4] = [
    ("app.env", "# comment\nUSER=app\nPASSWORD=hunter2\n"),
    ("app.ini", "; comment\ntop = 1\n\n[db]\npassword = hunter2\n"),
    ("app.yaml", "# comment\ndb:\n    password: hunter2\n"),
    ("app.json", "{\n\t\"password\": \"hunter2\"\n}\n"),
];

#[test]
fn what_one_program_seals_the_other_opens() {
    let mut env = TestEnv::new();
    env.fleet(Shape::default());
    // Hosts have keys from the first secret on.
    env.secrets(&[("routers.psk", "x")]);
    for (name, plain) in PLAIN {
        let given = env.give(name, plain);
        env.run(&["encrypt", &given, "--output", name]).ends(0);
        assert_eq!(env.tool(&sops_program().display().to_string(), &["decrypt", name]), plain);
        env.run(&["encrypt", name]).ends(203);
        let sealed = env.tool(&sops_program().display().to_string(), &["encrypt", &given]);
        assert!(!sealed.contains("hunter2"), "{sealed}");
        let other = env.give(&format!("sealed-{name}"), sealed);
        assert_eq!(env.run(&["decrypt", &other]).ends(0).out, plain);
        // To a host's key, which the fleet's admins hold sealed.
        let host = format!("host-{name}");
        env.run(&["encrypt", &given, "--node", "router1", "--output", &host]).ends(0);
        env.run(&["decrypt", &host]).ends(128);
        assert_eq!(env.run(&["decrypt", &host, "--node", "router1"]).ends(0).out, plain);
    }
}
