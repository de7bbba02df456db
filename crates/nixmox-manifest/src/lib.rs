//! The service manifest: one file that says what runs where, checked before anything moves.
//!
//! | job | function |
//! |---|---|
//! | read a manifest in Nix, TOML, YAML or JSON, with the place of every value | [`Loaded::from_text`], [`Loaded::with_imports`] |
//! | ask an installed Nix, for what the embedded evaluator refuses | [`wrap`], [`Loaded::from_nix`] |
//! | find everything that is wrong | [`check`] with [`Facts`] from outside |
//! | show findings | [`render::pretty`], [`render::short`], [`render::as_json`], [`render::github`] |
//! | ask who needs whom, find circles, draw | [`Graph`] |
//! | order a deployment | [`Plan`] |
//! | see what each host is given | [`Outputs`] |
//! | see what a change leads to | [`Diff`] |
//! | list the groups and hosts | [`Inventory`] |
//! | list the names of secrets | [`secret::implied`], [`secret::sealed_names`] |
//! | help an editor | [`schema::manifest_schema`] |
//!
//! It opens no file, starts no process and prints nothing: texts, imported files and what only the outside knows are
//! arguments. Whatever the text is, reading it ends soon, with findings rather than with an error.
//!
//! ```
//! use nixmox_manifest::{Facts, Format, Loaded, Plan, check, render};
//!
//! let text = include_str!("../../../fixtures/manifest/example.nix");
//! let loaded = Loaded::from_text(("service-manifest.nix", text), Format::Nix);
//! let report = check(&loaded, &Facts::default());
//! assert!(report.passes(true), "{}", render::short(&report, loaded.sources()));
//! let plan = Plan::new(loaded.manifest().unwrap());
//! assert_eq!(plan.phases[1].waves[0][0].service, "caddy");
//! ```

mod check;
mod decode;
mod diff;
mod finding;
mod graph;
mod host;
mod inventory;
mod load;
mod model;
mod plan;
mod read;
mod similar;
mod source;
mod values;
mod view;

pub mod render;
pub mod schema;
pub mod secret;

pub use check::{Capacity, Certificate, Facts, Judge, Report, check};
pub use decode::{Free, Spanned};
pub use diff::{Change, Diff, Effect};
pub use finding::{Code, Finding, Label, Rule, Severity, UnknownCode};
pub use graph::{Edge, Graph, Reason, Vertex, Waves};
pub use host::{
    Application, Container, DatabaseClient, Host, HostNetwork, Outputs, ServedDatabase, Site,
    Target,
};
pub use inventory::{Inventory, InventoryError};
pub use load::Loaded;
pub use model::*;
pub use plan::{Aftermath, Gate, OnFailure, PHASES, Patience, Phase, Plan, Stage, Step};
pub use read::{FILE_NAMES, Format, MAX_BYTES, wrap};
pub use source::{Place, SourceFile, Sources};
pub use values::{AuthType, Cidr, ClientType, DomainName, Upstream, UpstreamHost, UrlPath};
pub use view::Listed;
