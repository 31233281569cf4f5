//! How much there may be in a component, counted before a compiler sees it.
//!
//! Reading the sections of a component takes time for its bytes; compiling takes more, and not always in
//! proportion. What is counted, over all modules and components in it together, and why it ends there:
//!
//! | what                            | bound     | because                                                |
//! |---------------------------------|----------:|--------------------------------------------------------|
//! | functions                       |   100,000 | whole language runtimes have some ten thousand         |
//! | bytes of one function           |   512 KiB | compiling takes time for its square: up to a minute for this, and 0.7 GiB |
//! | functions larger than 256 KiB   |         2 | the main loop of Python's interpreter is one; it has 417 KiB |
//! | blocks within blocks            |     1,000 | the same; a compiler makes one for each arm of a match |
//! | loops within loops              |       100 | each carries every variable used in those within it    |
//! | modules and components          |        64 | each becomes an instance; a store has as many          |
//! | components within components    |         8 | composing plugins takes two or three                   |
//! | types                           |    20,000 | the largest contract has some hundreds                 |
//! | imports                         |    10,000 | a world has some tens, and each module wires them once |
//! | exports                         |    20,000 | modules that are linked late export their functions    |
//! | aliases, instances, adapters    |    50,000 | some for each import and export                        |
//! | globals, tables, memories, tags |    20,000 | a Rust guest has five                                  |
//! | data and element segments       |   100,000 | as WebAssembly's own bound                             |
//!
//! A component within the bounds may still be dear to compile: time and memory have bounds of their own
//! where a [child process](super::ChildCompiler) compiles.

use sochdb_kernel::{KernelError, KernelResult};
use wasmparser::{BinaryReaderError, FunctionBody, Operator, Parser, Payload};

const FUNCTION_BYTES_MAX: u64 = 512 << 10;
/// From here on a function is a large one.
const LARGE_FUNCTION_BYTES: u64 = 256 << 10;
const BLOCK_DEPTH_MAX: u64 = 1000;
const LOOP_DEPTH_MAX: u64 = 100;
const DEPTH_MAX: u64 = 8;
const FUNCTIONS: Bound = ("the functions of a component", 100_000);
const LARGE_FUNCTIONS: Bound = ("the functions larger than 256 KiB of a component", 2);
const NESTED: Bound = ("the modules and components in a component", 64);
const TYPES: Bound = ("the types of a component", 20_000);
const IMPORTS: Bound = ("the imports in a component", 10_000);
const EXPORTS: Bound = ("the exports in a component", 20_000);
const WIRES: Bound = ("the aliases, instances and adapters in a component", 50_000);
const STATE: Bound = ("the globals, tables, memories and tags of a component", 20_000);
const SEGMENTS: Bound = ("the data and element segments of a component", 100_000);

/// What is bounded, and the most there may be.
type Bound = (&'static str, u64);

/// Counts what is in the component `bytes`. `shown` names them in errors.
///
/// # Errors
/// `Limit` for what there is too much of, `Invalid` where the sections make no sense.
pub(super) fn check(shown: &str, bytes: &[u8]) -> KernelResult<()> {
    let mut counts = Counts::default();
    let invalid = |error: BinaryReaderError| {
        KernelError::invalid(format!("{shown} is not a valid component: {error}"))
    };
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(invalid)?;
        counts.add(&payload)?;
        if let Payload::CodeSectionEntry(body) = &payload {
            let (blocks, loops) = depths(body).map_err(invalid)?;
            below("the depth of blocks in a function", blocks, BLOCK_DEPTH_MAX)?;
            below("the depth of loops in a function", loops, LOOP_DEPTH_MAX)?;
        }
    }
    Ok(())
}

/// How many blocks and how many loops there are within each other, or one more than the bound.
fn depths(body: &FunctionBody<'_>) -> Result<(u64, u64), BinaryReaderError> {
    // Whether each open block is a loop.
    let mut open = Vec::new();
    let (mut loops, mut blocks_max, mut loops_max) = (0, 0, 0);
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        let is_loop = match operators.read()? {
            Operator::Loop { .. } => true,
            Operator::Block { .. }
            | Operator::If { .. }
            | Operator::Try { .. }
            | Operator::TryTable { .. } => false,
            Operator::End | Operator::Delegate { .. } => {
                loops -= u64::from(open.pop().unwrap_or(false));
                continue;
            }
            _ => continue,
        };
        open.push(is_loop);
        loops += u64::from(is_loop);
        blocks_max = blocks_max.max(open.len() as u64);
        loops_max = loops_max.max(loops);
        if BLOCK_DEPTH_MAX < blocks_max || LOOP_DEPTH_MAX < loops_max {
            break;
        }
    }
    Ok((blocks_max, loops_max))
}

#[derive(Default)]
struct Counts {
    functions: u64,
    large_functions: u64,
    nested: u64,
    depth: u64,
    types: u64,
    imports: u64,
    exports: u64,
    wires: u64,
    state: u64,
    segments: u64,
}

impl Counts {
    /// A section says how many it has before they come, so a number that is too large costs nothing.
    fn add(&mut self, payload: &Payload<'_>) -> KernelResult<()> {
        use Payload::*;
        let (count, more, bound) = match payload {
            FunctionSection(section) => (&mut self.functions, section.count(), FUNCTIONS),
            CodeSectionStart { count, .. } => {
                // As many as the function section said, or the validator refuses them.
                return below("the functions of a component", (*count).into(), FUNCTIONS.1);
            }
            CodeSectionEntry(body) => {
                let bytes = body.range().len() as u64;
                below("the bytes of a function", bytes, FUNCTION_BYTES_MAX)?;
                (
                    &mut self.large_functions,
                    u32::from(LARGE_FUNCTION_BYTES < bytes),
                    LARGE_FUNCTIONS,
                )
            }
            ModuleSection { .. } | ComponentSection { .. } => {
                self.depth += 1;
                below("the depth of components in a component", self.depth, DEPTH_MAX)?;
                (&mut self.nested, 1, NESTED)
            }
            End(_) => {
                self.depth = self.depth.saturating_sub(1);
                return Ok(());
            }
            TypeSection(section) => (&mut self.types, section.count(), TYPES),
            CoreTypeSection(section) => (&mut self.types, section.count(), TYPES),
            ComponentTypeSection(section) => (&mut self.types, section.count(), TYPES),
            ImportSection(section) => (&mut self.imports, section.count(), IMPORTS),
            ComponentImportSection(section) => (&mut self.imports, section.count(), IMPORTS),
            ExportSection(section) => (&mut self.exports, section.count(), EXPORTS),
            ComponentExportSection(section) => (&mut self.exports, section.count(), EXPORTS),
            InstanceSection(section) => (&mut self.wires, section.count(), WIRES),
            ComponentInstanceSection(section) => (&mut self.wires, section.count(), WIRES),
            ComponentAliasSection(section) => (&mut self.wires, section.count(), WIRES),
            ComponentCanonicalSection(section) => (&mut self.wires, section.count(), WIRES),
            GlobalSection(section) => (&mut self.state, section.count(), STATE),
            TableSection(section) => (&mut self.state, section.count(), STATE),
            MemorySection(section) => (&mut self.state, section.count(), STATE),
            TagSection(section) => (&mut self.state, section.count(), STATE),
            DataSection(section) => (&mut self.segments, section.count(), SEGMENTS),
            ElementSection(section) => (&mut self.segments, section.count(), SEGMENTS),
            _ => return Ok(()),
        };
        *count += u64::from(more);
        below(bound.0, *count, bound.1)
    }
}

fn below(what: &'static str, got: u64, bound: u64) -> KernelResult<()> {
    if got <= bound { Ok(()) } else { Err(KernelError::Limit { what, got, bound }) }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    fn check(bytes: &[u8], expected: Expect) {
        let told =
            super::check("it", bytes).map_or_else(|error| error.to_string(), |()| "ok".into());
        expected.assert_eq(&told);
    }

    fn component(text: &str) -> Vec<u8> {
        wat::parse_str(format!("(component {text})")).unwrap()
    }

    /// A number as WebAssembly writes it.
    fn leb(mut number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let low = (number & 0x7F) as u8;
            number >>= 7;
            if number == 0 {
                bytes.push(low);
                return bytes;
            }
            bytes.push(low | 0x80);
        }
    }

    /// A component around `body`, all sections of it.
    fn raw_component(body: &[u8]) -> Vec<u8> {
        [b"\0asm\x0d\0\x01\0", body].concat()
    }

    fn section(id: u8, body: &[u8]) -> Vec<u8> {
        [&[id][..], &leb(body.len() as u64), body].concat()
    }

    fn raw_module(body: &[u8]) -> Vec<u8> {
        raw_component(&section(1, &[b"\0asm\x01\0\0\0", body].concat()))
    }

    #[test]
    fn what_people_write_is_within_the_bounds() {
        check(&component(""), expect!["ok"]);
        check(&component("(core module (func) (memory 1) (table 1 funcref))"), expect!["ok"]);
        for plugin in crate::bundled::PLUGINS {
            super::check(plugin.name, &plugin.component.to_vec()).unwrap();
        }
    }

    #[test]
    fn a_million_functions_are_too_many() {
        let text = format!("(core module {})", "(func)".repeat(100_001));
        check(
            &component(&text),
            expect!["limit: the functions of a component would be 100001, the bound is 100000"],
        );
        let half = format!("(core module {})", "(func)".repeat(60_000));
        check(
            &component(&half.repeat(2)),
            expect!["limit: the functions of a component would be 120000, the bound is 100000"],
        );
    }

    #[test]
    fn a_number_is_refused_before_the_things_it_counts() {
        // The section says four billion and ends there.
        check(
            &raw_module(&section(3, &leb(u32::MAX.into()))),
            expect!["limit: the functions of a component would be 4294967295, the bound is 100000"],
        );
        check(
            &raw_module(&section(10, &leb(u32::MAX.into()))),
            expect![
                "invalid: it is not a valid component: function section is absent but code section has non-zero count (at offset 0x14)"
            ],
        );
    }

    #[test]
    fn a_function_that_is_too_large_alone_is_refused() {
        let functions = |count: u8, bytes: usize| {
            let body = [&[0][..], &vec![1; bytes - 2], &[0x0B]].concat();
            let entry = [leb(body.len() as u64), body].concat().repeat(count.into());
            let code = section(10, &[&[count][..], &entry].concat());
            let types = [&[count][..], &vec![0; count.into()]].concat();
            raw_module(&[section(1, &[1, 0x60, 0, 0]), section(3, &types), code].concat())
        };
        check(
            &functions(1, (512 << 10) + 1),
            expect!["limit: the bytes of a function would be 524289, the bound is 524288"],
        );
        check(
            &functions(3, (256 << 10) + 1),
            expect![
                "limit: the functions larger than 256 KiB of a component would be 3, the bound is 2"
            ],
        );
        check(&functions(2, 512 << 10), expect!["ok"]);
        check(&functions(8, 256 << 10), expect!["ok"]);
    }

    #[test]
    fn blocks_and_loops_within_each_other_are_counted() {
        let nested = |open: &str, count: usize| {
            let (open, end) = (open.repeat(count), " end".repeat(count));
            component(&format!("(core module (func {open}{end}))"))
        };
        check(&nested(" block", 1000), expect!["ok"]);
        check(
            &nested(" block", 80_000),
            expect!["limit: the depth of blocks in a function would be 1001, the bound is 1000"],
        );
        check(
            &nested(" i32.const 0 if", 1001),
            expect!["limit: the depth of blocks in a function would be 1001, the bound is 1000"],
        );
        check(&nested(" loop", 100), expect!["ok"]);
        check(
            &nested(" loop", 101),
            expect!["limit: the depth of loops in a function would be 101, the bound is 100"],
        );
        // One after the other there may be any number.
        let text = format!("(core module (func {}))", "loop block end end ".repeat(10_000));
        check(&component(&text), expect!["ok"]);
        // More ends than beginnings are for the validator to refuse.
        let body = [&[0][..], &[0x0B; 50]].concat();
        let entry = [leb(body.len() as u64), body].concat();
        let code = section(10, &[&[1][..], &entry].concat());
        let module = [section(1, &[1, 0x60, 0, 0]), section(3, &[1, 0]), code].concat();
        let _ = super::check("it", &raw_module(&module));
    }

    #[test]
    fn components_side_by_side_and_within_each_other_are_counted() {
        check(
            &component(&"(component)".repeat(5000)),
            expect![
                "limit: the modules and components in a component would be 65, the bound is 64"
            ],
        );
        check(
            &component(&"(core module)".repeat(65)),
            expect![
                "limit: the modules and components in a component would be 65, the bound is 64"
            ],
        );
        let mut nested = raw_component(b"");
        for _ in 0..2000 {
            nested = raw_component(&section(4, &nested));
        }
        check(
            &nested,
            expect!["limit: the depth of components in a component would be 9, the bound is 8"],
        );
        let eight = (0..8).fold(String::new(), |inner, _| format!("(component {inner})"));
        check(&component(&eight), expect!["ok"]);
    }

    #[test]
    fn everything_else_is_counted_too() {
        let numbered =
            |count: usize, one: &dyn Fn(usize) -> String| (0..count).map(one).collect::<String>();
        let module = |items: String| component(&format!("(core module {items})"));
        let types = numbered(20_001, &|_| "(type (func))".to_owned());
        check(
            &module(types),
            expect!["limit: the types of a component would be 20001, the bound is 20000"],
        );
        let imports = numbered(10_001, &|_| "(import \"a\" \"b\" (func))".to_owned());
        check(
            &module(imports),
            expect!["limit: the imports in a component would be 10001, the bound is 10000"],
        );
        let exports = numbered(20_001, &|n| format!("(export \"{n}\" (func 0))"));
        check(
            &module(format!("(func) {exports}")),
            expect!["limit: the exports in a component would be 20001, the bound is 20000"],
        );
        let globals = numbered(20_001, &|_| "(global i32 (i32.const 0))".to_owned());
        check(
            &module(globals),
            expect![
                "limit: the globals, tables, memories and tags of a component would be 20001, the bound is 20000"
            ],
        );
        let data = numbered(100_001, &|_| "(data \"\")".to_owned());
        check(
            &module(data),
            expect![
                "limit: the data and element segments of a component would be 100001, the bound is 100000"
            ],
        );
        let aliases = numbered(50_001, &|_| "(alias core export 0 \"f\" (core func))".to_owned());
        let instance = "(core module (func (export \"f\"))) (core instance (instantiate 0))";
        check(
            &component(&format!("{instance} {aliases}")),
            expect![
                "limit: the aliases, instances and adapters in a component would be 50002, the bound is 50000"
            ],
        );
    }

    #[test]
    fn sections_that_make_no_sense_are_invalid() {
        let whole = component("(core module (func))");
        for cut in 9..whole.len() {
            // Cut between sections it is a whole, shorter component.
            if let Err(error) = super::check("it", &whole[..cut]) {
                assert_eq!(error.kind(), sochdb_kernel::ErrorKind::Invalid, "{error}");
            }
        }
        check(
            b"\0asm\x0d\0\x01\0\xff\xff\xff\xff\x0f",
            expect!["invalid: it is not a valid component: malformed section id (at offset 0x8)"],
        );
    }

    proptest! {
        #[test]
        fn arbitrary_sections_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = super::check("it", &raw_component(&body));
            let _ = super::check("it", &raw_module(&body));
        }
    }
}
