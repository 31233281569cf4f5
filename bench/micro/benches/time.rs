//! The benchmarks by the clock: `cargo bench -p bench-micro`, or `cargo bench -p bench-micro -- kernel.get`.
//!
//! Each run has its own preparation, which is not measured.

use bench_micro::{all, find};
use divan::Bencher;
use divan::counter::ItemsCount;

fn main() {
    divan::main();
}

fn names() -> Vec<&'static str> {
    all().map(|micro| micro.name).collect()
}

#[divan::bench(args = names(), sample_count = 20, sample_size = 1)]
fn micro(bencher: Bencher, name: &str) {
    let micro = find(name).expect("it is one of them");
    let bencher = bencher.counter(ItemsCount::new(micro.operations)).with_inputs(micro.prepare);
    bencher.bench_local_values(|mut run| {
        run();
        // Handed back, so that taking it apart is not measured.
        run
    });
}
