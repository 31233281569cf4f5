//! The sections of a component and of the modules and components in it: how large each sort is, and the same
//! component with some of them changed.
//!
//! | in a binary | size     | what it is                                                                  |
//! |-------------|---------:|-----------------------------------------------------------------------------|
//! | preamble    |        8 | `\0asm`, then `01 00 00 00` of a module, `0d 00 01 00` of a component       |
//! | section     | 1, LEB, n | its number, the size of its payload as unsigned LEB128, the payload        |
//!
//! In a component a section with number 1 is a module, one with 4 a component. In both 0 is a custom section, whose
//! payload begins with its name. Those whose name begins with `.debug_` are debugging information.

use std::fmt;

const PREAMBLE_BYTES: usize = 8;
const MODULE: [u8; 4] = [1, 0, 0, 0];
const COMPONENT: [u8; 4] = [13, 0, 1, 0];
const CUSTOM: u8 = 0;
const CODE: u8 = 10;
const DATA: u8 = 11;
/// In components.
const NESTED_MODULE: u8 = 1;
const NESTED_COMPONENT: u8 = 4;
/// Components within components; the host takes as many.
const DEPTH_MAX: usize = 8;

/// Why bytes are not taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is no WebAssembly: {}", self.0)
    }
}

type Result<T> = std::result::Result<T, Malformed>;

/// What the bytes of a component are, over all modules in it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Functions.
    pub code: u64,
    /// What memories begin with.
    pub data: u64,
    /// Names of functions, for the backtraces of traps.
    pub names: u64,
    /// What a debugger reads, and nobody else.
    pub debug: u64,
}

/// What the bytes of `component` are.
pub fn sizes(component: &[u8]) -> Result<Sizes> {
    let mut sizes = Sizes::default();
    measure(component, 0, &mut sizes)?;
    Ok(sizes)
}

/// The component without debugging information. Names of functions stay.
pub fn without_debug(component: &[u8]) -> Result<Vec<u8>> {
    rewritten(component, &mut |section| match section.is_debug() {
        true => Change::Drop,
        false => Change::Keep,
    })
}

/// The component with each module in it as `change` gives it, or as it was where that gives nothing.
pub fn with_modules(
    component: &[u8],
    change: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>,
) -> Result<Vec<u8>> {
    rewritten(component, &mut |section| {
        let is_module = !section.is_in_module && section.id == NESTED_MODULE;
        match is_module.then(|| change(section.payload)).flatten() {
            Some(changed) => Change::Replace(changed),
            None => Change::Keep,
        }
    })
}

struct Section<'a> {
    id: u8,
    payload: &'a [u8],
    is_in_module: bool,
}

enum Change {
    /// It stays, with changes within it.
    Keep,
    Drop,
    Replace(Vec<u8>),
}

impl<'a> Section<'a> {
    /// A custom section's name.
    fn name(&self) -> Option<&'a [u8]> {
        let (len, at) = leb(self.payload).filter(|_| self.id == CUSTOM)?;
        self.payload.get(at..at.checked_add(len)?)
    }

    fn is_debug(&self) -> bool {
        self.name().is_some_and(|name| name.starts_with(b".debug_"))
    }

    /// The module or component that it is.
    fn nested(&self) -> Option<&'a [u8]> {
        let is_nested = matches!(self.id, NESTED_MODULE | NESTED_COMPONENT) && !self.is_in_module;
        is_nested.then_some(self.payload)
    }
}

/// The sections of a binary, one after the other.
fn sections(binary: &[u8]) -> Result<Vec<Section<'_>>> {
    let preamble = binary.get(..PREAMBLE_BYTES).ok_or(Malformed("it is too short"))?;
    let is_in_module = match preamble {
        [0, b'a', b's', b'm', layer @ ..] if layer == MODULE => true,
        [0, b'a', b's', b'm', layer @ ..] if layer == COMPONENT => false,
        _ => return Err(Malformed("it does not begin as a module or a component does")),
    };
    let (mut rest, mut found) = (&binary[PREAMBLE_BYTES..], Vec::new());
    while let Some((&id, after)) = rest.split_first() {
        let (len, at) = leb(after).ok_or(Malformed("a section without a size"))?;
        let cut = Malformed("a section ends after the end");
        let (payload, next) = after[at..].split_at_checked(len).ok_or(cut)?;
        found.push(Section { id, payload, is_in_module });
        rest = next;
    }
    Ok(found)
}

fn rewritten(binary: &[u8], change: &mut dyn FnMut(&Section<'_>) -> Change) -> Result<Vec<u8>> {
    rewrite(binary, 0, change)
}

fn rewrite(
    binary: &[u8],
    depth: usize,
    change: &mut dyn FnMut(&Section<'_>) -> Change,
) -> Result<Vec<u8>> {
    check_depth(depth)?;
    let sections = sections(binary)?;
    let mut out = binary[..PREAMBLE_BYTES].to_vec();
    for section in sections {
        let payload = match (change(&section), section.nested()) {
            (Change::Drop, _) => continue,
            (Change::Replace(payload), _) => payload,
            (Change::Keep, Some(nested)) => rewrite(nested, depth + 1, change)?,
            (Change::Keep, None) => section.payload.to_vec(),
        };
        out.push(section.id);
        put_leb(&mut out, payload.len());
        out.extend_from_slice(&payload);
    }
    Ok(out)
}

fn measure(binary: &[u8], depth: usize, sizes: &mut Sizes) -> Result<()> {
    check_depth(depth)?;
    for section in sections(binary)? {
        let bytes = section.payload.len() as u64;
        match (section.id, section.nested()) {
            (_, Some(nested)) => measure(nested, depth + 1, sizes)?,
            (CODE, None) if section.is_in_module => sizes.code += bytes,
            (DATA, None) if section.is_in_module => sizes.data += bytes,
            (CUSTOM, None) if section.is_debug() => sizes.debug += bytes,
            (CUSTOM, None) if section.name() == Some(b"name") => sizes.names += bytes,
            _ => {}
        }
    }
    Ok(())
}

fn check_depth(depth: usize) -> Result<()> {
    match depth <= DEPTH_MAX {
        true => Ok(()),
        false => Err(Malformed("components are nested too deep")),
    }
}

/// A number of at most 32 bits at the beginning of `bytes`, and how many of them it takes.
fn leb(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut number = 0_u64;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return u32::try_from(number).ok().map(|number| (number as usize, index + 1));
        }
    }
    None
}

fn put_leb(out: &mut Vec<u8>, mut number: usize) {
    while 0x80 <= number {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn custom(name: &str, bytes: usize) -> Vec<u8> {
        let mut payload = vec![name.len() as u8];
        payload.extend_from_slice(name.as_bytes());
        payload.resize(payload.len() + bytes, 7);
        section(CUSTOM, &payload)
    }

    fn section(id: u8, payload: &[u8]) -> Vec<u8> {
        let mut section = vec![id];
        put_leb(&mut section, payload.len());
        [&section, payload].concat()
    }

    fn binary(layer: [u8; 4], sections: &[Vec<u8>]) -> Vec<u8> {
        [b"\0asm", &layer[..], &sections.concat()].concat()
    }

    /// A component with a module and a component with another module, debugging information in all of them.
    fn example(debug: bool) -> Vec<u8> {
        let with = |sections: Vec<Vec<u8>>| {
            let is_left =
                |section: &Vec<u8>| debug || !section.windows(7).any(|it| it == b".debug_");
            sections.into_iter().filter(is_left).collect::<Vec<_>>()
        };
        let module = binary(
            MODULE,
            &with(vec![
                section(CODE, &[1; 300]),
                section(DATA, &[2; 20]),
                custom(".debug_info", 1000),
                custom("name", 50),
            ]),
        );
        let inner = binary(
            COMPONENT,
            &with(vec![section(NESTED_MODULE, &module), custom(".debug_line", 9)]),
        );
        binary(
            COMPONENT,
            &with(vec![
                section(NESTED_MODULE, &module),
                section(NESTED_COMPONENT, &inner),
                section(CODE, b"exports"),
                custom("producers", 9),
            ]),
        )
    }

    #[test]
    fn debugging_information_goes_wherever_it_is_and_the_rest_stays() {
        let (before, after) = (example(true), example(false));
        assert_eq!(without_debug(&before).unwrap(), after);
        assert_eq!(without_debug(&after).unwrap(), after);
        let Sizes { code, data, names, debug } = sizes(&before).unwrap();
        assert_eq!((code, data, names), (600, 40, 110));
        assert_eq!(debug, 2 * (1000 + 12) + 9 + 12);
        assert_eq!(sizes(&after).unwrap(), Sizes { code, data, names, debug: 0 });
    }

    #[test]
    fn modules_are_replaced_where_they_lie() {
        let small = binary(MODULE, &[section(CODE, b"x")]);
        let mut seen = 0;
        let changed = with_modules(&example(true), &mut |module| {
            seen += 1;
            assert!(sections(module).unwrap().iter().all(|section| section.is_in_module));
            (seen == 2).then(|| small.clone())
        });
        let sizes = sizes(&changed.unwrap()).unwrap();
        assert_eq!((seen, sizes.code, sizes.data), (2, 301, 20));
    }

    #[test]
    fn what_is_cut_or_nested_without_end_is_refused() {
        let whole = example(true);
        for len in 0..whole.len() {
            // A cut between two sections leaves a component with fewer.
            if let Ok(sizes) = sizes(&whole[..len]) {
                assert!(sizes.debug <= 2 * (1000 + 12) + 9 + 12);
            }
        }
        assert!(sizes(b"\0asm\x02\0\0\0").is_err());
        assert!(
            sizes(&[&binary(MODULE, &[])[..], &[1, 0xff, 0xff, 0xff, 0xff, 0x7f]].concat())
                .is_err()
        );
        let mut deep = binary(COMPONENT, &[]);
        for _ in 0..DEPTH_MAX {
            deep = binary(COMPONENT, &[section(NESTED_COMPONENT, &deep)]);
        }
        assert!(without_debug(&deep).is_ok());
        deep = binary(COMPONENT, &[section(NESTED_COMPONENT, &deep)]);
        assert!(without_debug(&deep).is_err());
        assert!(sizes(&deep).is_err());
    }
}
