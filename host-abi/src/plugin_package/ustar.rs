//! Entries of a tar archive, in the one form that packages have: the table of `plugin_package.rs`.

/// Everything begins at a multiple of it.
pub const BLOCK_BYTES: usize = 512;
const NAME_BYTES: usize = 100;
/// Where the size stands, and how many octal digits it has.
const AT_SIZE: usize = 124;
const SIZE_DIGITS: usize = 11;
const AT_SUM: usize = 148;

/// Adds the file `name` to an archive.
///
/// # Panics
/// When `name` is none that [`check_name`] lets through, or the file is larger than 8 GiB.
pub fn append(archive: &mut Vec<u8>, name: &str, file: &[u8]) {
    archive.extend_from_slice(&block(name, file.len()));
    archive.extend_from_slice(file);
    archive.resize(archive.len().next_multiple_of(BLOCK_BYTES), 0);
}

/// The block that tells of the file `name` of `size` bytes.
pub fn block(name: &str, size: usize) -> [u8; BLOCK_BYTES] {
    assert!(check_name(name).is_ok(), "{name:?} is the name of an entry");
    assert!(size < 1 << (3 * SIZE_DIGITS), "{size} bytes have 11 octal digits");
    let mut block = [0; BLOCK_BYTES];
    let mut put =
        |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(AT_SIZE, &format!("{size:011o}"));
    put(136, "00000000000");
    put(AT_SUM, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[AT_SUM..AT_SUM + 8].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// The name and the size that `block` tells of, if it is one of ours.
///
/// # Errors
/// What is wrong with it.
pub fn read(block: &[u8; BLOCK_BYTES]) -> Result<(&str, usize), String> {
    let len = block[..NAME_BYTES].iter().position(|&byte| byte == 0).unwrap_or(NAME_BYTES);
    let name = str::from_utf8(&block[..len]).map_err(|_| "a name that is no text".to_owned())?;
    check_name(name).map_err(|why| format!("an entry called {name:?}: {why}"))?;
    let digits = &block[AT_SIZE..AT_SIZE + SIZE_DIGITS];
    let size = str::from_utf8(digits).ok().and_then(|text| usize::from_str_radix(text, 8).ok());
    let size = size.ok_or_else(|| format!("the size of '{name}' is no number"))?;
    // Links, folders, owners, times, extensions: whatever else a block can tell of.
    match *block == self::block(name, size) {
        true => Ok((name, size)),
        false => Err(format!("'{name}' is not described as a plain file")),
    }
}

/// Whether a file may be called `name`: it is a name on every system, and of no folder.
///
/// # Errors
/// Why not.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    match name {
        "" => Err("it is empty"),
        name if NAME_BYTES <= name.len() => Err("it has more than 99 characters"),
        name if name.contains(['/', '\\']) => Err("it leads into a folder"),
        name if name.starts_with('.') => Err("it begins with a dot"),
        name if !name.chars().all(allowed) => {
            Err("it has other characters than letters, digits, '.', '-' and '_'")
        }
        _ => Ok(()),
    }
}
