//! Guests that nobody wrote: each has what its world wants, and does anything.
//!
//! ```text
//!   wit-component   a dummy module of the world: imports, exports, their types
//!   wasm-smith      the same shape with random functions, data, tables, globals
//!   this file       a wrapper around each export: random calls of imports, random words in memory,
//!                   then an answer; an allocator, drops and functions after the answer of every kind
//!   wit-component   a component
//! ```
//!
//! Random functions alone hardly ever answer anything that is read: their first answer is an address
//! outside their memory. So the wrappers answer addresses of words that are nearly right: a tag, a
//! pointer that may be one, a length that may be one, a handle that may be one.

use crate::guest;
use arbitrary::Unstructured;
use fastrand::Rng;
use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{
    CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection,
    MemArg, MemorySection, MemoryType, Module, TypeSection, ValType,
};
use wit_component::{StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi};

/// The first bytes of every module.
const HEADER_BYTES: usize = 8;
/// One page of memory; addresses that are meant to be right lie below.
const MEMORY_BYTES: i32 = 65_536;
/// Where the allocator that does what it should keeps what it has given out, and where that begins.
const ALLOCATED_AT: i32 = 16;
const HEAP_AT: i32 = 32_768;

/// A function that is imported or exported.
struct Signature {
    module: String,
    name: String,
    params: Vec<ValType>,
    results: Vec<ValType>,
}

/// A world, as far as its guests' modules show it.
pub struct World {
    pub name: &'static str,
    imports: Vec<Signature>,
    exports: Vec<Signature>,
    /// A module with these imports and exports, and their types in their order.
    shape: Vec<u8>,
    /// What says of which world a module is.
    metadata: Vec<u8>,
}

impl World {
    /// The guests' world of this name in the contract, with the part of WASI that tests know, and guests
    /// that import some of both.
    pub fn new(name: &'static str, rng: &mut Rng) -> World {
        let text = format!(
            "package test:guest;
            world guest {{
                include sochdb:plugin/{name}@0.1.0;
                import wasi:cli/environment@0.2.0;
                import wasi:cli/exit@0.2.0;
                import wasi:cli/stdin@0.2.0;
                import wasi:cli/stderr@0.2.0;
                import wasi:clocks/monotonic-clock@0.2.0;
                import wasi:filesystem/preopens@0.2.0;
                import wasi:random/random@0.2.0;
            }}"
        );
        let (resolve, world) = guest::resolve(&text);
        let dummy = dummy_module(&resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync));
        let (mut imports, exports) = signatures(&dummy);
        // Each import costs the compiler as much as a function.
        imports.retain(|import| match import.module.starts_with("wasi:") {
            true => rng.u8(0..4) == 0,
            false => import.name.starts_with("[resource-") || rng.u8(0..4) != 0,
        });
        let mut named = Module::new().finish();
        embed_component_metadata(&mut named, &resolve, world, StringEncoding::UTF8).unwrap();
        let metadata = named.split_off(HEADER_BYTES);
        let shape = shape(&imports, &exports);
        World { name, imports, exports, shape, metadata }
    }

    /// The component that this generator's next numbers make.
    pub fn guest(&self, rng: &mut Rng) -> Vec<u8> {
        let smithed = self.smith(rng);
        let defined = defined_count(&smithed);
        let imported = self.imports.len() as u32;
        let first = imported + defined;
        let traits = Traits { reallocs: rng.u8(0..20), afters: rng.u8(0..20) };
        let wrapper = |(at, export): (usize, &Signature)| {
            let smithed = imported + at as u32;
            Wrapper { world: self, traits: &traits, smithed }.function(export, rng)
        };
        let wrappers = self.exports.iter().enumerate().map(wrapper).collect();
        let mut module = Module::new();
        let types = (0..self.exports.len() as u32).map(|at| imported + at).collect();
        let mut weave = Weave { first, types, wrappers, exports: &self.exports };
        weave
            .parse_core_module(&mut module, wasmparser::Parser::new(0), &smithed)
            .expect("what was just generated is whole");
        let mut module = module.finish();
        module.extend_from_slice(&self.metadata);
        guest::encode(&module)
    }

    /// A module of this world's shape with random everything else.
    fn smith(&self, rng: &mut Rng) -> Vec<u8> {
        let config = wasm_smith::Config {
            module_shape: Some(self.shape.clone()),
            allow_start_export: rng.u8(0..8) == 0,
            disallow_traps: rng.u8(0..4) != 0,
            max_data_segments: 3,
            max_element_segments: 3,
            max_funcs: self.imports.len() + self.exports.len() + 4,
            max_globals: 6,
            max_instructions: 40,
            max_memories: 1 + rng.usize(0..5) / 4,
            max_memory32_bytes: 1 << 20,
            max_table_elements: 1000,
            max_tables: 3,
            max_types: self.imports.len() + self.exports.len() + 8,
            // What the engine of the host has switched off.
            custom_page_sizes_enabled: false,
            exceptions_enabled: false,
            gc_enabled: false,
            memory64_enabled: false,
            relaxed_simd_enabled: false,
            tail_call_enabled: false,
            // They come with types that the host's engine does not have.
            reference_types_enabled: rng.u8(0..32) == 0,
            threads_enabled: false,
            wide_arithmetic_enabled: false,
            ..wasm_smith::Config::default()
        };
        let bytes: Vec<u8> = (0..8192).map(|_| rng.u8(..)).collect();
        let module = wasm_smith::Module::new(config, &mut Unstructured::new(&bytes));
        module.expect("there are bytes enough").to_bytes()
    }
}

/// The functions that a module imports and exports.
fn signatures(module: &[u8]) -> (Vec<Signature>, Vec<Signature>) {
    let mut validator = wasmparser::Validator::new();
    let types = validator.validate_all(module).expect("the dummy is valid");
    let types = types.as_ref();
    let value = |value: &wasmparser::ValType| match value {
        wasmparser::ValType::I32 => ValType::I32,
        wasmparser::ValType::I64 => ValType::I64,
        wasmparser::ValType::F32 => ValType::F32,
        wasmparser::ValType::F64 => ValType::F64,
        other => panic!("the canonical ABI knows no {other}"),
    };
    let signature = |module: &str, name: &str, function: u32| {
        let types = types.get(types.core_function_at(function)).expect("it is valid");
        let function = types.unwrap_func();
        Signature {
            module: module.to_owned(),
            name: name.to_owned(),
            params: function.params().iter().map(value).collect(),
            results: function.results().iter().map(value).collect(),
        }
    };
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    for payload in wasmparser::Parser::new(0).parse_all(module) {
        match payload.expect("the dummy is valid") {
            wasmparser::Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.expect("the dummy is valid");
                    let at = imports.len() as u32;
                    imports.push(signature(import.module, import.name, at));
                }
            }
            wasmparser::Payload::ExportSection(section) => {
                for export in section {
                    let export = export.expect("the dummy is valid");
                    let is_function = export.kind == wasmparser::ExternalKind::Func;
                    if is_function && export.name != "_initialize" {
                        exports.push(signature("", export.name, export.index));
                    }
                }
            }
            _ => {}
        }
    }
    (imports, exports)
}

/// A module with these imports and exports, each with a type of its own, in their order.
fn shape(imports: &[Signature], exports: &[Signature]) -> Vec<u8> {
    let (mut types, mut imported) = (TypeSection::new(), ImportSection::new());
    let (mut functions, mut memories) = (FunctionSection::new(), MemorySection::new());
    let (mut exported, mut code) = (ExportSection::new(), CodeSection::new());
    for (at, signature) in imports.iter().chain(exports).enumerate() {
        let at = at as u32;
        types.ty().function(signature.params.iter().copied(), signature.results.iter().copied());
        if (at as usize) < imports.len() {
            imported.import(&signature.module, &signature.name, EntityType::Function(at));
            continue;
        }
        functions.function(at);
        exported.export(&signature.name, ExportKind::Func, at);
        let mut body = Function::new([]);
        body.instructions().unreachable().end();
        code.function(&body);
    }
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    exported.export("memory", ExportKind::Memory, 0);
    let mut module = Module::new();
    module.section(&types).section(&imported).section(&functions).section(&memories);
    module.section(&exported).section(&code);
    module.finish()
}

/// How many functions a module has beside those it imports.
fn defined_count(module: &[u8]) -> u32 {
    let payloads = wasmparser::Parser::new(0).parse_all(module);
    let count = payloads.map(|payload| match payload.expect("just generated") {
        wasmparser::Payload::FunctionSection(section) => section.count(),
        _ => 0,
    });
    count.sum()
}

/// Puts the wrappers into a module and exports them instead of what they wrap.
struct Weave<'a> {
    /// The number of the first wrapper.
    first: u32,
    /// The numbers of their types.
    types: Vec<u32>,
    wrappers: Vec<Function>,
    exports: &'a [Signature],
}

type Woven = Result<(), reencode::Error>;

impl Reencode for Weave<'_> {
    type Error = std::convert::Infallible;

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: wasmparser::FunctionSectionReader<'_>,
    ) -> Woven {
        reencode::utils::parse_function_section(self, functions, section)?;
        for &number in &self.types {
            functions.function(number);
        }
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        _: wasmparser::ExportSectionReader<'_>,
    ) -> Woven {
        exports.export("memory", ExportKind::Memory, 0);
        for (export, number) in self.exports.iter().zip(self.first..) {
            exports.export(&export.name, ExportKind::Func, number);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: wasmparser::CodeSectionReader<'_>,
    ) -> Woven {
        reencode::utils::parse_code_section(self, code, section)?;
        for wrapper in &self.wrappers {
            code.function(wrapper);
        }
        Ok(())
    }
}

/// What all wrappers of a guest have in common.
struct Traits {
    /// Which allocator it has.
    reallocs: u8,
    /// What its functions after an answer, and its drops, do.
    afters: u8,
}

/// One export in the making.
struct Wrapper<'a> {
    world: &'a World,
    traits: &'a Traits,
    /// The random function it stands before.
    smithed: u32,
}

/// A number that might be an address, a length, a handle, or none of these.
fn word(rng: &mut Rng) -> i32 {
    match rng.u8(0..16) {
        0..6 => rng.i32(0..8),
        6..9 => rng.i32(0..MEMORY_BYTES / 8) * 8,
        9..12 => rng.i32(0..64),
        12 => rng.i32(0..MEMORY_BYTES),
        13 => 1 << rng.u32(0..32),
        14 => -rng.i32(1..9),
        _ => rng.i32(..),
    }
}

/// An aligned address with some room behind it.
fn address(rng: &mut Rng) -> i32 {
    rng.i32(4..(MEMORY_BYTES - 512) / 8) * 8
}

const I32: MemArg = MemArg { offset: 0, align: 2, memory_index: 0 };
const I8: MemArg = MemArg { offset: 0, align: 0, memory_index: 0 };

fn store(body: &mut Function, at: i32, word: i32) {
    body.instructions().i32_const(at).i32_const(word).i32_store(I32);
}

impl Wrapper<'_> {
    fn function(&self, export: &Signature, rng: &mut Rng) -> Function {
        // The last local keeps what the random function or an import answered.
        let kept = export.params.len() as u32;
        let mut body = Function::new([(1, ValType::I32)]);
        if export.name == "cabi_realloc" {
            self.realloc(&mut body, rng);
        } else if export.name.starts_with("cabi_post_") || export.name.contains("[dtor]") {
            match self.traits.afters {
                0..14 => {}
                14 => endless(&mut body),
                15 => {
                    body.instructions().unreachable();
                }
                _ => self.anything(export, kept, &mut body, rng),
            }
        } else if export.name.contains("/lifecycle@") && rng.u8(0..24) != 0 {
            (0..16).for_each(|_| store(&mut body, address(rng), word(rng)));
            let at = address(rng);
            store(&mut body, at, 0);
            body.instructions().i32_const(at);
        } else if export.name.ends_with("#describe") && rng.u8(0..16) != 0 {
            Self::describe(&mut body, rng);
        } else {
            if export.name.ends_with("procedure@0.1.0#call") && rng.u8(0..4) != 0 {
                self.open_table(kept, &mut body, rng);
            }
            self.anything(export, kept, &mut body, rng);
            if rng.u8(0..4) != 0 {
                self.give_back(export, &mut body);
            }
            self.answer(export, kept, &mut body, rng);
        }
        body.instructions().end();
        body
    }

    /// Some calls, some words in memory.
    fn anything(&self, export: &Signature, kept: u32, body: &mut Function, rng: &mut Rng) {
        for _ in 0..rng.u8(0..5) {
            match rng.u8(0..24) {
                0..8 => {
                    let import = rng.usize(0..self.world.imports.len());
                    // A guest that drops what it does not have traps, and does nothing else.
                    let drops = self.world.imports[import].name.starts_with("[resource-drop]");
                    if !drops || rng.u8(0..8) == 0 {
                        self.call_import(import, export, kept, body, rng);
                    }
                }
                8..18 => store(body, address(rng), word(rng)),
                18..22 => {
                    for param in 0..export.params.len() as u32 {
                        body.instructions().local_get(param);
                    }
                    body.instructions().call(self.smithed);
                    keep(&export.results, kept, body);
                }
                22 => {
                    body.instructions().i32_const(rng.i32(0..3)).memory_grow(0).drop();
                }
                _ if rng.u8(0..8) == 0 => endless(body),
                _ => {}
            }
        }
    }

    fn call_import(
        &self,
        import: usize,
        export: &Signature,
        kept: u32,
        body: &mut Function,
        rng: &mut Rng,
    ) {
        let signature = &self.world.imports[import];
        let last = signature.params.len().saturating_sub(1);
        for (at, param) in signature.params.iter().enumerate() {
            let this = self.this(signature, export, kept).filter(|_| at == 0 && rng.u8(0..8) != 0);
            let is_place = 0 < last && at == last && signature.results.is_empty();
            match this {
                Some(local) => {
                    body.instructions().local_get(local);
                }
                None if is_place && rng.u8(0..8) != 0 => {
                    body.instructions().i32_const(address(rng));
                }
                None => self.argument(*param, export, kept, body, rng),
            }
        }
        body.instructions().call(import as u32);
        keep(&signature.results, kept, body);
    }

    /// Where an export has the handle that an import is a method of.
    fn this(&self, import: &Signature, export: &Signature, kept: u32) -> Option<u32> {
        let params = export.params.len() as u32;
        let is = |ends: &[&str]| {
            let is_call = !export.name.starts_with("cabi_post_");
            is_call && ends.iter().any(|end| export.name.ends_with(end))
        };
        let of = |begins: &str| import.name.starts_with(begins);
        let (flush, hook) = (is(&["#flush"]), is(&["#before", "#after"]));
        let works = hook || is(&["procedure@0.1.0#call"]);
        match () {
            () if flush && of("[method]run") => Some(params - 2),
            () if flush && of("[method]sink") => Some(params - 1),
            () if works && (of("[method]transaction") || of("call-plugin")) => Some(0),
            () if hook && of("[method]table") => Some(1),
            () if of("[method]") => Some(kept),
            () => None,
        }
    }

    fn argument(
        &self,
        param: ValType,
        export: &Signature,
        kept: u32,
        body: &mut Function,
        rng: &mut Rng,
    ) {
        let mut to = body.instructions();
        match param {
            ValType::I32 => match rng.u8(0..8) {
                0..3 => {
                    // One of its own arguments: an address, a length, a handle.
                    let own = |param: &u32| export.params[*param as usize] == ValType::I32;
                    let own: Vec<_> = (0..export.params.len() as u32).filter(own).collect();
                    match rng.choice(own) {
                        Some(param) => {
                            to.local_get(param);
                        }
                        None => {
                            to.local_get(kept);
                        }
                    }
                }
                3 => {
                    to.local_get(kept);
                }
                _ => {
                    to.i32_const(word(rng));
                }
            },
            ValType::I64 => drop(to.i64_const(match rng.u8(0..4) {
                0 => rng.i64(..),
                _ => i64::from(word(rng)),
            })),
            ValType::F32 => {
                to.f32_const(f32::from_bits(rng.u32(..)).into());
            }
            _ => {
                to.f64_const(f64::from_bits(rng.u64(..)).into());
            }
        }
    }

    /// What the export answers, if anything.
    fn answer(&self, export: &Signature, kept: u32, body: &mut Function, rng: &mut Rng) {
        let Some(result) = export.results.first() else { return };
        if *result != ValType::I32 {
            return self.argument(*result, export, kept, body, rng);
        }
        match rng.u8(0..16) {
            0 => {
                body.instructions().local_get(kept);
            }
            1 => {
                body.instructions().i32_const(word(rng));
            }
            _ => {
                let at = address(rng);
                let tag = match rng.u8(0..10) {
                    0..7 => 0,
                    7..9 => 1,
                    _ => word(rng),
                };
                body.instructions().i32_const(at).i32_const(tag).i32_store8(I8);
                let is_zero = rng.u8(0..4) == 0;
                for field in 1..12 {
                    let word = if is_zero { 0 } else { word(rng) };
                    store(body, at + 4 * field, word);
                }
                if export.name.ends_with("#before") && rng.u8(0..4) != 0 {
                    // As many decisions as there are changes.
                    let mut to = body.instructions();
                    to.i32_const(at + 8).local_get(3).i32_store(I32);
                    to.i32_const(at + 4).i32_const(address(rng)).i32_store(I32);
                }
                if export.name.ends_with("procedure@0.1.0#call") && rng.u8(0..2) == 0 {
                    store(body, at + 48, i32::from_le_bytes(*b"{}\0\0"));
                    store(body, at + 4, at + 48);
                    store(body, at + 8, 2);
                }
                if let Some(import) = self.resource_of(export).filter(|_| rng.u8(0..8) != 0) {
                    self.call_import(import, export, kept, body, rng);
                    let mut to = body.instructions();
                    to.i32_const(at + 4).local_get(kept).i32_store(I32);
                }
                body.instructions().i32_const(at);
            }
        }
    }

    /// The import that makes what this export answers a handle of, if it does.
    fn resource_of(&self, export: &Signature) -> Option<usize> {
        let resource = match &export.name {
            name if name.ends_with("reader.open") => "[resource-new]reader",
            name if name.ends_with("reader.scan") => "[resource-new]cursor",
            _ => return None,
        };
        self.world.imports.iter().position(|import| import.name == resource)
    }

    /// Gives back what was only lent, as every export must.
    fn give_back(&self, export: &Signature, body: &mut Function) {
        let params = export.params.len() as u32;
        let lent = match &export.name {
            name if name.ends_with("#flush") => {
                vec![(params - 2, "[resource-drop]run"), (params - 1, "[resource-drop]sink")]
            }
            name if name.ends_with("procedure@0.1.0#call") => {
                vec![(0, "[resource-drop]transaction")]
            }
            name if name.ends_with("#before") || name.ends_with("#after") => {
                vec![(0, "[resource-drop]transaction"), (1, "[resource-drop]table")]
            }
            _ => return,
        };
        for (param, drop) in lent {
            let import = self.world.imports.iter().position(|import| import.name == drop);
            let import = import.expect("whoever is lent a thing can give it back");
            body.instructions().local_get(param).call(import as u32);
        }
    }

    /// Opens the table `t`, and keeps it.
    fn open_table(&self, kept: u32, body: &mut Function, rng: &mut Rng) {
        let imports = &self.world.imports;
        let open = |import: &Signature| import.name == "[method]transaction.open-table";
        let Some(import) = imports.iter().position(open) else { return };
        let (name, place) = (address(rng), address(rng));
        store(body, name, i32::from(b't'));
        let mut to = body.instructions();
        to.local_get(0).i32_const(name).i32_const(1).i32_const(place).call(import as u32);
        to.i32_const(place + 4).i32_load(I32).local_set(kept);
    }

    /// One procedure called `go`, whose schemas are `{}`.
    fn describe(body: &mut Function, rng: &mut Rng) {
        let (at, info) = (address(rng), address(rng));
        let (name, schema) = (at + 64, at + 68);
        store(body, name, i32::from_le_bytes(*b"go\0\0"));
        store(body, schema, i32::from_le_bytes(*b"{}\0\0"));
        for (field, word) in
            [name, 2, 0, 0, schema, 2, schema, 2, rng.i32(0..2)].into_iter().enumerate()
        {
            store(body, info + 4 * field as i32, word);
        }
        [0, info, 1]
            .into_iter()
            .zip([at, at + 4, at + 8])
            .for_each(|(word, at)| store(body, at, word));
        body.instructions().i32_const(at);
    }

    fn realloc(&self, body: &mut Function, rng: &mut Rng) {
        let mut to = body.instructions();
        // The fourth argument is how many bytes are wanted.
        let mut forward = |more: i32| {
            to.i32_const(ALLOCATED_AT).i32_const(ALLOCATED_AT).i32_load(I32);
            to.local_get(3).i32_add().i32_const(7 + more).i32_add().i32_const(!7).i32_and();
            to.i32_store(I32);
            to.i32_const(HEAP_AT + more).i32_const(ALLOCATED_AT).i32_load(I32).i32_add();
            to.local_get(3).i32_sub().i32_const(!7).i32_and().i32_const(more).i32_add();
        };
        match self.traits.reallocs {
            0..11 => forward(0),
            11 => forward(1),
            12 | 13 => {
                to.i32_const(address(rng));
            }
            14 => {
                to.i32_const(word(rng));
            }
            15 => {
                to.i32_const(1).memory_grow(0).i32_const(16).i32_shl();
            }
            16 => {
                to.unreachable();
            }
            17 => {
                endless(body);
                body.instructions().unreachable();
            }
            18 => {
                let import = rng.usize(0..self.world.imports.len());
                let like = Signature {
                    module: String::new(),
                    name: String::new(),
                    params: vec![ValType::I32; 4],
                    results: vec![ValType::I32],
                };
                self.call_import(import, &like, 4, body, rng);
                body.instructions().local_get(4);
            }
            _ => {
                to.local_get(0).local_get(1).local_get(2).local_get(3);
                to.call(self.smithed);
            }
        }
    }
}

/// Keeps the answer of a call, if it is a number of 32 bits.
fn keep(results: &[ValType], kept: u32, body: &mut Function) {
    match results {
        [] => {}
        [ValType::I32] => {
            body.instructions().local_set(kept);
        }
        _ => {
            for _ in results {
                body.instructions().drop();
            }
        }
    }
}

fn endless(body: &mut Function) {
    let mut to = body.instructions();
    to.loop_(wasm_encoder::BlockType::Empty).br(0).end();
}
