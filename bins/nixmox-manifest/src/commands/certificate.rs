use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use nixmox_cli::terminal::escape;
use nixmox_cli::{Exit, Failure};
use nixmox_manifest::Certificate;
use x509_cert::der::DecodePem;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::files::read;

/// Reads what a check has to know of a certificate: its names, and how long it still holds.
pub(super) fn read_names(path: &Path) -> Result<Certificate, Failure> {
    let shown = path.display().to_string();
    let shown = escape(&shown);
    let text = read(path)
        .map_err(|e| Failure::new(Exit::NoFile, format!("cannot read {shown}")).because(e))?;
    let wrong = || Failure::new(Exit::Usage, format!("{shown} is not a certificate as PEM"));
    let unread =
        |error: x509_cert::der::Error| wrong().because(std::io::Error::other(error.to_string()));
    // In a chain the first is the proxy's own.
    let end = "-----END CERTIFICATE-----";
    let first = text.find("-----BEGIN CERTIFICATE-----").and_then(|start| {
        let stop = text.get(start..)?.find(end)?.checked_add(end.len())?.checked_add(start)?;
        text.get(start..stop)
    });
    let found = x509_cert::Certificate::from_pem(first.ok_or_else(wrong)?).map_err(unread)?;
    let body = &found.tbs_certificate;
    let names = body.get::<SubjectAltName>().map_err(unread)?;
    let names = names.into_iter().flat_map(|(_, names)| names.0);
    let names = names.filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        _ => None,
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let end = body.validity.not_after.to_unix_duration().as_secs();
    let [now, end] = [now, end].map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX));
    let days_left = end.saturating_sub(now).div_euclid(86_400);
    Ok(Certificate { names: names.collect(), days_left })
}
