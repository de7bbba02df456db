//! Sealing anew what the master says already.

use nixmox_secrets::{Change, Error, Form, Reason, Renewal, Renewed};
use nixmox_sops::Format;

use crate::site::*;

fn of_hosts(names: &[&str]) -> Renewal {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Renewal { master: false, hosts: Renewed::Named(names) }
}

#[test]
fn sealing_what_is_sealed_changes_no_byte() {
    let mut site = Site::with_secrets(Form::Nix);
    let before = site.snapshot();
    assert!(site.renew(&Renewal::default()).unwrap().is_unchanged());
    assert_eq!(before, site.snapshot());
}

#[test]
fn sealing_carries_out_what_a_merge_left() {
    let mut site = Site::with_secrets(Form::Nix);
    site.group("web", &["w1", "w2", "w3"]);
    site.remove(W2);
    let report = site.renew(&Renewal::default()).unwrap();
    assert_eq!(host(&report, "w3"), (Change::Created, &[Reason::KeyMade, Reason::New][..]));
    assert_eq!(host(&report, "w2").0, Change::Created);
    assert_eq!(site.check().problems, []);
}

#[test]
fn rotation_gives_every_file_a_new_data_key_and_changes_no_value() {
    for form in [Form::Nix, Form::Yaml] {
        let mut site = Site::with_secrets(form);
        let master = (MASTER, form.format());
        let keys = |site: &Site| {
            let w1 = *site.open("w1", W1).data_key().expose();
            [site.data_key(master.0, master.1), site.data_key(W1_KEY, Format::Binary), w1]
        };
        let (old, values, public) = (keys(&site), site.values("w1", W1), site.read(W1_PUB));
        let report = site.renew(&Renewal::everything()).unwrap();
        assert_eq!(report.master, Change::Updated);
        assert_eq!(host(&report, "w1"), (Change::Updated, &[Reason::Renewed][..]));
        assert!(keys(&site).iter().zip(&old).all(|(new, old)| new != old));
        assert_eq!((site.values("w1", W1), site.read(W1_PUB)), (values, public));
        assert!(site.again().is_unchanged());
        assert_eq!(site.check().problems, []);
    }
}

#[test]
fn rotation_of_a_host_or_of_the_master_leaves_the_others_alone() {
    let mut site = Site::with_secrets(Form::Nix);
    let before = site.snapshot();
    site.renew(&of_hosts(&["w1"])).unwrap();
    let after = site.snapshot();
    assert_eq!(changed(&before, &after), [W1, W1_KEY, DIGESTS].into());
    let master = Renewal { master: true, hosts: Renewed::None };
    site.renew(&master).unwrap();
    assert_eq!(changed(&after, &site.snapshot()), [MASTER, DIGESTS].into());
    assert_eq!(site.check().problems, []);
}

#[test]
fn rotation_of_nobody_is_refused() {
    let mut site = Site::with_secrets(Form::Nix);
    match site.renew(&of_hosts(&["w1", "w22"])) {
        Err(Error::NoSuchHost { name, nearest }) => {
            assert_eq!((name.as_str(), nearest.first().map(String::as_str)), ("w22", Some("w2")));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_master_with_a_recipient_of_its_own_is_sealed_anew() {
    let mut site = Site::with_secrets(Form::Nix);
    let eve = person(9);
    // An admin's own sops may have put anybody in; only `.sops.yaml` counts.
    site.rules(&[&site.admin, &eve]);
    site.accepting(ADMINS).unwrap();
    let shared = site.read(MASTER);
    site.rules(&[&site.admin]);
    site.accepting(ADMINS).unwrap();
    let digests = site.read(DIGESTS);
    site.write(MASTER, &shared);
    assert!(eve.opens(&site.read(MASTER), Format::Binary));
    // The old master comes with its old data key, which the digests do not fit.
    site.write(DIGESTS, digests);
    site.accepting(BOTH).unwrap();
    assert!(!eve.opens(&site.read(MASTER), Format::Binary));
}
