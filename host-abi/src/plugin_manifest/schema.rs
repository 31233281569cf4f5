//! The JSON Schemas of manifests and policies, made of the types that read them.
//!
//! An editor completes and explains with them what people write: a file that begins with
//! `#:schema plugin.schema.json` says where its schema lies. Whatever a schema refuses, the parser refuses too; the
//! other way round it does not hold. That a setting fits its `[config_schema]`, that a file's name is one that can
//! be, that two directories differ: only the parser knows.
//!
//! ```text
//!   Raw, RawResources ...    fields, their doc comments, ranges    ──┐
//!   PluginKind::ALL          what each kind exports, has, may ask  ──┼─▶ PluginManifest::json_schema
//!   glob, address, limits    bounds of lists and of their texts    ──┘
//! ```
//!
//! Draft 7, and every type in the place where it is used: what all editors read.

use super::capabilities::{ADDRESSES_MAX, PATTERNS_OF, SWITCHES_OF};
use super::{NAME_BYTES_MAX, PluginKind, PluginManifest, Raw};
use crate::address::ADDRESS_BYTES_MAX;
use crate::capability;
use crate::glob::{PATTERN_BYTES_MAX, PATTERNS_MAX};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// Of a plugin.
pub(crate) const NAME: &str = "^[a-z][a-z0-9_-]{0,63}$";
const _: () = assert!(NAME_BYTES_MAX == 64, "the pattern above says 1 and 63");
/// Three numbers, and what semantic versions may have behind them.
pub(crate) const VERSION: &str = "^(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)\
    (-[0-9A-Za-z-]+(\\.[0-9A-Za-z-]+)*)?(\\+[0-9A-Za-z-]+(\\.[0-9A-Za-z-]+)*)?$";
/// Of a component.
pub(crate) const BLAKE3: &str = "^[0-9A-Fa-f]{64}$";
/// Of minisign: 42 bytes in base64, of which the first two say the algorithm.
pub(crate) const PUBLIC_KEY: &str = "^R[UW][0-9A-Za-z+/]{54}$";

const GLOB: &str = "^[^!\\[\\]{}\\\\\\u0000-\\u001f\\u007f-\\u009f][^\\[\\]{}\\\\\\u0000-\\u001f\\u007f-\\u009f]*$";
const ADDRESS: &str = "^http://[0-9a-z.:\\[\\]-]+/[0-9A-Za-z/._~-]*$";

impl PluginManifest {
    /// The JSON Schema of a manifest, for editors: what `manifests/plugin.schema.json` is made of.
    pub fn json_schema() -> Value {
        let mut schema = of::<Raw>();
        schema["allOf"] = PluginKind::ALL.map(rules_of).to_vec().into();
        schema
    }
}

/// The schema of what is read as a `Raw`.
pub(crate) fn of<Raw: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Raw>().to_value();
    tidy(&mut schema);
    schema
}

/// Takes out what TOML does not have, and puts sentences on one line.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(keys) => {
            keys.retain(|key, value| {
                let is_size_of_integer = key == "format" && value.is_string();
                !(is_size_of_integer || key == "default" && value.is_null())
            });
            if let Some(Value::String(text)) = keys.get_mut("description") {
                *text = text.replace('\n', " ");
            }
            keys.values_mut().for_each(tidy);
        }
        Value::Array(values) => values.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// What holds for plugins of one kind beside what holds for all.
fn rules_of(kind: PluginKind) -> Value {
    let interfaces = kind.interfaces();
    let instances = kind.instances();
    let mut resources =
        json!({ "max_instances": { "minimum": instances.start(), "maximum": instances.end() } });
    if !kind.has_background() {
        resources["background_fuel_limit"] = false.into();
        resources["background_timeout_ms"] = false.into();
    }
    let mut capabilities = Map::new();
    let is_offered = |interface| capability::offered(interface, Some(kind)).is_ok();
    for (key, _) in PATTERNS_OF.iter().filter(|(_, interface)| !is_offered(interface)) {
        capabilities.insert((*key).to_owned(), json!({ "maxItems": 0 }));
    }
    for (key, _) in SWITCHES_OF.iter().filter(|(_, interface)| !is_offered(interface)) {
        capabilities.insert((*key).to_owned(), json!({ "const": false }));
    }
    let mut then = json!({ "properties": {
        "exports": { "properties": { "interfaces": {
            "items": { "enum": interfaces },
            "minItems": interfaces.len(),
            "maxItems": interfaces.len(),
            "uniqueItems": true,
        } } },
        "resources": { "properties": resources },
        "capabilities": { "properties": capabilities },
    } });
    match kind {
        PluginKind::Hooks => then["required"] = json!(["hooks"]),
        _ => then["properties"]["hooks"] = false.into(),
    }
    let is_this = json!({ "required": ["kind"], "properties": { "kind": { "const": kind } } });
    json!({
        "if": { "required": ["plugin"], "properties": { "plugin": is_this } },
        "then": then,
    })
}

/// A list of [patterns](crate::glob).
pub(crate) struct Patterns;

impl JsonSchema for Patterns {
    fn schema_name() -> Cow<'static, str> {
        "Patterns".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let (bytes_max, count_max) = (PATTERN_BYTES_MAX, PATTERNS_MAX);
        let pattern =
            json!({ "type": "string", "minLength": 1, "maxLength": bytes_max, "pattern": GLOB });
        json_schema!({ "type": "array", "maxItems": count_max, "items": pattern })
    }
}

/// A list of [addresses](crate::address).
pub(crate) struct Addresses;

impl JsonSchema for Addresses {
    fn schema_name() -> Cow<'static, str> {
        "Addresses".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let (bytes_max, count_max) = (ADDRESS_BYTES_MAX, ADDRESSES_MAX);
        let address = json!({ "type": "string", "maxLength": bytes_max, "pattern": ADDRESS });
        json_schema!({ "type": "array", "maxItems": count_max, "items": address })
    }
}

/// A value of a setting. Which of the types it is, its `[config_schema]` says.
pub(crate) struct SettingValue;

impl JsonSchema for SettingValue {
    fn schema_name() -> Cow<'static, str> {
        "SettingValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["boolean", "number", "string"] })
    }
}

#[cfg(test)]
mod tests;
