//! The JSON Schema of the manifest, made of its types.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::host::Outputs;
use crate::model::Manifest;

/// Makes the schema of a manifest, for editors: completion and checks while typing in JSON, YAML and TOML.
pub fn manifest_schema() -> Value {
    let mut schema =
        SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Manifest>();
    schema.insert("title".to_owned(), "nixmox service manifest".into());
    require(&mut schema, None, &["network", "core_services", "services"]);
    require(&mut schema, Some("Service"), &["ip", "hostname"]);
    schema.to_value()
}

/// Makes the schema of what `nixmox-manifest json` prints.
pub fn outputs_schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    generator.into_root_schema_for::<Outputs>().to_value()
}

/// The types have only optional fields, because a flawed one is left out; the schema says what must be there.
fn require(schema: &mut schemars::Schema, definition: Option<&str>, fields: &[&str]) {
    let fields = Value::from(fields.to_vec());
    match definition {
        None => {
            schema.insert("required".to_owned(), fields);
        }
        Some(name) => {
            let definition = schema.get_mut("$defs").and_then(|defs| defs.get_mut(name));
            if let Some(Value::Object(definition)) = definition {
                definition.insert("required".to_owned(), fields);
            }
        }
    }
}
