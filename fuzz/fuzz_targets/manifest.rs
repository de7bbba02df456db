//! Arbitrary text through the four readers and everything behind them: no panic, no hang, places inside of the text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nixmox_manifest::render::{self, Look};
use nixmox_manifest::{Diff, Facts, Format, Graph, Inventory, Loaded, Outputs, Plan, check};
use nixmox_nix::{Limits, bindings, eval_located};

const LIMITS: Limits = Limits { bytes: 1 << 16, depth: 128, steps: 20_000 };

fuzz_target!(|data: (u8, &str)| {
    let (which, text) = data;
    let format = Format::ALL[usize::from(which) % Format::ALL.len()];
    if format == Format::Nix {
        // A text that imports itself, and a part of itself.
        let half = text.get(..text.len() / 2).unwrap_or_default();
        let read = |name: &str| match name {
            "a" => Some(text.to_owned()),
            "b" => Some(half.to_owned()),
            _ => None,
        };
        let (files, result) = eval_located(("a", text), &read, &LIMITS);
        if let Err(error) = result {
            assert!(error.error.span().end() <= files[error.file].text.len());
        }
        let _ = bindings(text, &LIMITS);
    }
    let loaded = Loaded::from_text(("m", text), format);
    if let Ok(inventory) = Inventory::read(("m", text), format, &|_| None) {
        let _ = inventory.declarations();
    }
    let report = check(&loaded, &Facts::default());
    for label in report.findings.iter().flat_map(|finding| &finding.labels) {
        assert!(label.place.range().end <= text.len());
    }
    let pretty = render::pretty(&report, loaded.sources(), Look::default());
    assert!(!pretty.contains(|c: char| c.is_control() && c != '\n' && c != '\t'));
    if let Some(manifest) = loaded.manifest() {
        let graph = Graph::new(manifest);
        if graph.vertices().len() < 50 {
            let _ = graph.svg();
        }
        Plan::new(manifest);
        Outputs::new(manifest);
        assert!(Diff::new(manifest, manifest).is_empty());
    }
});
