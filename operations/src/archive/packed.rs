//! One compressed file of the archived log, as bytes.
//!
//! The file it stands for is cut into blocks, each compressed for itself, so that the log can be read from any
//! place without restoring all before it. `<start>.wal.z` holds what `<start>.wal` held, byte for byte, the
//! header and the zeroes behind the last frame included.
//!
//! | offset | size | type  | field         | meaning                                                       |
//! |-------:|-----:|-------|---------------|---------------------------------------------------------------|
//! |      0 |    8 | bytes | `magic`       | `SOCHLOGZ`                                                    |
//! |      8 |    4 | u32   | `version`     | 1                                                             |
//! |     12 |    4 | u32   | `block_bytes` | raw bytes of every block but the last: 64 KiB to 1 MiB        |
//! |     16 |    8 | u64   | `raw_bytes`   | how long the file was, 1 to 1 GiB                             |
//! |     24 |    1 | u8    | `name_bytes`  | length of the codec's name, 1 to 64                           |
//! |     25 |    n | UTF-8 | `codec`       | the codec's name                                              |
//! |   25+n | 12 b | table | `blocks`      | of each of the b blocks: `stored_bytes` u32, `stored_crc` u32, `raw_crc` u32 |
//! |        |    4 | u32   | `crc`         | CRC-32C of every byte before it                               |
//! |        |      | bytes |               | the blocks, one behind the other, to the end of the file      |
//!
//! Integers are little-endian. `stored_crc` and `raw_crc` are CRC-32C of the block as it is stored and as it was.
//!
//! Invariants:
//! 1. b is `raw_bytes` by `block_bytes`, rounded up, and the blocks' stored lengths add up to the end of the file.
//! 2. A block is stored in no more bytes than it has. In exactly as many, it is stored as it is, and no codec
//!    is asked.
//!
//! Nothing is believed: the head is checked before the table is read, the table before a block is, a block's
//! checksum before a codec sees it, and what the codec answers by length and checksum. Memory is taken block by
//! block as they turn out right, so a forged length costs nothing.

use sochdb_encoding::codec::{Reader, crc, put_u32, put_u64};
use sochdb_kernel::plugin::{CompressionExtension, PluginManager};
use sochdb_kernel::vfs::{OpenMode, Vfs, VfsFile};
use sochdb_kernel::{KernelError, KernelResult, PluginFault};
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

const MAGIC: [u8; 8] = *b"SOCHLOGZ";
const VERSION: u32 = 1;
/// As large as ratio asks for: beyond this, what a codec finds is hardly more. A reader restores two at most in vain.
const BLOCK_BYTES: u32 = 256 << 10;
const BLOCK_BYTES_RANGE: RangeInclusive<u32> = 64 << 10..=1 << 20;
/// Far more than a file of the log has; those of 4 MiB are usual.
const RAW_BYTES_MAX: u64 = 1 << 30;
/// As long as a plugin's name may be.
const NAME_BYTES_MAX: usize = 64;
const HEAD_BYTES: usize = 8 + 4 + 4 + 8 + 1;
const ENTRY_BYTES: usize = 4 + 4 + 4;
const _: () = assert!(HEAD_BYTES == 25, "the table above says 25");

/// `raw`, compressed by `codec`, as the bytes of a file. What they say must be read back and compared before
/// they may stand for `raw`.
///
/// # Errors
/// What the codec returns, `Limit` when `raw` is too long for the format, `Invalid` when there is nothing of it, or
/// when the codec's name does not fit in.
pub(super) fn pack(codec: &dyn CompressionExtension, raw: &[u8]) -> KernelResult<Vec<u8>> {
    let raw_bytes = raw.len() as u64;
    if raw.is_empty() {
        return Err(KernelError::invalid("an archived log file is empty"));
    }
    if RAW_BYTES_MAX < raw_bytes {
        let what = "bytes of an archived log file";
        return Err(KernelError::Limit { what, got: raw_bytes, bound: RAW_BYTES_MAX });
    }
    let name = codec.info().name;
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
        let text =
            format!("the codec '{name}' has a name of {} bytes, which no file can say", name.len());
        return Err(KernelError::invalid(text));
    }
    let mut file = MAGIC.to_vec();
    put_u32(&mut file, VERSION);
    put_u32(&mut file, BLOCK_BYTES);
    put_u64(&mut file, raw_bytes);
    file.push(name.len() as u8);
    file.extend_from_slice(name.as_bytes());
    let mut blocks = Vec::new();
    for block in raw.chunks(BLOCK_BYTES as usize) {
        let answer = codec.compress(block)?;
        // What is no shorter gains nothing, and nothing at all would be no block.
        let is_gain = !answer.is_empty() && answer.len() < block.len();
        let stored = if is_gain { &answer } else { block };
        put_u32(&mut file, stored.len() as u32);
        put_u32(&mut file, crc(stored));
        put_u32(&mut file, crc(block));
        blocks.extend_from_slice(stored);
    }
    let sum = crc(&file);
    put_u32(&mut file, sum);
    file.append(&mut blocks);
    Ok(file)
}

/// One block: where it is stored, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Block {
    at: u64,
    stored_bytes: u32,
    raw_bytes: u32,
    stored_crc: u32,
    raw_crc: u32,
}

/// A compressed file of the archived log, open.
pub(crate) struct Packed {
    file: Arc<dyn VfsFile>,
    name: String,
    codec: String,
    block_bytes: u32,
    raw_bytes: u64,
    blocks: Vec<Block>,
}

impl Packed {
    /// Opens the file `name` and checks all that it says of its blocks.
    ///
    /// # Errors
    /// `Corrupt`, or `Unavailable` when the disk refuses.
    pub fn open(vfs: &dyn Vfs, name: &str) -> KernelResult<Packed> {
        let io = |error| KernelError::io(format!("read {name}"), error);
        let file = vfs.open(name, OpenMode::Read).map_err(io)?;
        let file_bytes = file.len().map_err(io)?;
        let read = |bytes: usize| {
            let mut buffer = vec![0; bytes];
            let got = file.read_at(0, &mut buffer).map_err(io)?;
            buffer.truncate(got);
            KernelResult::Ok(buffer)
        };
        let head = read(HEAD_BYTES)?;
        let mut reader = Reader::new(name, 0, &head);
        if reader.array()? != MAGIC {
            return Err(KernelError::corrupt(name, 0, "a compressed log file", "another magic"));
        }
        let version = reader.u32()?;
        if version != VERSION {
            let text = format!("version {version}, which this program does not know");
            return Err(KernelError::corrupt(name, 8, format!("version {VERSION}"), text));
        }
        let (block_bytes, raw_bytes, name_bytes) = (reader.u32()?, reader.u64()?, reader.u8()?);
        let name_bytes = usize::from(name_bytes);
        let is_sane = BLOCK_BYTES_RANGE.contains(&block_bytes)
            && (1..=RAW_BYTES_MAX).contains(&raw_bytes)
            && (1..=NAME_BYTES_MAX).contains(&name_bytes);
        let found = || {
            format!(
                "{raw_bytes} bytes in blocks of {block_bytes} by a codec of {name_bytes} letters"
            )
        };
        if !is_sane {
            return Err(KernelError::corrupt(name, 12, "lengths in their bounds", found()));
        }
        let count = raw_bytes.div_ceil(u64::from(block_bytes)) as usize;
        let all = HEAD_BYTES + name_bytes + count * ENTRY_BYTES + 4;
        if file_bytes < all as u64 {
            return Err(KernelError::corrupt(
                name,
                12,
                format!("{file_bytes} bytes at most"),
                found(),
            ));
        }
        let head = read(all)?;
        let mut reader =
            Reader::new(name, HEAD_BYTES as u64, head.get(HEAD_BYTES..).unwrap_or_default());
        let codec = reader.bytes(name_bytes)?;
        let mut table = Reader::new(name, reader.offset(), reader.bytes(count * ENTRY_BYTES)?);
        let (at, sum) = (reader.offset(), reader.u32()?);
        if sum != crc(&head[..all - 4]) {
            return Err(KernelError::corrupt(
                name,
                at,
                "the checksum of all before it",
                format!("{sum:08x}"),
            ));
        }
        let codec = std::str::from_utf8(codec).map_err(|_| {
            KernelError::corrupt(name, HEAD_BYTES as u64, "a codec's name", "no UTF-8")
        })?;
        let (mut blocks, mut at, mut left) = (Vec::with_capacity(count), all as u64, raw_bytes);
        for _ in 0..count {
            let entry = table.offset();
            let raw_bytes = left.min(u64::from(block_bytes)) as u32;
            let (stored_bytes, stored_crc, raw_crc) = (table.u32()?, table.u32()?, table.u32()?);
            if stored_bytes == 0 || raw_bytes < stored_bytes {
                let found = format!("{stored_bytes} stored");
                return Err(KernelError::corrupt(
                    name,
                    entry,
                    format!("1 to {raw_bytes} bytes"),
                    found,
                ));
            }
            blocks.push(Block { at, stored_bytes, raw_bytes, stored_crc, raw_crc });
            at += u64::from(stored_bytes);
            left -= u64::from(raw_bytes);
        }
        if at != file_bytes {
            return Err(KernelError::corrupt(
                name,
                at,
                "the end of the file",
                format!("it at {file_bytes}"),
            ));
        }
        let (name, codec) = (name.to_owned(), codec.to_owned());
        Ok(Packed { file, name, codec, block_bytes, raw_bytes, blocks })
    }

    /// How long the file was before it was compressed.
    pub fn raw_bytes(&self) -> u64 {
        self.raw_bytes
    }

    /// Its name in the database's directory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bytes of `range`, which lies inside the file as it was.
    ///
    /// # Errors
    /// `Plugin` that names the codec: it is missing, failed, or gave something else than was stored. `Corrupt`,
    /// `Unavailable`.
    pub fn read(&self, codecs: &PluginManager, range: Range<u64>) -> KernelResult<Vec<u8>> {
        assert!(range.start <= range.end, "{range:?} is no range");
        assert!(range.end <= self.raw_bytes, "{range:?} is not inside {} bytes", self.raw_bytes);
        let size = u64::from(self.block_bytes);
        let first = range.start / size;
        let wanted = first as usize..range.end.div_ceil(size) as usize;
        let mut bytes = Vec::new();
        for block in self.blocks.get(wanted).unwrap_or_default() {
            bytes.append(&mut self.restored(codecs, block)?);
        }
        let skipped = ((range.start - first * size) as usize).min(bytes.len());
        bytes.drain(..skipped);
        bytes.truncate((range.end - range.start) as usize);
        Ok(bytes)
    }

    /// All of the file as it was, with zeroes for the blocks that cannot be read; and why the first of them
    /// cannot be.
    pub fn salvage(&self, codecs: &PluginManager) -> (Vec<u8>, Option<KernelError>) {
        let (mut bytes, mut lost) = (Vec::new(), None);
        for block in &self.blocks {
            match self.restored(codecs, block) {
                Ok(mut raw) => bytes.append(&mut raw),
                Err(error) => {
                    lost.get_or_insert(error);
                    bytes.resize(bytes.len() + block.raw_bytes as usize, 0);
                }
            }
        }
        (bytes, lost)
    }

    /// Reads every block and compares it with its checksum; if `deep`, as it was before it was compressed too.
    ///
    /// # Errors
    /// As [`read`](Self::read); without `deep` no codec is asked.
    pub fn check(&self, codecs: &PluginManager, deep: bool) -> KernelResult<()> {
        self.blocks.iter().try_for_each(|block| match deep {
            true => self.restored(codecs, block).map(drop),
            false => self.stored(block).map(drop),
        })
    }

    /// A block as it is stored, compared with its checksum.
    fn stored(&self, block: &Block) -> KernelResult<Vec<u8>> {
        let mut bytes = vec![0; block.stored_bytes as usize];
        let read = self.file.read_exact_at(block.at, &mut bytes);
        read.map_err(|error| KernelError::io(format!("read {}", self.name), error))?;
        match crc(&bytes) {
            sum if sum == block.stored_crc => Ok(bytes),
            sum => {
                let expected = format!("a block with the checksum {:08x}", block.stored_crc);
                Err(KernelError::corrupt(&self.name, block.at, expected, format!("{sum:08x}")))
            }
        }
    }

    /// A block as it was.
    fn restored(&self, codecs: &PluginManager, block: &Block) -> KernelResult<Vec<u8>> {
        let stored = self.stored(block)?;
        let failed = |fault, why: &str| {
            let text = format!("{} was compressed with it: {why}", self.name);
            KernelError::plugin(&self.codec, fault, text)
        };
        let raw = if block.stored_bytes == block.raw_bytes {
            stored
        } else {
            let raw = codecs
                .compression(&self.codec)
                .and_then(|codec| codec.decompress(&stored, block.raw_bytes as usize));
            raw.map_err(|error| match error {
                KernelError::Plugin { fault, message, .. } => failed(fault, &message),
                error => failed(PluginFault::Refused, &error.to_string()),
            })?
        };
        if raw.len() != block.raw_bytes as usize || crc(&raw) != block.raw_crc {
            let why = format!("the block at {} came back as something else", block.at);
            return Err(failed(PluginFault::Lied, &why));
        }
        Ok(raw)
    }
}

#[cfg(test)]
mod tests;
