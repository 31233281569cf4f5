//! `bench-embedder JOB`: does what the [`Job`](bench_embedder::Job), as JSON, asks for, and prints as JSON what it took.

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let job =
        std::env::args().nth(1).ok_or("usage: bench-embedder JOB; `bench footprint` does it")?;
    let start = bench_embedder::start(&serde_json::from_str(&job)?)?;
    println!("{}", serde_json::to_string(&start)?);
    Ok(())
}
