//! An observer in a bad mood, which its setting `mood` names.
//!
//! | mood    | what it does with a batch                                                       |
//! |---------|---------------------------------------------------------------------------------|
//! | `good`  | counts it, and what is in it                                                    |
//! | `sleep` | works until its time is over                                                    |
//! | `trap`  | panics                                                                          |
//! | `bomb`  | takes memory without end                                                        |
//! | `flood` | logs and emits as much as it may, and answers an error                          |
//! | `wild`  | one after the other                                                             |
//! | `post`  | sends each batch's number to the address of its setting `address`               |
//! | `mute`  | counts, and panics when it is asked for its state                               |
//! | `deaf`  | counts, and panics when it is given the state of another                        |
//!
//! Its state is what it has counted: three little-endian u64.

use sochdb_guest::outbox::Address;
use sochdb_guest::telemetry::{Level, count, log};
use sochdb_guest::{Batch, Error, Observer, Page, Result, config};
use std::hint::black_box;

struct Moody {
    mood: String,
    address: String,
    batches: u64,
    spans: usize,
    lines: usize,
}

impl Moody {
    fn act(&self, mood: &str) -> Result<()> {
        match mood {
            "sleep" => loop {
                black_box(());
            },
            "trap" => panic!("in no mood for telemetry"),
            "bomb" => {
                let mut bombs = Vec::new();
                loop {
                    bombs.push(black_box(vec![1_u8; 1 << 20]));
                }
            }
            "flood" => {
                for number in 0..100_000 {
                    log(Level::Error, "again and again");
                    let _ = count(&format!("flood_{number}_total"), &[("n", "x")], 1.0);
                }
                Err(Error::invalid("x".repeat(100_000)))
            }
            "post" => {
                let address = Address::open(&self.address)?;
                address.post(&[("content-type", "text/plain")], self.batches.to_string().as_bytes())
            }
            _ => Ok(()),
        }
    }
}

impl Observer for Moody {
    fn init() -> Result<Self> {
        let (mood, address) = (config::text("mood")?, config::text("address")?);
        Ok(Moody { mood, address, batches: 0, spans: 0, lines: 0 })
    }

    fn ingest(&mut self, batch: Batch) -> Result<()> {
        self.batches += 1;
        self.spans += batch.spans.len();
        self.lines += batch.logs.len();
        match &*self.mood {
            // A fresh instance after each failure would begin again: the clock of the batches goes on.
            "wild" => {
                let moods = ["sleep", "trap", "bomb", "flood", "good"];
                self.act(moods[batch.unix_us as usize % moods.len()])
            }
            mood => self.act(mood),
        }
    }

    fn render(&mut self, accept: &str) -> Result<Page> {
        let Moody { batches, spans, lines, .. } = self;
        let body = format!("{batches} batches, {spans} spans, {lines} lines, for {accept:?}\n");
        Ok(Page { content_type: "text/plain; charset=utf-8".to_owned(), body })
    }

    fn export_state(&mut self) -> Result<Vec<u8>> {
        assert!(self.mood != "mute", "in no mood to tell");
        let counted = [self.batches, self.spans as u64, self.lines as u64];
        Ok(counted.map(u64::to_le_bytes).concat())
    }

    fn import_state(&mut self, state: Vec<u8>, _version: &str) -> Result<()> {
        assert!(self.mood != "deaf", "in no mood to listen");
        let (counted, rest) = state.as_chunks::<8>();
        let (&[batches, spans, lines], []) = (counted, rest) else {
            return Err(Error::invalid("a state of three numbers"));
        };
        let number = |bytes| u64::from_le_bytes(bytes);
        self.batches += number(batches);
        self.spans += number(spans) as usize;
        self.lines += number(lines) as usize;
        Ok(())
    }
}

sochdb_guest::export!(observer: Moody);
