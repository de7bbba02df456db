//! What can be wrong with declarations, and what can go wrong while values are made.

use thiserror::Error;

use crate::place::{Item, Place};
use crate::sandbox::SandboxError;

/// Why a declaration is not one. No variant holds a value: not even those of parameters, which may be mistaken secrets.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DeclareError {
    /// Something else stands beside `_generate`.
    #[error("`{place}` has `{name}` beside `_generate`, which stands alone")]
    Company {
        /// The declaration.
        place: Place,
        /// The first name beside it.
        name: String,
    },
    /// `_generate` is no set.
    #[error("`_generate` of `{place}` is a {type_name}, not a set")]
    NotASet {
        /// The declaration.
        place: Place,
        /// What it is.
        type_name: &'static str,
    },
    /// A declaration stands in a list, where no path leads to it.
    #[error("`{place}` has a declaration in a list, where no path leads to it")]
    InAList {
        /// The list.
        place: Place,
    },
    /// `_generate` stands at the top of a host or group.
    #[error("`_generate` of `{level}` needs a name: what stands there would be all its secrets")]
    NoName {
        /// The host or group.
        level: String,
    },
    /// A name on the way to it cannot be kept in a sealed file.
    #[error("the name of `{place}` cannot be kept in a sealed file")]
    Name {
        /// The declaration.
        place: Place,
    },
    /// `type` is missing or none that there is.
    #[error("`type` of `{place}` is none of {}", crate::kind::NAMES.join(", "))]
    Type {
        /// The declaration.
        place: Place,
    },
    /// A parameter that this type needs is missing.
    #[error("`{place}` lacks the parameter `{name}`")]
    Missing {
        /// The declaration.
        place: Place,
        /// The parameter.
        name: &'static str,
    },
    /// A parameter that this type does not have.
    #[error("`{place}` has a parameter `{name}`, which its type does not")]
    Unknown {
        /// The declaration.
        place: Place,
        /// The parameter.
        name: String,
    },
    /// A parameter that is not what it must be.
    #[error("`{name}` of `{place}` is not {wanted}")]
    Bad {
        /// The declaration.
        place: Place,
        /// The parameter.
        name: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
}

/// Why values cannot be made. No variant holds a value.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// Values depend on each other in a circle.
    #[error("generated values depend on each other in a circle: {}", circle(.path))]
    Cycle {
        /// The circle, beginning anywhere.
        path: Vec<Item>,
    },
    /// A reference leads to nothing.
    #[error("`{parameter}` of `{item}` leads to no secret")]
    NoSuchSecret {
        /// Whose reference it is.
        item: Item,
        /// The parameter that holds it.
        parameter: String,
    },
    /// A reference leads to a set, a list, or nothing.
    #[error("`{parameter}` of `{item}` leads to a {type_name}, not to one text")]
    NotText {
        /// Whose reference it is.
        item: Item,
        /// The parameter that holds it.
        parameter: String,
        /// What it leads to.
        type_name: &'static str,
    },
    /// One value for all refers to a value that each host has its own of.
    #[error("`{parameter}` of `{item}` leads to `{target}`, of which every host has its own")]
    ForEachHost {
        /// Whose reference it is.
        item: Item,
        /// The parameter that holds it.
        parameter: String,
        /// Where it leads.
        target: Box<Place>,
    },
    /// `{{host}}` in a declaration that is not for each host.
    #[error(
        "`{parameter}` of `{item}` names the host, but one value is for all; set perHost = true"
    )]
    NoHost {
        /// Whose text it is.
        item: Item,
        /// The parameter that holds it.
        parameter: String,
    },
    /// The authority of a certificate is no declared one.
    #[error("`ca` of `{item}` leads to no declaration of type ca")]
    NotACa {
        /// The certificate.
        item: Item,
    },
    /// The authority ends before the certificate could begin.
    #[error("the authority of `{item}` has expired; renew it first")]
    CaExpired {
        /// The certificate.
        item: Item,
    },
    /// A name of a certificate is neither a DNS name nor an address.
    #[error("a name of the certificate `{item}` is neither a DNS name nor an IP address")]
    CertificateName {
        /// The certificate.
        item: Item,
    },
    /// A secret cannot be hashed in this way.
    #[error("the secret that `{item}` is of cannot be hashed so: {why}")]
    Hash {
        /// The hash.
        item: Item,
        /// Why.
        why: &'static str,
    },
    /// What came out is empty, which sops cannot seal.
    #[error("`{item}` came out empty, which sops cannot seal")]
    Empty {
        /// The value.
        item: Item,
    },
    /// A command did not print what it should.
    #[error("the command of `{item}` did not print {wanted}")]
    Output {
        /// The value.
        item: Item,
        /// What it should print.
        wanted: &'static str,
    },
    /// There is a command and no sandbox to run it in.
    #[error("`{item}` needs a command to run, and there is no sandbox here")]
    NoSandbox {
        /// The value.
        item: Item,
    },
    /// A command could not be run, or failed.
    #[error("the command of `{item}` failed")]
    Sandbox {
        /// The value.
        item: Item,
        /// Why.
        source: SandboxError,
    },
    /// A key or certificate could not be encoded; it never should happen.
    #[error("`{item}` could not be encoded")]
    Encoding {
        /// The value.
        item: Item,
    },
    /// The generated values are more than one run may hold.
    #[error("the declarations make more than {limit} values")]
    TooMany {
        /// How many there may be.
        limit: usize,
    },
}

fn circle(path: &[Item]) -> String {
    let names = path.iter().chain(path.first()).map(|item| format!("`{item}`"));
    names.collect::<Vec<_>>().join(" needs ")
}

/// The file of generated values does not have their form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the file does not have the form of generated values")]
pub struct RecordsError;
