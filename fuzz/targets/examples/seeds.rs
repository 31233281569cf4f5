//! Writes every target's seeds to `fuzz/corpus/<target>/`, where cargo-fuzz looks for them.

fn main() -> std::io::Result<()> {
    for target in sochdb_fuzz::TARGETS {
        let folder = format!("{}/../corpus/{}", env!("CARGO_MANIFEST_DIR"), target.name);
        std::fs::create_dir_all(&folder)?;
        let seeds = (target.seeds)();
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(format!("{folder}/seed-{number:03}"), seed)?;
        }
        println!("{folder}: {} seeds", seeds.len());
    }
    Ok(())
}
