//! One record of the audit trail.
//!
//! In a file it is one line of JSON with these fields, in this order. Readers ignore fields they do not know.

use super::entries::bounded;
use crate::wasm_host_abi::code;
use serde::{Deserialize, Serialize};
use sochdb_kernel::{KernelError, PluginFault};
use std::sync::Arc;

/// Something a guest did, or was asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// When it began, in microseconds since 1970.
    pub unix_us: u64,
    /// In which direction the call went.
    pub kind: AuditKind,
    /// The plugin.
    pub plugin: String,
    /// Whom the plugin worked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// What was called: an import by its interface and name, an export by its name.
    pub function: String,
    /// What it was about: a table, a codec, a segment's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// What came of it.
    pub outcome: Outcome,
    /// Rows it carried.
    pub rows: u64,
    /// Bytes it carried.
    pub bytes: u64,
    /// Fuel it cost the guest, with that of guests it led to.
    pub fuel: u64,
    /// Nanoseconds it took.
    pub nanos: u64,
}

/// In which direction a call went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditKind {
    /// The guest called the host.
    Import,
    /// The host called the guest.
    Call,
}

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It did what it should.
    Ok,
    /// It was outside the grant.
    Denied,
    /// There is no such thing.
    NotFound,
    /// It made no sense.
    Invalid,
    /// It met a bound, and was answered with that.
    Limit,
    /// Another transaction was first.
    Conflict,
    /// Bytes were found that nobody wrote like that.
    Corrupt,
    /// Another error.
    Internal,
    /// The guest ended in it.
    Trapped,
    /// It was ended, or did not begin, because fuel, time, memory or a tenant's bound was used up.
    Exhausted,
    /// The plugin is kept from working.
    Quarantined,
    /// The database, the plugin or the tenant was gone.
    Closed,
}

impl Outcome {
    /// Whether it belongs to the records that are always kept.
    pub(crate) fn is_denial(self) -> bool {
        self == Outcome::Denied
    }

    /// What an error of the contract's table means.
    pub(crate) fn of_code(error: u8) -> Outcome {
        match error {
            code::DENIED => Outcome::Denied,
            code::NOT_FOUND => Outcome::NotFound,
            code::INVALID => Outcome::Invalid,
            code::LIMIT => Outcome::Limit,
            code::CONFLICT => Outcome::Conflict,
            code::CORRUPT => Outcome::Corrupt,
            _ => Outcome::Internal,
        }
    }

    /// What an error of the kernel means, or of a call that failed.
    pub(crate) fn of_error(error: &KernelError) -> Outcome {
        match error {
            KernelError::Plugin { fault, .. } => match fault {
                PluginFault::Denied => Outcome::Denied,
                PluginFault::Trapped => Outcome::Trapped,
                PluginFault::Exhausted => Outcome::Exhausted,
                PluginFault::Quarantined => Outcome::Quarantined,
                PluginFault::Missing => Outcome::NotFound,
                PluginFault::Refused | PluginFault::Lied => Outcome::Internal,
            },
            KernelError::NotFound { .. } => Outcome::NotFound,
            KernelError::Invalid(_) => Outcome::Invalid,
            KernelError::Limit { .. } => Outcome::Limit,
            KernelError::Corrupt { .. } => Outcome::Corrupt,
            KernelError::Closed(_) => Outcome::Closed,
            error if error.is_retryable() => Outcome::Conflict,
            _ => Outcome::Internal,
        }
    }
}

/// Which records somebody wants. What is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this plugin.
    pub plugin: Option<String>,
    /// For this tenant.
    pub tenant: Option<String>,
    /// Of this function, or of all whose name begins with it and a dot.
    pub function: Option<String>,
    /// With this outcome.
    pub outcome: Option<Outcome>,
    /// In this direction.
    pub kind: Option<AuditKind>,
}

impl AuditFilter {
    /// Whether `record` is wanted.
    pub fn fits(&self, record: &AuditRecord) -> bool {
        let is_function = |wanted: &String| {
            let rest = record.function.strip_prefix(wanted.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.plugin.as_ref().is_none_or(|plugin| *plugin == record.plugin)
            && self.tenant.as_ref().is_none_or(|tenant| Some(tenant) == record.tenant.as_ref())
            && self.function.as_ref().is_none_or(is_function)
            && self.outcome.is_none_or(|outcome| outcome == record.outcome)
            && self.kind.is_none_or(|kind| kind == record.kind)
    }
}

/// Most names fit, and then cost no allocation.
const SHORT_BYTES_MAX: usize = 22;

/// What a call is about, cheap to make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Object {
    /// Nothing that has a name.
    #[default]
    None,
    /// Something with a name that somebody shares, or a long one.
    Name(Arc<str>),
    /// Something with a short name: so many of these bytes.
    Short(u8, [u8; SHORT_BYTES_MAX]),
    /// Something with a number.
    Number(u64),
}

impl Object {
    /// Something with this name, of which the beginning is kept.
    pub(crate) fn name(name: &str) -> Object {
        Object::short(name).unwrap_or_else(|| Object::Name(bounded(name).into()))
    }

    /// Something with this name, if it is short.
    fn short(name: &str) -> Option<Object> {
        let mut bytes = [0; SHORT_BYTES_MAX];
        bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        Some(Object::Short(name.len() as u8, bytes))
    }

    pub(super) fn shown(&self) -> Option<String> {
        match self {
            Object::None => None,
            Object::Name(name) => Some(bounded(name).to_owned()),
            Object::Short(len, bytes) => {
                Some(String::from_utf8_lossy(&bytes[..usize::from(*len)]).into_owned())
            }
            Object::Number(number) => Some(number.to_string()),
        }
    }
}

impl From<&Arc<str>> for Object {
    fn from(name: &Arc<str>) -> Object {
        match Object::short(name) {
            Some(short) => short,
            None => Object::Name(name.clone()),
        }
    }
}

impl From<&str> for Object {
    fn from(name: &str) -> Object {
        Object::name(name)
    }
}

impl From<u64> for Object {
    fn from(number: u64) -> Object {
        Object::Number(number)
    }
}
