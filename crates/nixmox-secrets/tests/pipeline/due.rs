//! Values that are past their age, and what a broken host leaves to be done.

use nixmox_secrets::readers::{Commit, History, Version};
use nixmox_secrets::{
    Error, Form, KeyStep, Renewal, TextProblem, Why, exposure, master, open, view,
};
use nixmox_sops::Identities;

use crate::site::*;

const AGES: &str = ".nixmox/ages.json";

const POLICY: &str = r#"{ secrets, ... }: {
  domain = "example.org";
  nodes.web = { token = "group-token"; port = 443; url = "https://${secrets.domain}"; };
  nodes.w1 = { token = "own-token"; db.password = "hunter2"; _hidden = "never"; };
  policy.maxAge = { "web.token" = "30d"; "w1.*" = "1y"; };
}
"#;

const YAML_POLICY: &str = "\
nodes:
    web:
        token: group-token
    w1:
        token: own-token
policy:
    maxAge:
        web.*: 30d
        w1.token: 1y
";

fn due(site: &Site) -> Vec<(String, Why)> {
    let found = site.due();
    found.values.into_iter().map(|value| (value.path.join("."), value.why)).collect()
}

#[track_caller]
fn is(site: &Site, expect: &[(&str, Why)]) {
    let expect: Vec<_> = expect.iter().map(|(path, why)| ((*path).to_owned(), *why)).collect();
    assert_eq!(due(site), expect);
}

#[test]
fn a_value_is_due_when_it_is_older_than_its_limit() {
    let mut site = Site::with_secrets(Form::Nix);
    assert!(!site.has(AGES), "without a policy nothing is recorded");
    site.edit(POLICY);
    is(&site, &[]);
    site.later(31);
    is(&site, &[("web.token", Why::TooOld)]);
    // New data keys and other admins do not make a value younger.
    site.renew(&Renewal::everything()).unwrap();
    site.rules(&[&site.admin, &person(5)]);
    site.accepting(ADMINS).unwrap();
    is(&site, &[("web.token", Why::TooOld)]);
    // Only another value does.
    site.edit(&POLICY.replace("group-token", "another-token"));
    is(&site, &[]);
    site.later(335);
    let (old, known) = (Why::TooOld, due(&site));
    assert_eq!(known.len(), 4, "{known:?}");
    assert!(known.iter().all(|(_, why)| *why == old) && known[0].0 == "w1._hidden");
    assert_eq!(site.check().problems, []);
    assert!(site.again().is_unchanged());
    site.edit(NIX);
    assert!(!site.has(AGES), "the policy is gone");
}

#[test]
fn a_yaml_master_declares_a_policy_too() {
    let mut site = Site::new(Form::Yaml);
    site.edit(YAML_POLICY);
    site.later(40);
    is(&site, &[("web.token", Why::TooOld)]);
    assert!(!site.text(W1).contains("maxAge"), "a policy is delivered to nobody");
}

#[test]
fn the_record_names_nothing_and_cannot_be_made_younger() {
    let mut site = Site::with_secrets(Form::Nix);
    site.edit(POLICY);
    let record = site.text(AGES);
    for word in ["token", "web", "hunter2", "policy"] {
        assert!(!record.contains(word), "{word}");
    }
    site.later(31);
    let line = record.lines().find(|line| line.contains("since")).unwrap();
    let since = line.split("\"since\":\"").nth(1).unwrap().split('"').next().unwrap();
    for forged in [
        record.replace(since, "2099-01-01"),
        record.replace(since, "2023-12-15"),
        record.lines().filter(|line| !line.contains("since")).collect::<Vec<_>>().join("\n"),
        "<<<<<<< ours".to_owned(),
    ] {
        site.write(AGES, forged);
        let found = site.due();
        assert!(found.unvouched && found.values.iter().all(|v| v.why == Why::AgeUnknown));
        assert_eq!(found.values.len(), 4, "what is not known counts as due");
    }
    site.remove(AGES);
    assert!(site.due().unvouched);
    assert!(!site.again().is_unchanged(), "it is recorded anew");
    assert!(!site.due().unvouched);
}

#[test]
fn a_policy_that_says_nothing_sensible_is_an_error_of_the_text() {
    let mut site = Site::with_secrets(Form::Nix);
    let before = site.snapshot();
    for (from, to) in [("30d", "30"), ("web.token", "wbe.token"), ("maxAge", "maxage")] {
        let result = site.try_edit(&POLICY.replace(from, to));
        assert!(matches!(result, Err(Error::Text(TextProblem::Policy(_)))), "{result:?}");
    }
    assert_eq!(before, site.snapshot());
    site.edit(&POLICY.replace("web.token", "web.tokken"));
    assert_eq!(site.due().idle, ["web.tokken"]);
}

/// Takes a file of the site for a committed version.
fn version(site: &Site, path: &str) -> Version {
    Version { path: path.to_owned(), commit: Commit::default(), bytes: site.read(path) }
}

#[test]
fn what_a_broken_host_could_read_stays_due_until_it_has_changed() {
    let mut site = Site::with_secrets(Form::Nix);
    let mut history = History::default();
    site.edit(&NIX.replace("db.password", "api.key"));
    history.add(vec![version(&site, W1), version(&site, W1_PUB)], &Identities::new());
    site.edit(&NIX.replace("db.password = \"hunter2\";", ""));
    let identities = site.admin.identities();
    let options = options(&identities, NOTHING, None);
    let (fleet, file) = open(site.root(), &options).unwrap();
    let tree = master::evaluate(file.form(), file.text(), None).unwrap();
    let view = view(&fleet, &file, master::nodes(&tree).unwrap(), &options).unwrap();
    let reach = exposure(&fleet, &view, "w1", &history).unwrap();
    let names = |set: &std::collections::BTreeSet<Vec<String>>| {
        set.iter().map(|path| path.join(".")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&reach.current), "w1.token web.port web.url");
    assert_eq!((names(&reach.earlier), names(&reach.gone)), (String::new(), "api.key".to_owned()));
    let keys = [("w1".to_owned(), KeyStep::Replace)].into();
    let renewal = Renewal { keys, exposed: reach.current, master: true, ..Renewal::default() };
    site.renew(&renewal).unwrap();
    let exposed = |names: &[&'static str]| -> Vec<(&'static str, Why)> {
        names.iter().map(|name| (*name, Why::Exposed)).collect()
    };
    is(&site, &exposed(&["w1.token", "web.port", "web.url"]));
    // Neither time nor new data keys help, and another value of another name neither.
    site.later(500);
    site.renew(&Renewal::everything()).unwrap();
    let text = NIX.replace("db.password = \"hunter2\";", "").replace("never", "other");
    site.edit(&text);
    is(&site, &exposed(&["w1.token", "web.port", "web.url"]));
    let text = text.replace("own-token", "fresh").replace("443", "444");
    site.edit(&text);
    is(&site, &exposed(&["web.url"]));
    site.edit(&text.replace("example.org", "example.net"));
    is(&site, &[]);
    assert!(!site.has(AGES), "nobody needs the record any more");
    assert_eq!(site.check().problems, []);
}
