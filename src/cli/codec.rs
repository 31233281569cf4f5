//! `codec train`: a codec with a dictionary, made of a table's own blocks.
//!
//! ```text
//!   table ── blocks, evenly ──▶ three of four: a dictionary ──▶ a manifest ──▶ installed
//!                          └──▶ the fourth: what it gains
//! ```

use super::args::{Codec, CodecTrain};
use super::failure::{Exit, Failure, Outcome};
use super::screen::{bytes_text, thousands};
use super::{Access, Session};
use serde_json::json;
use sochdb::host::bundled;
use sochdb::operations::codec_samples;
use sochdb_plugin_zstd::block::Compressor;
use sochdb_plugin_zstd::dictionary::{Dictionary, to_text, train as make};
use std::io::Write;

/// How many times its own size a dictionary is made of, and a third more to see what it gains.
const SAMPLES_PER_DICTIONARY: usize = 130;
/// The codecs that take dictionaries.
const WITH_DICTIONARY: &str = "zstd";

/// Runs one `codec` command.
pub fn codec(session: &mut Session, command: Codec) -> Outcome {
    match command {
        Codec::Train(args) => train(session, &args),
    }
}

fn train(session: &mut Session, args: &CodecTrain) -> Outcome {
    let CodecTrain { table, using, name, bytes, level, output } = args;
    if using != WITH_DICTIONARY {
        let text = format!("the codec '{using}' takes no dictionary");
        return Err(Failure::new(Exit::Invalid, text).help("--using zstd does"));
    }
    if let Some(output) = output.as_deref().filter(|output| output.exists()) {
        return Err(Failure::invalid(format!("{} is there already", output.display())));
    }
    if !name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_')) {
        let text = format!("'{name}' cannot be a plugin's name");
        return Err(Failure::invalid(text).help("lower-case letters, digits, - and _"));
    }
    let db = session.open(Access::Write)?;
    let is_taken = bundled::find(name).is_some()
        || db.kept_plugins()?.iter().any(|plugin| plugin.name == *name);
    if is_taken {
        let text = format!("there is a plugin '{name}' already");
        let help =
            "a dictionary never changes under a name that blocks refer to; choose another name";
        return Err(Failure::new(Exit::Invalid, text).help(help));
    }
    db.checkpoint()?;
    let samples = codec_samples(&db, table, *bytes as usize * SAMPLES_PER_DICTIONARY)?;
    if samples.is_empty() {
        let text = format!("table '{table}' has no blocks that a codec would be given");
        let help = "in the kernel's own tree those are values of about 1.8 KiB and more";
        return Err(Failure::new(Exit::Invalid, text).help(help));
    }
    let part = |seen: bool| {
        let numbered = samples.iter().enumerate();
        numbered.filter(move |(at, _)| (at % 4 != 3) == seen).map(|(_, sample)| sample.as_slice())
    };
    let learnt: Vec<&[u8]> = part(true).collect();
    let made = make(&learnt, *bytes as usize, *level).map_err(Failure::invalid)?;
    let dictionary = Dictionary::new(&made).map_err(Failure::invalid)?;
    let stored = |dictionary: Option<&Dictionary>| {
        let mut compressor = Compressor::new(*level, dictionary);
        part(false).map(|block| compressor.compress(block).len()).sum::<usize>()
    };
    let raw: usize = part(false).map(<[u8]>::len).sum();
    let (without, with) = (stored(None), stored(Some(&dictionary)));

    let text = manifest(name, *level, &made)?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("codec.toml");
    std::fs::write(&path, &text)?;
    db.install_plugin(&path)?;
    db.close()?;
    if let Some(output) = output {
        std::fs::File::create_new(output)?.write_all(text.as_bytes())?;
    }
    if session.screen.json {
        return session.screen.object(&json!({
            "codec": name,
            "table": table,
            "dictionary": dictionary.id(),
            "bytes": made.len(),
            "samples": samples.len(),
            "tried_on": { "raw": raw, "stored": with, "stored_without": without },
        }));
    }
    let percent = |stored: usize| 100.0 * stored as f64 / raw.max(1) as f64;
    session.screen.line(format!(
        "installed codec '{name}': a dictionary of {} made of {} blocks of table '{table}'",
        bytes_text(made.len() as u64),
        thousands(learnt.len() as u64),
    ))?;
    session.screen.line(format!(
        "blocks it has not seen are stored in {:.1} %, without it in {:.1} %",
        percent(with),
        percent(without),
    ))?;
    session.screen.line(format!("to use it: sochdb table convert {table} --codec {name}"))
}

/// The manifest of the bundled codec under another name, with a level and a dictionary.
fn manifest(name: &str, level: i32, dictionary: &[u8]) -> Outcome<String> {
    let bundled = bundled::find(WITH_DICTIONARY);
    let missing = || Failure::new(Exit::Plugin, "this program was built without plugins");
    let mut text = bundled.ok_or_else(missing)?.manifest.to_owned();
    let settings = [
        ("\nname = \"zstd\"\n", format!("\nname = \"{name}\"\n")),
        ("\nlevel = 3\n", format!("\nlevel = {level}\n")),
        ("\ndictionary = \"\"\n", format!("\ndictionary = \"{}\"\n", to_text(dictionary))),
    ];
    for (from, to) in settings {
        assert_eq!(text.matches(from).count(), 1, "the bundled manifest says {from:?} once");
        text = text.replacen(from, &to, 1);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sochdb::host::PluginManifest;

    #[test]
    fn the_manifest_of_a_trained_codec_is_one() {
        let text = manifest("zstd-words", 9, &[0xff; 300]).unwrap();
        let read = PluginManifest::parse("codec.toml", &text).unwrap();
        assert_eq!(read.name, "zstd-words");
        assert!(text.contains("\nlevel = 9\n") && text.contains(&"/".repeat(400)));
        let largest = sochdb_plugin_zstd::dictionary::BYTES_MAX;
        let text = manifest("zstd-words", 9, &vec![7; largest]).unwrap();
        assert!(text.len() < 256 << 10, "{} bytes", text.len());
    }
}
