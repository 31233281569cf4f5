//! Compiled code as bytes, sealed with a key; the only place that turns such bytes into code.
//!
//! Whoever chooses the bytes of an artifact chooses what this process executes. So an [`Artifact`] is made
//! only of what the compiler gave us, here or on the other side of a seal, and a seal is made and checked
//! only in this file. Sealed:
//!
//! | offset | size | type  | field    | meaning                                                           |
//! |-------:|-----:|-------|----------|-------------------------------------------------------------------|
//! |      0 |    8 | bytes | `magic`  | `SOCHCODE`                                                        |
//! |      8 |    4 | u32   | version  | 1                                                                 |
//! |     12 |    4 | bytes | padding  | zero                                                              |
//! |     16 |   32 | bytes | `id`     | the [`CodeId`]: which component, compiled how                     |
//! |     48 |    8 | u64   | `len`    | bytes of the artifact                                             |
//! |     56 |   32 | bytes | `seal`   | BLAKE3, keyed with the secret, of bytes 0 to 56 and the artifact  |
//! |     88 |    n | bytes | artifact | as wasmtime made it                                               |
//!
//! Integers are little-endian. The secret is never in the file: it lies beside the cache's entries, readable
//! by their owner alone, or is made for one compilation and given to its process.
//!
//! Invariants:
//! 1. Nothing of a sealed artifact is used before its seal was found good, the length aside.
//! 2. The seal covers the id: an artifact cannot pass as that of another component or another engine.

#[cfg(target_os = "linux")]
use super::memory_file::MemoryFile;
use sochdb_kernel::{KernelError, KernelResult};
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::{self, Read};
use wasmtime::Engine;
use wasmtime::component::Component;

const MAGIC: &[u8; 8] = b"SOCHCODE";
/// Of the table above. It also goes into every id, so that another version's entries are never looked at.
const VERSION: u32 = 1;
const AT_ID: usize = 8 + 4 + 4;
const AT_LEN: usize = AT_ID + 32;
const AT_SEAL: usize = AT_LEN + 8;
pub(super) const HEADER_BYTES: usize = AT_SEAL + 32;
/// 256 KiB: read, hashed and written while it is in the processor's cache.
#[cfg(target_os = "linux")]
const PIECE_BYTES: usize = 256 << 10;
const _: () = assert!(AT_SEAL == 56 && HEADER_BYTES == 88, "the table above says so");

/// 256 MiB. Compiled code has about four times the bytes of its component; nothing larger is kept, or
/// taken from another process.
pub(super) const ARTIFACT_BYTES_MAX: u64 = 256 << 20;

/// Names an engine: version of wasmtime, target, features of the processor, everything configured that
/// changes compiled code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EngineKey(pub(super) [u8; 32]);

impl EngineKey {
    pub(crate) fn of(engine: &Engine) -> EngineKey {
        struct Collect(blake3::Hasher);
        impl Hasher for Collect {
            fn write(&mut self, bytes: &[u8]) {
                self.0.update(bytes);
            }

            fn finish(&self) -> u64 {
                let bytes = self.0.finalize();
                u64::from_le_bytes(bytes.as_bytes()[..8].try_into().expect("eight bytes"))
            }
        }
        let mut collect = Collect(blake3::Hasher::new_derive_key("sochdb engine configuration"));
        engine.precompile_compatibility_hash().hash(&mut collect);
        EngineKey(collect.0.finalize().into())
    }
}

/// Names compiled code: the component, the engine, the version of our format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CodeId(pub(super) [u8; 32]);

impl CodeId {
    pub(super) fn new(engine: &EngineKey, component: &blake3::Hash) -> CodeId {
        let mut hasher = blake3::Hasher::new_derive_key("sochdb compiled code");
        hasher.update(&VERSION.to_le_bytes()).update(&engine.0).update(component.as_bytes());
        CodeId(hasher.finalize().into())
    }

    pub(super) fn hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_string()
    }
}

/// What a seal is made with. Not shown, whoever asks.
pub(super) struct SealKey(pub(super) [u8; 32]);

impl SealKey {
    /// A key that nobody else has.
    ///
    /// # Errors
    /// `Unavailable` when the operating system has no randomness.
    pub(super) fn random() -> KernelResult<SealKey> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| {
            KernelError::unavailable(format!("get 32 random bytes from the system: {error}"))
        })?;
        Ok(SealKey(key))
    }
}

/// Compiled code as bytes that came from the compiler.
pub(super) struct Artifact {
    bytes: Vec<u8>,
    /// Where in `bytes` it begins.
    start: usize,
}

/// Why bytes are no artifact sealed with a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadSeal(pub(super) &'static str);

impl Artifact {
    /// Compiles `component`.
    pub(super) fn compile(engine: &Engine, component: &[u8]) -> wasmtime::Result<Artifact> {
        Ok(Artifact { bytes: engine.precompile_component(component)?, start: 0 })
    }

    /// The artifact that `code` was made of.
    pub(super) fn of(code: &Component) -> wasmtime::Result<Artifact> {
        Ok(Artifact { bytes: code.serialize()?, start: 0 })
    }

    pub(super) fn len(&self) -> u64 {
        self.artifact().len() as u64
    }

    /// What goes before the artifact where it is written.
    pub(super) fn header(&self, key: &SealKey, id: &CodeId) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[AT_ID..AT_LEN].copy_from_slice(&id.0);
        header[AT_LEN..AT_SEAL].copy_from_slice(&self.len().to_le_bytes());
        let seal = seal(key, &header, self.artifact());
        header[AT_SEAL..].copy_from_slice(seal.as_bytes());
        header
    }

    /// What goes after the header.
    pub(super) fn artifact(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// The artifact in `sealed`, if it is `id`'s and was sealed with `key`.
    pub(super) fn unseal(sealed: Vec<u8>, key: &SealKey, id: &CodeId) -> Result<Artifact, BadSeal> {
        let (header, artifact) = sealed.split_at_checked(HEADER_BYTES).ok_or(CUT_OFF)?;
        let found = claimed_seal(header, artifact.len() as u64, id)?;
        // Compared in constant time.
        if found != seal(key, header, artifact) {
            return Err(NO_SEAL);
        }
        Ok(Artifact { bytes: sealed, start: HEADER_BYTES })
    }

    /// The code. Wasmtime checks once more that it was compiled for an engine like this one.
    #[allow(unsafe_code, reason = "there is no other way to load compiled code")]
    pub(super) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: `deserialize` asks for bytes that `precompile_component` or `serialize` made. The field
        // `bytes` is private to this file, which makes an `Artifact` in three places: `compile` and `of`
        // call those two; `unseal` takes what the keyed hash shows to have been sealed under the same secret
        // key, which only `header` does, of an `Artifact`. Nothing changes `bytes` later, and `deserialize`
        // copies them out of memory that is ours, not out of a file that somebody could write to.
        unsafe { Component::deserialize(engine, self.artifact()) }
    }
}

/// Compiled code that a cache kept, unsealed.
pub(super) enum Kept {
    /// A copy in memory.
    Bytes(Artifact),
    /// In a file in memory that nobody can change any more, from which the code is mapped: no second copy is made of
    /// it, and only what runs takes room in this process.
    #[cfg(target_os = "linux")]
    Mapped(MemoryFile),
}

impl Kept {
    /// The artifact in `file`, which has `len` bytes, if it is `id`'s and was sealed with `key`.
    pub(super) fn unseal(
        file: &File,
        len: u64,
        key: &SealKey,
        id: &CodeId,
    ) -> Result<Kept, NotUnsealed> {
        #[cfg(target_os = "linux")]
        if let Ok(memory) = MemoryFile::new() {
            return Kept::unseal_into(memory, file, len, key, id);
        }
        let mut sealed = Vec::with_capacity(len as usize);
        file.take(len).read_to_end(&mut sealed)?;
        Ok(Kept::Bytes(Artifact::unseal(sealed, key, id)?))
    }

    /// The same, piece by piece: each is hashed as it is written, while it is in the processor's cache.
    #[cfg(target_os = "linux")]
    fn unseal_into(
        mut memory: MemoryFile,
        mut file: &File,
        len: u64,
        key: &SealKey,
        id: &CodeId,
    ) -> Result<Kept, NotUnsealed> {
        use io::Write;
        let len = len.checked_sub(HEADER_BYTES as u64).ok_or(CUT_OFF)?;
        let mut header = [0; HEADER_BYTES];
        file.read_exact(&mut header)?;
        let found = claimed_seal(&header, len, id)?;
        let mut hasher = seal_of(key, &header);
        let (mut rest, mut piece) = (file.take(len), vec![0; PIECE_BYTES]);
        loop {
            let read = rest.read(&mut piece)?;
            if read == 0 {
                break;
            }
            hasher.update(&piece[..read]);
            memory.write_all(&piece[..read])?;
        }
        // Compared in constant time.
        if found != hasher.finalize() {
            return Err(NO_SEAL.into());
        }
        memory.seal()?;
        Ok(Kept::Mapped(memory))
    }

    /// The code. Wasmtime checks once more that it was compiled for an engine like this one.
    #[allow(unsafe_code, reason = "there is no other way to load compiled code")]
    pub(super) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        match self {
            Kept::Bytes(artifact) => artifact.load(engine),
            #[cfg(target_os = "linux")]
            Kept::Mapped(memory) => {
                // SAFETY: `deserialize_file` asks for a file with bytes that `precompile_component` or `serialize` made,
                // which stay what they are as long as the code lives. `Mapped` is made in one place, of bytes that
                // the keyed hash shows to have been sealed under the secret key, which only `header` does, of an
                // `Artifact`. What was hashed is what was written to the file: pieces of one buffer. Nobody can write
                // to the file, cut it or let it grow: the system refuses that for good. Before it did, the file had
                // no name, and this process had its only handle; through `/proc` only a process could get at it
                // that may trace this one, and so change whatever memory it likes. The cache's own file, which
                // others could write to, is not mapped.
                let mapped = unsafe { Component::deserialize_file(engine, memory.path()) };
                // Where `/proc` is not mounted, or code must not be mapped.
                mapped.or_else(|_| Artifact { bytes: memory.read()?, start: 0 }.load(engine))
            }
        }
    }
}

/// Why code that was kept is not to be had.
#[derive(Debug)]
pub(super) enum NotUnsealed {
    BadSeal(BadSeal),
    Unreadable(io::Error),
}

impl From<BadSeal> for NotUnsealed {
    fn from(error: BadSeal) -> NotUnsealed {
        NotUnsealed::BadSeal(error)
    }
}

impl From<io::Error> for NotUnsealed {
    fn from(error: io::Error) -> NotUnsealed {
        NotUnsealed::Unreadable(error)
    }
}

const CUT_OFF: BadSeal = BadSeal("is cut off within its header");
const NO_SEAL: BadSeal = BadSeal("has a seal that does not hold");

/// The seal in `header`, if that is of an artifact of `id` with `len` bytes.
fn claimed_seal(header: &[u8], len: u64, id: &CodeId) -> Result<blake3::Hash, BadSeal> {
    if header[..8] != *MAGIC {
        return Err(BadSeal("does not begin as compiled code does"));
    }
    if header[8..12] != VERSION.to_le_bytes() || header[12..AT_ID] != [0; 4] {
        return Err(BadSeal("is of another version"));
    }
    if header[AT_ID..AT_LEN] != id.0 {
        return Err(BadSeal("is that of another component or another engine"));
    }
    if header[AT_LEN..AT_SEAL] != len.to_le_bytes() {
        return Err(BadSeal("has not the length it was written with"));
    }
    Ok(blake3::Hash::from_slice(&header[AT_SEAL..]).expect("a seal has 32 bytes"))
}

fn seal(key: &SealKey, header: &[u8], artifact: &[u8]) -> blake3::Hash {
    seal_of(key, header).update(artifact).finalize()
}

/// The seal of what begins with `header`, before the artifact.
fn seal_of(key: &SealKey, header: &[u8]) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_keyed(&key.0);
    hasher.update(&header[..AT_SEAL]);
    hasher
}

#[cfg(test)]
impl Artifact {
    /// Bytes that are no code; they may be sealed and unsealed, not loaded.
    pub(super) fn of_bytes(bytes: &[u8]) -> Artifact {
        Artifact { bytes: bytes.to_vec(), start: 0 }
    }

    pub(super) fn sealed(&self, key: &SealKey, id: &CodeId) -> Vec<u8> {
        [&self.header(key, id)[..], self.artifact()].concat()
    }
}

#[cfg(test)]
impl Kept {
    pub(super) fn bytes(&self) -> Vec<u8> {
        match self {
            Kept::Bytes(artifact) => artifact.artifact().to_vec(),
            #[cfg(target_os = "linux")]
            Kept::Mapped(memory) => memory.read().unwrap(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;
    use std::io::{Seek, Write};

    const KEY: SealKey = SealKey([7; 32]);
    const ID: CodeId = CodeId([9; 32]);

    fn hex(bytes: &[u8]) -> String {
        let rows = bytes
            .chunks(16)
            .map(|row| row.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "));
        rows.collect::<Vec<_>>().join("\n")
    }

    /// Why it is refused in memory, and in a file.
    fn refusal(sealed: &[u8], key: &SealKey, id: &CodeId) -> &'static str {
        let refused =
            Artifact::unseal(sealed.to_vec(), key, id).err().map_or("", |BadSeal(why)| why);
        let refused_file = match unsealed_file(sealed, key, id) {
            Ok(_) => "",
            Err(NotUnsealed::BadSeal(BadSeal(why))) => why,
            Err(NotUnsealed::Unreadable(error)) => panic!("{error}"),
        };
        assert_eq!(refused, refused_file);
        refused
    }

    fn unsealed_file(sealed: &[u8], key: &SealKey, id: &CodeId) -> Result<Kept, NotUnsealed> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(sealed).unwrap();
        file.rewind().unwrap();
        Kept::unseal(&file, sealed.len() as u64, key, id)
    }

    #[test]
    fn a_sealed_artifact_has_these_bytes() {
        let sealed = Artifact::of_bytes(b"code").sealed(&KEY, &ID);
        expect![[r#"
            53 4f 43 48 43 4f 44 45 01 00 00 00 00 00 00 00
            09 09 09 09 09 09 09 09 09 09 09 09 09 09 09 09
            09 09 09 09 09 09 09 09 09 09 09 09 09 09 09 09
            04 00 00 00 00 00 00 00 67 c3 46 f0 51 f5 aa 7b
            40 77 08 d3 f9 68 8e 56 3e 83 4a c5 b2 0f a4 93
            50 a1 3f f6 55 c7 4e a8 63 6f 64 65"#]]
        .assert_eq(&hex(&sealed));
    }

    #[test]
    fn what_was_sealed_comes_back() {
        for artifact in [&b""[..], b"code", &[0xEE; 5000], &[0xEE; 600_000]] {
            let sealed = Artifact::of_bytes(artifact).sealed(&KEY, &ID);
            assert_eq!(unsealed_file(&sealed, &KEY, &ID).unwrap().bytes(), artifact);
            assert_eq!(Artifact::unseal(sealed, &KEY, &ID).ok().unwrap().artifact(), artifact);
        }
    }

    #[test]
    fn another_key_another_id_and_another_version_are_refused() {
        let sealed = Artifact::of_bytes(b"code").sealed(&KEY, &ID);
        assert_eq!(refusal(&sealed, &SealKey([8; 32]), &ID), "has a seal that does not hold");
        let other = CodeId([8; 32]);
        assert!(refusal(&sealed, &KEY, &other).contains("another component or another engine"));
        let mut newer = sealed.clone();
        newer[8] = 2;
        assert_eq!(refusal(&newer, &KEY, &ID), "is of another version");
        let mut swapped = sealed.clone();
        swapped[AT_ID..AT_LEN].copy_from_slice(&other.0);
        assert_eq!(refusal(&swapped, &KEY, &other), "has a seal that does not hold");
    }

    #[test]
    fn ids_differ_by_component_and_by_engine() {
        let (one, two) = (blake3::hash(b"1"), blake3::hash(b"2"));
        let (here, there) = (EngineKey([1; 32]), EngineKey([2; 32]));
        let ids = [(&here, &one), (&here, &two), (&there, &one), (&there, &two)];
        let ids: std::collections::BTreeSet<_> =
            ids.map(|(engine, component)| CodeId::new(engine, component).hex()).into();
        assert_eq!(ids.len(), 4);
    }

    #[test]
    fn an_engine_is_named_alike_each_time_and_unlike_one_configured_otherwise() {
        let named = |config: &wasmtime::Config| EngineKey::of(&Engine::new(config).unwrap());
        let ours = crate::wasm_runtime::config();
        assert_eq!(named(&ours), named(&ours));
        for change in [
            &mut crate::wasm_runtime::config().consume_fuel(false),
            &mut crate::wasm_runtime::config().epoch_interruption(false),
            &mut crate::wasm_runtime::config().wasm_simd(false),
        ] {
            assert_ne!(named(&ours), named(change));
        }
        let mut threads = crate::wasm_runtime::config();
        threads.parallel_compilation(false);
        assert_eq!(named(&ours), named(&threads), "who compiles does not change the code");
    }

    #[test]
    fn code_compiled_otherwise_does_not_load() {
        let text = wat::parse_str("(component (core module (func (export \"f\"))))").unwrap();
        let engine = Engine::new(&crate::wasm_runtime::config()).unwrap();
        let artifact = Artifact::compile(&engine, &text).unwrap();
        assert!(artifact.load(&engine).is_ok());
        let kept = unsealed_file(&artifact.sealed(&KEY, &ID), &KEY, &ID).unwrap();
        assert!(kept.load(&engine).is_ok());
        let mut other = crate::wasm_runtime::config();
        other.consume_fuel(false);
        let other = Engine::new(&other).unwrap();
        for refused in [artifact.load(&other), kept.load(&other)] {
            let refused = refused.err().unwrap();
            assert!(format!("{refused:#}").contains("fuel"), "{refused:#}");
        }
    }

    proptest! {
        #[test]
        fn any_flipped_bit_and_any_cut_is_noticed(
            artifact in prop::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(),
            bit in 0..8u8,
        ) {
            let sealed = Artifact::of_bytes(&artifact).sealed(&KEY, &ID);
            let mut flipped = sealed.clone();
            flipped[at.index(sealed.len())] ^= 1 << bit;
            prop_assert_ne!(refusal(&flipped, &KEY, &ID), "");
            prop_assert_ne!(refusal(&sealed[..at.index(sealed.len())], &KEY, &ID), "");
            let longer = [&sealed[..], b"x"].concat();
            prop_assert_ne!(refusal(&longer, &KEY, &ID), "");
        }

        #[test]
        fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_ne!(refusal(&bytes, &KEY, &ID), "");
        }
    }
}
