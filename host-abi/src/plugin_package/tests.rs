use super::*;
use proptest::prelude::*;
use std::path::PathBuf;

const COMPONENT: &[u8] = b"\0asm and whatever a component is made of";

/// A manifest of the plugin `tiny` that pins `component`.
fn manifest(path: &str, component: &[u8]) -> String {
    format!(
        "[plugin]\nname = \"tiny\"\nversion = \"1.2.3\"\nkind = \"codec\"\nmin_kernel_version = \"0.1.0\"\n\
         [module]\npath = \"{path}\"\nblake3 = \"{}\"\n[exports]\ninterfaces = [\"codec\", \"lifecycle\"]\n",
        blake3::hash(component)
    )
}

/// A folder with a plugin and these files beside it; the manifest's path.
fn folder(more: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    write("tiny.wasm", COMPONENT);
    write("any-name.toml", manifest("tiny.wasm", COMPONENT).as_bytes());
    more.iter().for_each(|(name, text)| write(name, text.as_bytes()));
    let path = folder.path().join("any-name.toml");
    (folder, path)
}

fn files(more: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
    let own = manifest("tiny.wasm", COMPONENT);
    let mut files = vec![("tiny.toml".to_owned(), own.into_bytes())];
    files.extend(more.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())));
    files.push(("tiny.wasm".to_owned(), COMPONENT.to_vec()));
    files
}

/// The bytes with a head that fits what follows it.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let head = head(&blake3::hash(&bytes[2 * BLOCK_BYTES..]));
    bytes[BLOCK_BYTES..BLOCK_BYTES + HEAD_BYTES].copy_from_slice(head.as_bytes());
    bytes
}

#[track_caller]
fn refused(bytes: Vec<u8>, words: &[&str]) {
    let error = PluginPackage::decode("p", bytes).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, PackageError::Refused { .. }), "{error:?}");
    assert!(words.iter().all(|word| text.contains(word)), "no {words:?} in: {text}");
}

#[test]
fn what_is_gathered_is_what_is_read_and_unpacked() {
    let more =
        [("README.md", "# tiny"), ("LICENSE-MIT", "as is"), ("any-name.toml.minisig", "signed")];
    let (_folder, path) = folder(&more);
    let package = PluginPackage::gather(&path).unwrap();
    assert_eq!((package.name(), package.version()), ("tiny", "1.2.3"));
    assert_eq!(package.file_name(), "tiny-1.2.3.sochdb-plugin");
    let names: Vec<_> = package.files().map(|(name, _)| name.to_owned()).collect();
    let all = ["tiny.toml", "tiny.toml.minisig", "README.md", "LICENSE-MIT", "tiny.wasm"];
    assert_eq!(names, all);
    assert_eq!(package.manifest().as_bytes(), fs::read(&path).unwrap());
    let target = tempfile::tempdir().unwrap();
    let file = target.path().join(package.file_name());
    fs::write(&file, package.bytes()).unwrap();
    let read = PluginPackage::read(&file).unwrap();
    assert_eq!(read, package);
    read.unpack(target.path()).unwrap();
    assert_eq!(fs::read(target.path().join("tiny.wasm")).unwrap(), COMPONENT);
    assert_eq!(fs::read(target.path().join("tiny.toml.minisig")).unwrap(), b"signed");
    let again = PluginPackage::gather(&target.path().join("tiny.toml")).unwrap();
    assert_eq!(again.bytes(), package.bytes(), "made of the same");
    let error = read.unpack(target.path()).unwrap_err().to_string();
    assert!(error.contains("tiny.toml"), "what is there is not written over: {error}");
}

#[test]
fn the_bytes_are_those_of_the_tables() {
    let bytes = encode(&files(&[]));
    assert_eq!(bytes.len(), 8 * BLOCK_BYTES);
    let block = &bytes[..BLOCK_BYTES];
    assert_eq!(&block[..14], b"sochdb-plugin\0");
    assert_eq!(&block[100..124], b"0000644\x000000000\x000000000\x00");
    assert_eq!(&block[124..157], b"00000000130\x0000000000000\x00010420\x00 0");
    assert_eq!(&block[257..265], b"ustar\x0000");
    assert_eq!(block[265..], [0; BLOCK_BYTES - 265]);
    let text = str::from_utf8(&bytes[BLOCK_BYTES..][..HEAD_BYTES]).unwrap();
    let rest = blake3::hash(&bytes[2 * BLOCK_BYTES..]);
    assert_eq!(text, format!("sochdb-plugin 1\nblake3 {rest}\n"));
    assert_eq!(
        blake3::hash(&bytes).to_string(),
        "0dbd894a0da3733550d16c33158bfbd766e2a2c3b98f8d8498298b169c864700",
        "a format that changes has another version"
    );
}

#[test]
fn a_manifest_that_pins_nothing_or_something_else_is_not_packed() {
    let (folder, path) = folder(&[]);
    let gather = |text: String| {
        fs::write(&path, text).unwrap();
        PluginPackage::gather(&path).unwrap_err().to_string()
    };
    let pinned = manifest("tiny.wasm", COMPONENT);
    let unpinned: Vec<_> = pinned.lines().filter(|line| !line.starts_with("blake3")).collect();
    assert!(gather(unpinned.join("\n")).contains("no [module] blake3; `sochdb plugin build`"));
    let error = gather(manifest("tiny.wasm", b"another"));
    assert!(error.contains(&blake3::hash(COMPONENT).to_string()), "{error}");
    let error = gather(pinned.replace("path = \"tiny.wasm\"", "bundled = \"lz4\""));
    assert!(error.contains("needs [module] path"), "{error}");
    for bad in ["sub/tiny.wasm", "readme.MD", "tiny.toml", "sochdb-plugin", "notice", "ä.wasm"] {
        let error = gather(manifest(bad, COMPONENT));
        assert!(error.contains("cannot be called"), "{bad}: {error}");
    }
    fs::write(folder.path().join("README.md"), vec![b' '; README_BYTES_MAX as usize + 1]).unwrap();
    assert!(gather(pinned).contains("its README.md has more than 1048576 bytes"));
}

#[test]
fn what_is_no_package_says_so_and_a_later_one_says_which() {
    for bytes in [&b""[..], b"PK\x03\x04", &[0; 4096], COMPONENT] {
        let error = PluginPackage::decode("p", bytes.to_vec()).unwrap_err();
        assert!(matches!(error, PackageError::NotOne { .. }), "{error:?}");
    }
    let mut bytes = encode(&files(&[]));
    bytes[BLOCK_BYTES + 14] = b'7';
    let error = PluginPackage::decode("p", bytes).unwrap_err();
    assert!(matches!(error, PackageError::Newer { version: 7, .. }), "{error:?}");
}

#[test]
fn an_archive_with_anything_else_in_it_is_refused() {
    let at = |bytes: &[u8], name: &[u8]| {
        let found = bytes.chunks(BLOCK_BYTES).position(|block| block.starts_with(name));
        found.expect("an entry of this name") * BLOCK_BYTES
    };
    // A block that tells of something else, with a sum that holds.
    let told = |name: &[u8], change: &dyn Fn(&mut [u8])| {
        let mut bytes = encode(&files(&[("README.md", b"hello")]));
        let at = at(&bytes, name);
        let block = &mut bytes[at..at + BLOCK_BYTES];
        change(block);
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        sealed(bytes)
    };
    let named = |name: &'static [u8]| {
        told(b"README.md", &move |block| {
            block[..100].fill(0);
            block[..name.len()].copy_from_slice(name);
        })
    };
    refused(named(b"../README"), &["\"../README\"", "leads into a folder"]);
    refused(named(b"/etc/passwd"), &["leads into a folder"]);
    refused(named(b"C:\\x"), &["leads into a folder"]);
    refused(named(b".."), &["begins with a dot"]);
    refused(named(b""), &["is empty"]);
    refused(named(b"a b"), &["other characters"]);
    refused(named(b"\xff"), &["no text"]);
    refused(named(&[b'a'; 100]), &["more than 99"]);
    refused(named(b"tiny.wasm"), &["'tiny.wasm' does not belong where it is"]);
    refused(named(b"tiny.toml"), &["'tiny.toml' does not belong where it is"]);
    refused(named(b"setup.sh"), &["'setup.sh' does not belong"]);
    for kind in *b"1256xgL\0" {
        refused(told(b"README.md", &|block| block[156] = kind), &["not described as a plain file"]);
    }
    let link = |block: &mut [u8]| block[157..160].copy_from_slice(b"/oh");
    refused(told(b"README.md", &link), &["not described as a plain file"]);
    refused(told(b"README.md", &|block| block[345] = b'd'), &["not described as a plain file"]);
    refused(told(b"README.md", &|block| block[103] = b'7'), &["not described as a plain file"]);
    refused(told(b"README.md", &|block| block[124] = b'-'), &["size of 'README.md'"]);

    let two: &[u8] = b"x";
    refused(encode(&files(&[("README.md", two), ("README.md", two)])), &["'README.md'"]);
    refused(encode(&files(&[("NOTICE", two), ("LICENSE", two)])), &["'LICENSE'"]);
    refused(encode(&files(&[("x", two); 7])), &["more than 8 files"]);
    let large = vec![b'x'; LICENSE_BYTES_MAX as usize + 1];
    refused(encode(&files(&[("LICENSE", &large)])), &["'LICENSE' has 262145 bytes"]);
    refused(encode(&files(&[])[..1]), &["a manifest and a component"]);
    let mut others = files(&[]);
    others[1].1 = b"another".to_vec();
    refused(encode(&others), &["its component has"]);
    let mut others = files(&[]);
    others[0].0 = "other.toml".to_owned();
    refused(encode(&others), &["'tiny.toml' and 'tiny.wasm' belong"]);
}

#[test]
fn a_size_that_is_not_there_is_not_believed() {
    let mut bytes = encode(&files(&[]));
    let block = ustar::block("tiny.wasm", (1 << 33) - 1);
    let at = bytes.len() - 4 * BLOCK_BYTES;
    bytes[at..at + BLOCK_BYTES].copy_from_slice(&block);
    let error = PluginPackage::decode("p", sealed(bytes)).unwrap_err();
    assert!(matches!(error, PackageError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("has 8589934591 bytes, the rest fewer"), "{error}");
}

#[test]
fn a_manifest_that_is_wrong_is_named_with_its_place() {
    let mut others = files(&[]);
    others[0].1.extend_from_slice(b"[resources]\nfule_limit = 1\n");
    let error = PluginPackage::decode("tiny.sochdb-plugin", encode(&others)).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("tiny.sochdb-plugin/tiny.toml:12:1: "), "{text}");
    let mut others = files(&[("README.md", b"\xff")]);
    others[0].1.extend_from_slice(b"# fine\n");
    let error = PluginPackage::decode("p", encode(&others)).unwrap_err();
    assert!(matches!(error, PackageError::Damaged { .. }), "{error:?}");
}

proptest! {
    #[test]
    fn any_cut_or_changed_byte_is_noticed(index in any::<prop::sample::Index>(), with in 1..=255_u8) {
        let bytes = encode(&files(&[("README.md", b"hello")]));
        prop_assert!(PluginPackage::decode("p", bytes.clone()).is_ok());
        let cut = bytes[..index.index(bytes.len())].to_vec();
        prop_assert!(PluginPackage::decode("p", cut).is_err());
        let mut flipped = bytes;
        let at = index.index(flipped.len());
        flipped[at] ^= with;
        prop_assert!(PluginPackage::decode("p", flipped).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..6 * BLOCK_BYTES)) {
        let _ = PluginPackage::decode("p", bytes.clone());
        // What lies behind a head that holds.
        let mut whole = encode(&files(&[]));
        let len = whole.len();
        for (at, byte) in bytes.iter().enumerate() {
            whole[2 * BLOCK_BYTES + at % (len - 2 * BLOCK_BYTES)] ^= byte;
        }
        if let Ok(package) = PluginPackage::decode("p", sealed(whole)) {
            prop_assert_eq!(package.name(), "tiny");
        }
    }
}
