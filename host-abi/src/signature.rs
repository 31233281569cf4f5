//! Signatures of plugins: who vouches for a manifest, and through it for the component that it pins.
//!
//! ```text
//!   NAME.toml           [module] blake3 = "..." ──▶ NAME.wasm
//!   NAME.toml.minisig   a signature of all bytes of NAME.toml
//!   policy              [signatures] required = true, trusted_keys = ["RW..."]
//! ```
//!
//! The format is minisign's: Ed25519, of the file's BLAKE2b hash or, as older programs write it, of the file itself. A
//! file is signed with `minisign -S -m NAME.toml`. Since the manifest says which hash the component has, one signature
//! covers both.
//!
//! | there is                              | no trusted key      | trusted keys        | and required         |
//! |---------------------------------------|---------------------|---------------------|----------------------|
//! | no signature                          | `None`              | `None`              | denied               |
//! | one by a trusted key                  | `None`, not looked at | the signer        | the signer, if the manifest pins its component |
//! | one by another key, or a wrong one    | `None`, not looked at | denied            | denied               |
//!
//! Plugins that are part of the program need no signature: whoever runs the program trusts it already.

use crate::plugin_manifest::schema;
use crate::strict_toml::{self, Wrong, wrong};
use minisign_verify::{Error, PublicKey, Signature};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sochdb_kernel::{ErrorKind, KernelError, KernelResult, PluginFault};
use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// 8 KiB. Four lines, of which two are comments.
pub const SIGNATURE_BYTES_MAX: u64 = 8 << 10;
/// Keys that a policy may trust.
pub const TRUSTED_KEYS_MAX: usize = 64;
/// Bytes of a key's name.
const KEY_NAME_BYTES_MAX: usize = 64;
/// What a signature's file has behind the name of the signed one.
const EXTENSION: &str = ".minisig";

/// What a policy says of signatures. By default none is required, and no key is trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signatures {
    /// Whether a plugin that is not part of the program is loaded only with a signature by a trusted key.
    pub required: bool,
    /// The keys whose signatures count.
    pub trusted: Vec<TrustedKey>,
}

/// A public key that the operator trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    text: String,
    key: PublicKey,
    name: Option<String>,
}

/// Who vouches for a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signer {
    /// The public key, in base64.
    pub key: String,
    /// What the policy calls the key.
    pub name: Option<String>,
    /// What was said when it was signed, and is signed too: most programs write the time and the file's name.
    pub comment: String,
    /// Whether the manifest says which component it is for. Otherwise only the manifest is vouched for.
    pub covers_component: bool,
}

impl TrustedKey {
    /// Reads a public key of minisign in base64, as it stands in the second line of `minisign.pub`.
    ///
    /// # Errors
    /// Why it is none, for people.
    pub fn parse(text: &str, name: Option<String>) -> Result<TrustedKey, String> {
        let key = PublicKey::from_base64(text).map_err(|_| {
            format!(
                "{text:?} is no public key of minisign: 56 characters of base64 that begin with RW"
            )
        })?;
        if let Some(name) = &name
            && (name.is_empty() || KEY_NAME_BYTES_MAX < name.len())
        {
            return Err(format!("the name of a key has 1 to {KEY_NAME_BYTES_MAX} bytes"));
        }
        Ok(TrustedKey { text: text.to_owned(), key, name })
    }

    /// The key, in base64.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What the policy calls it.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

/// Where the signature of the file `manifest` lies.
pub fn path_of(manifest: &Path) -> PathBuf {
    let mut path = manifest.as_os_str().to_owned();
    path.push(EXTENSION);
    path.into()
}

/// The text of the signature beside the file `manifest`, if there is one.
///
/// # Errors
/// `Limit` when it is too large, `Invalid` when it is no file or no text, `Unavailable` with the operating system's
/// word.
pub fn read_beside(manifest: &Path) -> KernelResult<Option<String>> {
    match strict_toml::read_file("signature", &path_of(manifest), SIGNATURE_BYTES_MAX) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Who vouches for the plugin `plugin`, whose manifest has the bytes `manifest`: nobody when there is no signature, or no
/// key is trusted. `pins_component`: whether the manifest says which component it is for.
///
/// # Errors
/// `Plugin` with [`PluginFault::Denied`] when the signature is wrong or by a key that is not trusted, while some key
/// is; when one is required and there is none by a trusted key, or the manifest does not pin its component.
pub fn verify(
    manifest: &[u8],
    signature: Option<&str>,
    signatures: &Signatures,
    plugin: &str,
    pins_component: bool,
) -> KernelResult<Option<Signer>> {
    let denied = |message: String| Err(KernelError::plugin(plugin, PluginFault::Denied, message));
    let Signatures { required, trusted } = signatures;
    let Some(text) = signature.filter(|_| !trusted.is_empty()) else {
        return match (required, trusted.is_empty()) {
            (false, _) => Ok(None),
            (true, true) => denied(
                "the policy requires signatures and trusts no key: name one in trusted_keys below [signatures]"
                    .to_owned(),
            ),
            (true, false) => denied(
                "the policy requires a signature, and there is none: sign the manifest with `minisign -S -m \
                 NAME.toml`, which writes NAME.toml.minisig beside it, with a key of trusted_keys below [signatures]"
                    .to_owned(),
            ),
        };
    };
    let signer = match check(manifest, text, trusted) {
        Ok((key, comment)) => Signer {
            key: key.text.clone(),
            name: key.name.clone(),
            comment,
            covers_component: pins_component,
        },
        Err(why) => return denied(format!("its signature does not count: {why}")),
    };
    if *required && !pins_component {
        return denied(
            "its manifest is signed but takes any component: add blake3 = \"...\" below [module], and sign it again"
                .to_owned(),
        );
    }
    Ok(Some(signer))
}

/// The trusted key that `signature` is by, and the signed comment.
fn check<'a>(
    manifest: &[u8],
    signature: &str,
    trusted: &'a [TrustedKey],
) -> Result<(&'a TrustedKey, String), String> {
    if SIGNATURE_BYTES_MAX < signature.len() as u64 {
        return Err(format!("it has more than {SIGNATURE_BYTES_MAX} bytes"));
    }
    let signature = Signature::decode(signature)
        .map_err(|error| format!("it is none that minisign writes: {error}"))?;
    let mut is_known = false;
    for key in trusted {
        match key.key.verify(manifest, &signature, true) {
            Ok(()) => return Ok((key, signature.trusted_comment().to_owned())),
            Err(error) => is_known |= !matches!(error, Error::UnexpectedKeyId),
        }
    }
    Err(match is_known {
        true => "it is not of this manifest; sign it again after each change".to_owned(),
        false => "it is by a key that is not in trusted_keys below [signatures]".to_owned(),
    })
}

/// `[signatures]` of a policy.
#[derive(Deserialize, Default, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSignatures {
    /// Whether plugins that are not part of the program are loaded only when a trusted key has signed their manifest,
    /// and the manifest pins the component with `blake3`.
    #[serde(default)]
    required: bool,
    /// Public keys of minisign, at most 64: "RW...", or { key = "RW...", name = "..." }. A signature by another key, or
    /// a wrong one, keeps a plugin from being loaded.
    #[schemars(
        with = "Vec<RawKey>", default, length(max = TRUSTED_KEYS_MAX), extend("default" = [])
    )]
    trusted_keys: Option<Spanned<Vec<Spanned<RawKey>>>>,
}

impl RawSignatures {
    pub(crate) fn check(self) -> Result<Signatures, Wrong> {
        if let Some(given) = &self.trusted_keys
            && TRUSTED_KEYS_MAX < given.get_ref().len()
        {
            let count = given.get_ref().len();
            let message = format!("{count} keys are too many: at most {TRUSTED_KEYS_MAX}");
            return Err(wrong(given, message));
        }
        let mut trusted: Vec<TrustedKey> = Vec::new();
        for given in self.trusted_keys.map_or(Vec::new(), Spanned::into_inner) {
            let span = Some(given.span());
            let (text, name, span) = match given.into_inner() {
                RawKey::Bare(text) => (text, None, span),
                RawKey::Named(NamedKey { key, name }) => {
                    let span = Some(key.span());
                    (key.into_inner(), Some(name), span)
                }
            };
            let key = TrustedKey::parse(&text, name)
                .map_err(|message| Wrong { span: span.clone(), message })?;
            if trusted.iter().any(|other| other.key == key.key) {
                return Err(Wrong { span, message: format!("{text:?} is there already") });
            }
            trusted.push(key);
        }
        Ok(Signatures { required: self.required, trusted })
    }
}

/// A key as text, or as a table that gives it a name.
enum RawKey {
    Bare(String),
    Named(NamedKey),
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NamedKey {
    /// A public key of minisign.
    #[schemars(with = "String", regex(pattern = schema::PUBLIC_KEY))]
    key: Spanned<String>,
    /// Whose it is, for people.
    #[schemars(length(min = 1, max = KEY_NAME_BYTES_MAX))]
    name: String,
}

impl JsonSchema for RawKey {
    fn schema_name() -> Cow<'static, str> {
        "Key".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let bare = json!({ "type": "string", "pattern": schema::PUBLIC_KEY });
        json_schema!({ "anyOf": [bare, generator.subschema_for::<NamedKey>()] })
    }
}

impl<'de> Deserialize<'de> for RawKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawKey, D::Error> {
        deserializer.deserialize_any(OfKey)
    }
}

/// Unlike serde's untagged enums it lets the table's own reader find what is wrong in it, and where.
struct OfKey;

impl<'de> Visitor<'de> for OfKey {
    type Value = RawKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a public key, or a table with `key` and `name`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RawKey, E> {
        Ok(RawKey::Bare(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawKey, A::Error> {
        NamedKey::deserialize(MapAccessDeserializer::new(map)).map(RawKey::Named)
    }
}

#[cfg(test)]
mod tests;
