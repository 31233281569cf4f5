//! Signatures against flipped bits, other keys, other files and arbitrary text.

use super::*;
use expect_test::{Expect, expect};
use minisign::KeyPair;
use proptest::prelude::*;
use std::sync::LazyLock;

const MANIFEST: &[u8] = b"[plugin]\nname = \"p\"\n[module]\npath = \"p.wasm\"\n";

/// A key pair, and the signature of [`MANIFEST`] by it.
struct Signing {
    keys: KeyPair,
    signature: String,
}

impl Signing {
    fn new() -> Signing {
        let keys = KeyPair::generate_unencrypted_keypair().unwrap();
        let signature = sign(&keys, MANIFEST);
        Signing { keys, signature }
    }

    fn key(&self) -> String {
        self.keys.pk.to_base64()
    }

    /// A policy that trusts this key alone.
    fn trusted(&self, required: bool) -> Signatures {
        let key = TrustedKey::parse(&self.key(), Some("shop".to_owned())).unwrap();
        Signatures { required, trusted: vec![key] }
    }
}

fn sign(keys: &KeyPair, bytes: &[u8]) -> String {
    let signed = minisign::sign(Some(&keys.pk), &keys.sk, bytes, Some("of p"), Some("by hand"));
    signed.unwrap().into_string()
}

fn denied<T: std::fmt::Debug>(result: KernelResult<T>) -> String {
    match result.unwrap_err() {
        KernelError::Plugin { fault: PluginFault::Denied, message, .. } => message,
        error => panic!("{error}"),
    }
}

#[test]
fn a_signature_by_a_trusted_key_names_its_signer() {
    let signing = Signing::new();
    for required in [false, true] {
        let signatures = signing.trusted(required);
        let signer = verify(MANIFEST, Some(&signing.signature), &signatures, "p", true).unwrap();
        let expected = Signer {
            key: signing.key(),
            name: Some("shop".to_owned()),
            comment: "of p".to_owned(),
            covers_component: true,
        };
        assert_eq!(signer, Some(expected));
    }
}

#[test]
fn the_signer_is_found_among_several_keys() {
    let signings = [Signing::new(), Signing::new(), Signing::new()];
    let trusted = signings.iter().flat_map(|signing| signing.trusted(true).trusted).collect();
    let signatures = Signatures { required: true, trusted };
    for signing in &signings {
        let signer = verify(MANIFEST, Some(&signing.signature), &signatures, "p", true).unwrap();
        assert_eq!(signer.unwrap().key, signing.key());
    }
}

#[test]
fn a_signature_of_the_older_kind_counts_too() {
    let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    let legacy = "untrusted comment: signature from minisign secret key\n\
        RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=\n\
        trusted comment: timestamp:1555779966\tfile:test\n\
        QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==";
    let trusted = vec![TrustedKey::parse(key, None).unwrap()];
    let signatures = Signatures { required: true, trusted };
    let signer = verify(b"test", Some(legacy), &signatures, "p", true).unwrap().unwrap();
    assert_eq!((signer.key.as_str(), signer.name), (key, None));
    assert_eq!(signer.comment, "timestamp:1555779966\tfile:test");
    denied(verify(b"Test", Some(legacy), &signatures, "p", true));
}

#[test]
fn without_a_trusted_key_a_signature_is_not_looked_at() {
    let signatures = Signatures::default();
    for signature in [None, Some("nonsense"), Some(&Signing::new().signature[..])] {
        assert_eq!(verify(MANIFEST, signature, &signatures, "p", true).unwrap(), None);
    }
}

#[test]
fn what_is_required_and_not_there_is_denied_with_the_way_out() {
    let signing = Signing::new();
    let check = |signature: Option<&str>, signatures: &Signatures, pins, expected: Expect| {
        expected.assert_eq(&denied(verify(MANIFEST, signature, signatures, "p", pins)));
    };
    check(
        None,
        &signing.trusted(true),
        true,
        expect![
            "the policy requires a signature, and there is none: sign the manifest with `minisign -S -m NAME.toml`, which writes NAME.toml.minisig beside it, with a key of trusted_keys below [signatures]"
        ],
    );
    check(
        Some(&signing.signature),
        &Signatures { required: true, trusted: Vec::new() },
        true,
        expect![
            "the policy requires signatures and trusts no key: name one in trusted_keys below [signatures]"
        ],
    );
    check(
        Some(&signing.signature),
        &signing.trusted(true),
        false,
        expect![[
            r#"its manifest is signed but takes any component: add blake3 = "..." below [module], and sign it again"#
        ]],
    );
    let signer = verify(MANIFEST, Some(&signing.signature), &signing.trusted(false), "p", false);
    assert!(!signer.unwrap().unwrap().covers_component);
    assert_eq!(verify(MANIFEST, None, &signing.trusted(false), "p", true).unwrap(), None);
}

#[test]
fn a_wrong_signature_is_denied_even_when_none_is_required() {
    let (signing, other) = (Signing::new(), Signing::new());
    let check = |manifest: &[u8], signature: &str, expected: Expect| {
        for required in [false, true] {
            let signatures = signing.trusted(required);
            let message = denied(verify(manifest, Some(signature), &signatures, "p", true));
            expected.assert_eq(&message);
        }
    };
    check(
        MANIFEST,
        &other.signature,
        expect![
            "its signature does not count: it is by a key that is not in trusted_keys below [signatures]"
        ],
    );
    check(
        b"[plugin]\n",
        &signing.signature,
        expect![
            "its signature does not count: it is not of this manifest; sign it again after each change"
        ],
    );
    check(
        MANIFEST,
        "",
        expect![
            "its signature does not count: it is none that minisign writes: Invalid encoding in minisign data"
        ],
    );
    check(
        MANIFEST,
        &" ".repeat(SIGNATURE_BYTES_MAX as usize + 1),
        expect!["its signature does not count: it has more than 8192 bytes"],
    );
    // The comment that is signed cannot be changed either.
    let changed = signing.signature.replace("of p", "of q");
    assert_ne!(changed, signing.signature);
    denied(verify(MANIFEST, Some(&changed), &signing.trusted(false), "p", true));
}

#[test]
fn any_flipped_bit_is_noticed() {
    let signing = Signing::new();
    let signatures = signing.trusted(false);
    for bit in 0..MANIFEST.len() * 8 {
        let mut changed = MANIFEST.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        denied(verify(&changed, Some(&signing.signature), &signatures, "p", true));
    }
}

#[test]
fn a_signature_lies_beside_its_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("p.toml");
    assert_eq!(read_beside(&manifest).unwrap(), None);
    let beside = folder.path().join("p.toml.minisig");
    assert_eq!(path_of(&manifest), beside);
    std::fs::write(&beside, "four lines").unwrap();
    assert_eq!(read_beside(&manifest).unwrap().as_deref(), Some("four lines"));
    std::fs::write(&beside, vec![b' '; SIGNATURE_BYTES_MAX as usize + 1]).unwrap();
    assert_eq!(read_beside(&manifest).unwrap_err().kind(), ErrorKind::Limit);
    std::fs::write(&beside, b"\xFF").unwrap();
    assert_eq!(read_beside(&manifest).unwrap_err().kind(), ErrorKind::Invalid);
}

static SIGNING: LazyLock<Signing> = LazyLock::new(Signing::new);

proptest! {
    #[test]
    fn arbitrary_text_is_no_signature(text: String) {
        prop_assert!(verify(MANIFEST, Some(&text), &SIGNING.trusted(false), "p", true).is_err());
        prop_assert!(TrustedKey::parse(&text, None).is_err());
    }

    #[test]
    fn a_changed_signature_counts_only_where_nothing_is_said(
        at in 0..SIGNING.signature.len(), to in "[ -~\n]",
    ) {
        let mut changed = SIGNING.signature.clone();
        changed.replace_range(at..=at, &to);
        let verified = verify(MANIFEST, Some(&changed), &SIGNING.trusted(false), "p", true);
        // The first line is a comment that nobody signs. How base64 and the end of the file are written may differ.
        if let Ok(signer) = verified {
            prop_assert_eq!(signer.unwrap().comment, "of p");
        }
    }
}
