//! What fuel and epochs cost on loops: the same module in engines with and without them.

use super::{Case, Round};
use crate::Result;
use wasmtime::{Config, Engine, Instance, Module, Store, TypedFunc};

/// Two loops over 1 MiB: a byte a turn, and 16 bytes with four accumulators a turn.
const LOOPS: &str = r#"(module
    (memory 17)
    (func (export "bytes") (result i32) (local $at i32) (local $sum i32)
        (loop $next
            (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31))
                (i32.load8_u (local.get $at))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $at) (i32.const 1048576))))
        (local.get $sum))
    (func (export "lanes") (result i32)
        (local $at i32) (local $a i32) (local $b i32) (local $c i32) (local $d i32)
        (loop $next
            (local.set $a (i32.add (local.get $a) (i32.load offset=0 (local.get $at))))
            (local.set $b (i32.add (local.get $b) (i32.load offset=4 (local.get $at))))
            (local.set $c (i32.add (local.get $c) (i32.load offset=8 (local.get $at))))
            (local.set $d (i32.add (local.get $d) (i32.load offset=12 (local.get $at))))
            (local.set $at (i32.add (local.get $at) (i32.const 16)))
            (br_if $next (i32.lt_u (local.get $at) (i32.const 1048576))))
        (i32.add (i32.add (local.get $a) (local.get $b)) (i32.add (local.get $c) (local.get $d)))))"#;

struct Metered {
    name: [&'static str; 2],
    store: Store<()>,
    loops: [TypedFunc<(), i32>; 2],
    fuel: bool,
}

pub struct Meters(Vec<Metered>);

impl Meters {
    pub fn new() -> Result<Meters> {
        let wasm = wat::parse_str(LOOPS)?;
        let metered = |name, fuel, epochs| -> Result<Metered> {
            let mut config = Config::new();
            config.consume_fuel(fuel).epoch_interruption(epochs);
            let engine = Engine::new(&config)?;
            let mut store = Store::new(&engine, ());
            if fuel {
                store.set_fuel(u64::MAX)?;
            }
            if epochs {
                store.set_epoch_deadline(u64::MAX / 2);
            }
            let instance = Instance::new(&mut store, &Module::new(&engine, &wasm)?, &[])?;
            let mut find = |name| instance.get_typed_func::<(), i32>(&mut store, name);
            let loops = [find("bytes")?, find("lanes")?];
            Ok(Metered { name, store, loops, fuel })
        };
        Ok(Meters(vec![
            metered(
                [
                    "a loop over 1 MiB, byte by byte, no meter",
                    "the same, 16 bytes a turn, no meter",
                ],
                false,
                false,
            )?,
            metered(["byte by byte, fuel", "16 bytes a turn, fuel"], true, false)?,
            metered(["byte by byte, epochs", "16 bytes a turn, epochs"], false, true)?,
            metered(["byte by byte, both, as plugins run", "16 bytes a turn, both"], true, true)?,
        ]))
    }

    pub fn measure(&mut self, round: &mut Round) -> Result<()> {
        for which in 0..2 {
            for metered in &mut self.0 {
                if metered.fuel {
                    metered.store.set_fuel(u64::MAX)?;
                }
                let call = metered.loops[which].clone();
                let store = &mut metered.store;
                let took = round.time(50, || Ok(call.call(&mut *store, ())?))?;
                let native = round.time(50, || Ok(native(which)))?;
                let case = Case { what: metered.name[which], unit: "us", per: 1e3 };
                round.add(case, took, Some(native));
            }
        }
        Ok(())
    }
}

fn native(which: usize) -> u32 {
    static BYTES: [u8; 1 << 20] = [0; 1 << 20];
    let bytes = std::hint::black_box(&BYTES);
    match which {
        0 => bytes
            .iter()
            .fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte))),
        _ => bytes
            .as_chunks()
            .0
            .iter()
            .fold(0_u32, |sum, four| sum.wrapping_add(u32::from_le_bytes(*four))),
    }
}
