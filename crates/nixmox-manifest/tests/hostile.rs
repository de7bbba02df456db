//! Texts that mean harm end soon, in findings; addresses are judged by brute force.

use std::net::Ipv4Addr;

use nixmox_manifest::render::{self, Look};
use nixmox_manifest::{
    Code, Diff, Facts, Format, Graph, Inventory, Loaded, Outputs, Plan, check, schema,
};
use proptest::prelude::*;

/// Runs a text through everything.
fn everything(text: &str, format: Format) -> Loaded {
    let loaded = Loaded::from_text(("m", text), format);
    let report = check(&loaded, &Facts::default());
    for label in report.findings.iter().flat_map(|finding| &finding.labels) {
        assert!(label.place.range().end <= text.len(), "{label:?}");
        loaded.sources().line_col(label.place);
    }
    let pretty = render::pretty(&report, loaded.sources(), Look::default());
    let others = [
        render::short(&report, loaded.sources()),
        render::github(&report, loaded.sources()),
        render::as_json(&report, loaded.sources()).to_string(),
    ];
    assert!(others.iter().chain([&pretty]).take(3).all(|text| !text.contains('\u{1b}')));
    if let Some(manifest) = loaded.manifest() {
        let graph = Graph::new(manifest);
        let _drawings = (graph.dot(), graph.mermaid(), graph.text(), graph.svg());
        Plan::new(manifest);
        Outputs::new(manifest);
        assert!(Diff::new(manifest, manifest).is_empty());
    }
    match Inventory::read(("m", text), format, &|_| None) {
        Ok(inventory) => drop(inventory.declarations()),
        Err(error) => assert!(!error.report().findings.is_empty()),
    }
    loaded
}

#[track_caller]
fn unreadable(text: &str, format: Format) {
    let loaded = everything(text, format);
    assert_eq!(loaded.findings().iter().map(|f| f.code).collect::<Vec<_>>(), [Code::M001]);
}

#[test]
fn nesting_is_bounded() {
    let deep =
        |open: &str, close: &str| format!("{}1{}", open.repeat(50_000), close.repeat(50_000));
    unreadable(&deep("[", "]"), Format::Json);
    unreadable(&deep("{\"a\":", "}"), Format::Json);
    unreadable(&deep("[", "]"), Format::Yaml);
    unreadable(&deep("{a: ", "}"), Format::Yaml);
    unreadable(&format!("a = {}", deep("[", "]")), Format::Toml);
    unreadable(&deep("{ a = ", "; }"), Format::Nix);
}

#[test]
fn aliases_do_not_multiply() {
    let mut text = String::from("a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n");
    for at in 1..10 {
        let before = at - 1;
        let ten = vec![format!("*a{before}"); 10].join(", ");
        text.push_str(&format!("a{at}: &a{at} [{ten}]\n"));
    }
    unreadable(&text, Format::Yaml);
    unreadable("a: &a [*a]\n", Format::Yaml);
}

#[test]
fn names_that_stand_twice_are_refused() {
    unreadable("{\"a\": 1, \"a\": 2}", Format::Json);
    unreadable("a: 1\na: 2\n", Format::Yaml);
    unreadable("a = 1\na = 2\n", Format::Toml);
    unreadable("{ a = 1; a = 2; }", Format::Nix);
}

#[test]
fn what_the_format_does_not_have_is_refused() {
    unreadable("{\"a\": 1,}", Format::Json);
    unreadable("{'a': 1}", Format::Json);
    unreadable("// x\n{}", Format::Json);
    unreadable("a: !!binary aGk=\n", Format::Yaml);
    unreadable("a: 1\n---\nb: 2\n", Format::Yaml);
    unreadable("<<: {a: 1}\n", Format::Yaml);
    unreadable("", Format::Yaml);
    unreadable("", Format::Json);
    unreadable("a = ", Format::Toml);
    unreadable("{ a = builtins.exec [ ]; }", Format::Nix);
}

#[test]
fn scalars_of_yaml_are_those_of_its_core_schema() {
    #[track_caller]
    fn check(scalar: &str, fits: bool) {
        let text = format!("health_check_timeout: {scalar}\n");
        let loaded = Loaded::from_text(("m.yaml", &text), Format::Yaml);
        let wrong = loaded.findings().iter().any(|finding| finding.code == Code::M004);
        assert_eq!(!wrong, fits, "{scalar}");
    }
    check("600", true);
    check("0x10", true);
    check("-1", true);
    check("~", true);
    check("\"600\"", false);
    check("6_00", false);
    check("6.0", false);
    check("yes", false);
    check("1:30", false);
}

#[test]
fn many_services_with_many_edges_end_soon() {
    let mut services = serde_json::Map::new();
    for at in 0..3_000 {
        let needs: Vec<String> = (at + 1..at + 20).map(|to| format!("s{}", to % 3_000)).collect();
        services
            .insert(format!("s{at}"), serde_json::json!({ "enable": true, "depends_on": needs }));
    }
    let text = serde_json::json!({ "services": services }).to_string();
    let loaded = Loaded::from_text(("m.json", &text), Format::Json);
    let report = check(&loaded, &Facts::default());
    assert_eq!(report.findings.iter().filter(|f| f.code == Code::M303).count(), 1);
}

#[test]
fn the_schema_is_that_of_the_types() {
    let schema = schema::manifest_schema();
    let service = &schema["$defs"]["Service"];
    assert_eq!(service["required"], serde_json::json!(["ip", "hostname"]));
    assert_eq!(service["additionalProperties"], serde_json::json!(false));
    assert_eq!(service["properties"]["ip"]["format"], "ipv4");
    assert!(
        service["properties"]["depends_on"]["description"].as_str().unwrap().contains("before")
    );
}

fn finds(ip: Ipv4Addr, cidr: &str, gateway: Ipv4Addr) -> Vec<Code> {
    let text = serde_json::json!({
        "network": { "network_cidr": cidr, "gateway": gateway },
        "services": { "a": { "ip": ip, "hostname": "a" } },
    });
    let loaded = Loaded::from_text(("m.json", &text.to_string()), Format::Json);
    let report = check(&loaded, &Facts::default());
    let codes = report.findings.iter().map(|finding| finding.code);
    let wanted = [Code::M102, Code::M103, Code::M104, Code::M105, Code::M106];
    let mut codes: Vec<_> = codes.filter(|code| wanted.contains(code)).collect();
    codes.sort();
    codes
}

proptest! {
    #[test]
    fn address_rules_are_those_of_brute_force(
        base in any::<u32>(), prefix in 22..=32_u32, ip in 0..2_048_u32, gateway in 0..2_048_u32, dirty in 0..8_u32,
    ) {
        let size = 1_u64 << (32 - prefix);
        // Every address of the network, counted out.
        let first = u32::try_from(u64::from(base) / size * size).unwrap();
        let inside: Vec<u32> = (0..size).map(|n| first.wrapping_add(u32::try_from(n).unwrap())).collect();
        let near = first.wrapping_sub(512);
        let (ip, gateway) = (near.wrapping_add(ip), near.wrapping_add(gateway));
        let address = |bits: u32| Ipv4Addr::from_bits(bits);
        let written = if u64::from(dirty) < size { first.wrapping_add(dirty) } else { first };
        let found = finds(address(ip), &format!("{}/{prefix}", address(written)), address(gateway));
        let mut expect = Vec::new();
        if written != first {
            expect.push(Code::M102);
        } else {
            let ends = prefix < 31 && (inside.first() == Some(&ip) || inside.last() == Some(&ip));
            if !inside.contains(&ip) {
                expect.push(Code::M103);
            } else if ends {
                expect.push(Code::M104);
            }
            let ends = prefix < 31 && (inside.first() == Some(&gateway) || inside.last() == Some(&gateway));
            if !inside.contains(&gateway) || ends {
                expect.push(Code::M106);
            }
        }
        if ip == gateway {
            expect.push(Code::M105);
        }
        expect.sort();
        prop_assert_eq!(found, expect);
    }

    #[test]
    fn any_text_ends_in_findings(text in "\\PC{0,200}", format in 0..4_usize) {
        everything(&text, Format::ALL[format]);
    }

    #[test]
    fn a_broken_example_ends_in_findings(cut in 0..6_000_usize, add in "[\\PC\\n]{0,8}", format in 0..4_usize) {
        let texts = [
            include_str!("../../../fixtures/manifest/example.nix"),
            include_str!("../../../fixtures/manifest/sixty.toml"),
            include_str!("../../../fixtures/manifest/sixty.yaml"),
            include_str!("../../../fixtures/manifest/sixty.json"),
        ];
        let text = texts[format];
        let mut at = cut % text.len();
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let (before, after) = text.split_at(at);
        let after: String = after.chars().skip(1).collect();
        let loaded = Loaded::from_text(("m", &format!("{before}{add}{after}")), Format::ALL[format]);
        let report = check(&loaded, &Facts::default());
        render::pretty(&report, loaded.sources(), Look::default());
    }
}
