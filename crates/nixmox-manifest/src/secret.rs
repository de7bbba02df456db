//! The names of secrets that a manifest implies.

use std::collections::BTreeSet;

use crate::model::Manifest;
use crate::read::{Format, read};
use crate::source::{Data, Entry, Place};
use crate::values::{AuthType, ClientType};
use crate::view::{DATABASE_SERVER, PROVIDER, PROXY_SERVER, View};

/// What a secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The password of a database role.
    DatabasePassword,
    /// The secret of an OIDC client; a public client has none.
    ClientSecret(ClientType),
    /// Another text that may be anything, as long as nobody guesses it.
    Password,
    /// Something that comes from elsewhere: a certificate's key, a token that another program made.
    Given,
}

/// A secret that the manifest implies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its name, such as `mail/database_password`.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    /// What implies it.
    pub place: Place,
    /// The services whose hosts get it.
    pub hosts: Vec<String>,
}

/// Lists the secrets that the enabled services imply, by name.
pub fn implied(manifest: &Manifest) -> Vec<Secret> {
    let view = View::new(manifest);
    let mut found = Vec::new();
    for service in view.services.iter().filter(|service| service.enabled()) {
        let own = service.name.to_owned();
        for held in service.databases() {
            let name = match held.entry {
                Some(entry) => format!("{own}/{entry}/database_password"),
                None => format!("{own}/database_password"),
            };
            let hosts = vec![own.clone(), DATABASE_SERVER.to_owned()];
            let place = held.database.key;
            found.push(Secret { name, kind: Kind::DatabasePassword, place, hosts });
        }
        for (entry, auth) in service.logins() {
            if !auth.r#type.as_ref().is_some_and(|kind| kind.value == AuthType::Oidc) {
                continue;
            }
            let client = auth.oidc.as_ref().and_then(|oidc| oidc.client_type.as_ref());
            let client = client.map_or(ClientType::Confidential, |client| client.value);
            let name = match entry {
                Some(entry) => format!("{own}/{entry}/oidc_client_secret"),
                None => format!("{own}/oidc_client_secret"),
            };
            let (kind, hosts) = (Kind::ClientSecret(client), vec![own.clone()]);
            found.push(Secret { name, kind, place: auth.key, hosts });
        }
        let place = service.key;
        let other = |name: &str, kind: Kind| Secret {
            name: name.to_owned(),
            kind,
            place,
            hosts: vec![own.clone()],
        };
        match service.name {
            DATABASE_SERVER => found.push(other("postgresql/admin_password", Kind::Password)),
            PROXY_SERVER => found.push(other("internal_ca/wildcard_private_key", Kind::Given)),
            PROVIDER => {
                found.push(other("authentik/bootstrap_token", Kind::Password));
                found.extend(
                    outposts(manifest)
                        .into_iter()
                        .map(|(name, place)| Secret { place, ..other(name, Kind::Given) }),
                );
            }
            _ => {}
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn outposts(manifest: &Manifest) -> Vec<(&'static str, Place)> {
    let outposts = manifest.network.as_ref().and_then(|network| network.outposts.as_ref());
    let Some(outposts) = outposts else { return Vec::new() };
    let ldap = outposts.ldap.as_ref().map(|ldap| ("authentik-ldap/env", ldap.key));
    let radius = outposts.radius.as_ref().map(|radius| ("authentik-radius/env", radius.key));
    ldap.into_iter().chain(radius).collect()
}

/// Lists the names of a sealed file's values, which stay sealed: the path of each with `/` between.
///
/// None when the text cannot be read as that format, or is not a map.
pub fn sealed_names(text: &str, format: Format) -> Option<BTreeSet<String>> {
    let (_, node) = read(("", text), format, &|_| None).ok()?;
    let Data::Map(entries) = &node.data else { return None };
    let mut names = BTreeSet::new();
    let values = entries.iter().filter(|entry| entry.name != "sops");
    values.for_each(|entry| leaves(entry, &entry.name, &mut names));
    Some(names)
}

fn leaves(entry: &Entry, path: &str, names: &mut BTreeSet<String>) {
    match &entry.node.data {
        Data::Map(inner) => {
            for below in inner {
                leaves(below, &format!("{path}/{}", below.name), names);
            }
        }
        _ => {
            names.insert(path.to_owned());
        }
    }
}
