//! Run-length coding. A block is pairs of a count, 1 to 255, and the byte that is there so often.

use crate::Refused;
use sochdb_native_abi::status;

/// Compresses `input` into `out` and returns the length.
pub(crate) fn compress(input: &[u8], out: &mut [u8]) -> Result<usize, Refused> {
    let runs = input.chunk_by(|a, b| a == b).flat_map(|run| run.chunks(255));
    let mut len = 0;
    for run in runs {
        let Some(pair) = out.get_mut(len..len + 2) else {
            return Err((status::LIMIT, "the block does not get smaller".to_owned()));
        };
        pair.copy_from_slice(&[run.len() as u8, run[0]]);
        len += 2;
    }
    Ok(len)
}

/// Restores what [`compress`] was given; `out` has its length.
pub(crate) fn decompress(input: &[u8], out: &mut [u8]) -> Result<usize, Refused> {
    let (pairs, rest) = input.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(corrupt("the block ends in the middle of a pair"));
    }
    let mut len = 0;
    for &[count, byte] in pairs {
        if count == 0 {
            return Err(corrupt("a run of no bytes"));
        }
        let end = len + usize::from(count);
        let Some(run) = out.get_mut(len..end) else {
            return Err(corrupt("the block is longer than it was"));
        };
        run.fill(byte);
        len = end;
    }
    if len < out.len() {
        return Err(corrupt("the block is shorter than it was"));
    }
    Ok(len)
}

fn corrupt(what: &str) -> Refused {
    (status::CORRUPT, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compressed_is_restored() {
        for raw in [&b""[..], b"a", b"aaab", &[7; 1000], b"abc"] {
            let (mut block, mut back) = ([0; 64], vec![0; raw.len()]);
            let len = compress(raw, &mut block).unwrap();
            assert_eq!(decompress(&block[..len], &mut back), Ok(raw.len()));
            assert_eq!(back, raw);
        }
    }

    #[test]
    fn a_block_that_was_never_written_is_corrupt() {
        for block in [&[3][..], &[0, 1], &[5, 1], &[3, 1]] {
            let refused = decompress(block, &mut [0; 4]).unwrap_err();
            assert_eq!(refused.0, status::CORRUPT, "{block:?}");
        }
    }

    #[test]
    fn what_does_not_get_smaller_is_refused() {
        assert_eq!(compress(b"abc", &mut [0; 5]).unwrap_err().0, status::LIMIT);
    }
}
