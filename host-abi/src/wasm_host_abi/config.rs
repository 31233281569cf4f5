//! `config`: the settings of the manifest, typed by its schema.

use super::base_bindings::sochdb::plugin::config as contract;
use super::types::{clean, code};
use super::{GuestError, GuestState, Host, audited, charge};
use crate::plugin_manifest::ConfigValue;
use wasmtime::component::Access;

impl contract::Host for &mut GuestState {}

impl<T> contract::HostWithStore<T> for Host {
    fn get_config(
        host: Access<'_, T, Self>,
        key: String,
    ) -> wasmtime::Result<Result<contract::ConfigValue, GuestError>> {
        audited(host, "config.get-config", |host| {
            charge(host, key.len())?;
            let state = host.get();
            state.audit.about(key.as_str());
            let plugin = state.plugin.clone();
            let Some(setting) = plugin.manifest.config.get(&key) else {
                let text = format!("[config_schema] declares no setting '{}'", clean(&key));
                return Ok(Err(GuestError::answer(code::NOT_FOUND, text)));
            };
            if let ConfigValue::Text(text) = &setting.value {
                charge(host, text.len())?;
            }
            Ok(Ok((&setting.value).into()))
        })
    }
}

impl From<&ConfigValue> for contract::ConfigValue {
    fn from(value: &ConfigValue) -> contract::ConfigValue {
        match value {
            ConfigValue::Boolean(value) => contract::ConfigValue::Boolean(*value),
            ConfigValue::Integer(value) => contract::ConfigValue::Integer(*value),
            ConfigValue::Float(value) => contract::ConfigValue::Float(*value),
            ConfigValue::Text(value) => contract::ConfigValue::Text(value.clone()),
        }
    }
}
