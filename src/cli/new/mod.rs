//! `plugin new`: a folder with a plugin that builds, passes its tests and does something small.
//!
//! Every template is a file of its own below this folder, and says what it is for: source is source of its language that
//! would compile as it is, but for names.
//!
//! | in a template                       | in the plugin `not-empty`                                |
//! |-------------------------------------|----------------------------------------------------------|
//! | `my-plugin`, `my_plugin`, `MyPlugin`| `not-empty`, `not_empty`, `NotEmpty`                     |
//! | `word-word` in the other texts      | what [`Plan::values`] has for it                         |

mod templates;

use super::Session;
use super::args::{Lang, License, PluginNew};
use super::failure::{Exit, Failure, Outcome};
use serde_json::json;
use sochdb::host::{PluginKind, PluginManifest, bundled};
use std::fs;
use std::path::{Path, PathBuf};
use templates::{File, Text};

/// Makes the folder.
pub fn new(session: &mut Session, args: &PluginNew) -> Outcome {
    let plan = Plan::new(args)?;
    let folder = args.path.clone().unwrap_or_else(|| args.name.clone().into());
    let files = plan.files();
    plan.check_manifest(&files)?;
    check_empty(&folder)?;
    for (name, text) in &files {
        let path = folder.join(name);
        let failed = |error| Failure::io(format!("cannot write {}", path.display()), &error);
        fs::create_dir_all(path.parent().expect("it lies in the folder")).map_err(failed)?;
        fs::write(&path, text).map_err(failed)?;
    }
    let screen = &mut session.screen;
    if screen.json {
        let names: Vec<_> = files.iter().map(|(name, _)| name).collect();
        return screen.object(&json!({
            "made": args.name,
            "kind": plan.kind,
            "folder": folder,
            "manifest": folder.join(format!("{}.toml", args.name)),
            "files": names,
        }));
    }
    let kind = plan.kind;
    screen.line(format!(
        "made '{}', a plugin of kind {kind}, in {}",
        args.name,
        folder.display()
    ))?;
    screen.line("")?;
    for line in plan.next_steps(&folder) {
        screen.line(format!("  {line}"))?;
    }
    Ok(())
}

/// The SDK that this program was built beside, if it is still there.
pub fn sdk_folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk-guest");
    folder.join("Cargo.toml").is_file().then_some(folder)
}

/// What will be made.
struct Plan<'a> {
    args: &'a PluginNew,
    kind: PluginKind,
    templates: &'static [File],
    /// The name as types have it.
    type_name: String,
    /// Where a crate finds the SDK: `path = "..."` or `version = "..."`.
    sdk: String,
}

impl Plan<'_> {
    fn new(args: &PluginNew) -> Outcome<Plan<'_>> {
        check_name(&args.name)?;
        let (kind, lang) = (PluginKind::from(args.kind), args.lang);
        let Some(templates) = templates::of(kind, lang) else {
            let text = format!("{lang:?} has no plugins of kind {kind}");
            let help = "--lang rust has every kind, --lang python hooks and procedure";
            return Err(Failure::invalid(text).help(help));
        };
        let sdk = match templates::needs_sdk(lang) {
            true => sdk(args.sdk.as_deref())?,
            false => String::new(),
        };
        let type_name = type_name(&args.name, templates);
        Ok(Plan { args, kind, templates, type_name, sdk })
    }

    /// Names, in the folder, and texts of all files.
    fn files(&self) -> Vec<(String, String)> {
        let mut files = Vec::new();
        for File { name, text } in self.templates {
            let text = match text {
                Text::Source(text) => self.named(text),
                Text::Plain(text) => self.filled(text),
                Text::Copy(text) => (*text).to_owned(),
            };
            files.push((self.named(name), text));
        }
        files.extend(self.licenses());
        files
    }

    /// A template with the plugin's names.
    fn named(&self, text: &str) -> String {
        let name = &self.args.name;
        let text = text.replace("my-plugin", name).replace("my_plugin", &name.replace('-', "_"));
        text.replace("MyPlugin", &self.type_name)
    }

    /// A template with the plugin's names and whatever else is different in each.
    fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (word, value) in self.values() {
            text = text.replace(word, &value);
        }
        self.named(&text)
    }

    /// What stands in the place of the words of templates. Those that bring words of their own come first.
    fn values(&self) -> Vec<(&'static str, String)> {
        let interfaces: Vec<_> = self.kind.interfaces().iter().map(|it| quoted(it)).collect();
        let [capabilities, more] = templates::sections(self.kind);
        let has_background = matches!(self.kind, PluginKind::Storage | PluginKind::Index);
        // Python takes 13 MiB before it does anything, and some hundred operators for each of its own.
        let is_python = self.args.lang == Lang::Python;
        let memory = match (has_background, is_python) {
            (true, _) => "256",
            (false, true) => "128",
            (false, false) => "64",
        };
        let fuel = if is_python { "5_000_000_000" } else { "1_000_000_000" };
        let instances = match self.kind {
            PluginKind::Observer => "1",
            _ => "4",
        };
        let spdx = self.spdx();
        let license_line = match spdx {
            "" => "# license = \"...\"".to_owned(),
            spdx => format!("license = {}", quoted(spdx)),
        };
        vec![
            ("try-it", templates::try_it(self.kind).to_owned()),
            ("capabilities-section\n", format!("{capabilities}\n")),
            ("more-sections\n", if more.is_empty() { String::new() } else { format!("\n{more}") }),
            ("purpose-sentence", templates::purpose(self.kind).to_owned()),
            ("more-dependencies\n", templates::dependencies(self.kind).to_owned()),
            ("kind-word", self.kind.to_string()),
            ("memory-number", memory.to_owned()),
            ("fuel-number", fuel.to_owned()),
            ("instances-number", instances.to_owned()),
            ("interfaces-list", format!("[{}]", interfaces.join(", "))),
            ("license-line", license_line),
            ("license-text", quoted(spdx)),
            ("author-text", quoted(&self.args.author)),
            ("sdk-testing", format!("{{ {}, features = [\"testing\"] }}", self.sdk)),
            ("= sdk\n", format!("= {{ {} }}\n", self.sdk)),
        ]
    }

    fn spdx(&self) -> &'static str {
        match self.args.license {
            License::Mit => "MIT",
            License::Apache => "Apache-2.0",
            License::Both => "Apache-2.0 OR MIT",
            License::None => "",
        }
    }

    fn licenses(&self) -> Vec<(String, String)> {
        let author = match self.args.author.as_str() {
            "" => format!("The authors of {}", self.args.name),
            author => author.to_owned(),
        };
        let mit = templates::MIT.replace("2026 The SochDB authors", &author);
        let (mit, apache) =
            (("LICENSE-MIT", mit), ("LICENSE-APACHE", templates::APACHE.to_owned()));
        let files = match self.args.license {
            License::Mit => vec![("LICENSE", mit.1)],
            License::Apache => vec![("LICENSE", apache.1)],
            License::Both => vec![apache, mit],
            License::None => Vec::new(),
        };
        files.into_iter().map(|(name, text)| (name.to_owned(), text)).collect()
    }

    /// What is wrong with the name, or was said, is said before anything is written.
    fn check_manifest(&self, files: &[(String, String)]) -> Outcome {
        let name = format!("{}.toml", self.args.name);
        let manifest = files.iter().find(|(file, _)| *file == name);
        let (_, text) = manifest.expect("every template has a manifest");
        match PluginManifest::parse(&name, text) {
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::invalid(error.to_string())),
        }
    }

    fn next_steps(&self, folder: &Path) -> [String; 4] {
        let (name, folder) = (&self.args.name, folder.display());
        [
            format!("cd {folder}"),
            templates::test_command(self.args.lang).to_owned(),
            "sochdb plugin build && sochdb plugin check .".to_owned(),
            format!("sochdb plugin pack && sochdb plugin install {name}-0.1.0.sochdb-plugin"),
        ]
    }
}

/// The name must be one of plugins, and one that is still free.
fn check_name(name: &str) -> Outcome {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(allowed) {
        let help =
            "a plugin is called by a lower-case letter, then lower-case letters, digits, - and _";
        return Err(Failure::invalid(format!("{name:?} is no plugin name")).help(help));
    }
    if bundled::find(name).is_some() {
        let text = format!("a plugin '{name}' is part of this program already");
        return Err(
            Failure::invalid(text).help("another name keeps both; `sochdb plugin list` shows all")
        );
    }
    Ok(())
}

/// `NotEmpty` for `not-empty`; with `Plugin` behind it where a template has another use for that word.
fn type_name(name: &str, templates: &[File]) -> String {
    let capital = |word: &str| {
        let mut chars = word.chars();
        let first = chars.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(chars).collect::<String>()
    };
    let name: String = name.split(['-', '_']).map(capital).collect();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_taken = templates.iter().any(|File { text, .. }| match text {
        Text::Source(text) => text.split(|c| !is_word(c)).any(|word| word == name),
        Text::Plain(_) | Text::Copy(_) => false,
    });
    match is_taken {
        true => format!("{name}Plugin"),
        false => name,
    }
}

/// Where the SDK is, as a dependency of cargo says it.
fn sdk(said: Option<&str>) -> Outcome<String> {
    let help = "--sdk says where it is: the folder sdk-guest of SochDB's source, or a version such as 0.1.0";
    let folder = match said {
        Some(version)
            if version.starts_with(|c: char| c.is_ascii_digit()) && !version.contains('/') =>
        {
            return Ok(format!("version = {}", quoted(version)));
        }
        Some(folder) => PathBuf::from(folder),
        None => sdk_folder().ok_or_else(|| {
            Failure::new(Exit::NotFound, "the SDK that this program was built beside is gone")
                .help(help)
        })?,
    };
    // Whoever names the checkout means the SDK in it.
    let candidates = [folder.clone(), folder.join("sdk-guest")];
    let is_sdk = |folder: &&PathBuf| {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        manifest.lines().any(|line| line.trim() == "name = \"sochdb-guest\"")
    };
    let Some(found) = candidates.iter().find(is_sdk) else {
        let text = format!("there is no SDK in {}", folder.display());
        return Err(Failure::new(Exit::NotFound, text).help(help));
    };
    let found = found
        .canonicalize()
        .map_err(|error| Failure::io(format!("cannot find {}", found.display()), &error))?;
    Ok(format!("path = {}", quoted(&found.to_string_lossy())))
}

/// Nothing of somebody's is written over.
fn check_empty(folder: &Path) -> Outcome {
    match fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => {
                let text = format!("there is something in {} already", folder.display());
                Err(Failure::invalid(text).help("--path names another folder"))
            }
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::io(format!("cannot make {}", folder.display()), &error)),
    }
}

/// The text as TOML has it.
pub fn quoted(text: &str) -> String {
    // What stands between quotation marks in JSON means the same in TOML.
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::args::Kind;
    use super::*;

    fn args(name: &str, kind: Kind, lang: Lang) -> PluginNew {
        let (path, sdk) = (None, Some("0.1.0".to_owned()));
        let author = "A \"quoted\" name\\".to_owned();
        PluginNew { name: name.to_owned(), kind, lang, path, license: License::Both, author, sdk }
    }

    #[test]
    fn nothing_of_a_template_is_left_in_a_plugin() {
        for kind in
            [Kind::Codec, Kind::Observer, Kind::Storage, Kind::Hooks, Kind::Procedure, Kind::Index]
        {
            for lang in [Lang::Rust, Lang::Python] {
                let args = args("tall-tale", kind, lang);
                let Ok(plan) = Plan::new(&args) else {
                    assert_ne!(lang, Lang::Rust, "{kind:?}");
                    continue;
                };
                let files = plan.files();
                plan.check_manifest(&files).unwrap();
                let words: Vec<_> = plan.values().into_iter().map(|(word, _)| word).collect();
                let is_ours =
                    |name: &str| name.starts_with("LICENSE") || name.contains("sochdb_guest/");
                for (name, text) in files.iter().filter(|(name, _)| !is_ours(name)) {
                    for word in ["my-plugin", "my_plugin", "MyPlugin"].iter().chain(&words) {
                        let is_there = text.contains(word.trim()) && *word != "= sdk\n";
                        assert!(!is_there, "{kind:?} {lang:?}: {word:?} is left in {name}\n{text}");
                    }
                }
            }
        }
    }

    #[test]
    fn names_become_types_that_nothing_else_is_called() {
        let hooks = templates::of(PluginKind::Hooks, Lang::Rust).unwrap();
        for (name, expected) in [
            ("not-empty", "NotEmpty"),
            ("a_b-c9", "ABC9"),
            ("hooks", "HooksPlugin"),
            ("self", "SelfPlugin"),
            ("my-plugin", "MyPluginPlugin"),
        ] {
            assert_eq!(type_name(name, hooks), expected);
        }
    }

    #[test]
    fn texts_are_quoted_as_toml_reads_them() {
        for text in ["", "plain", "a \"b\" \\ c", "C:\\new", "tab\there\n", "ä\u{1}"] {
            let file: toml::Table = format!("x = {}", quoted(text)).parse().unwrap();
            assert_eq!(file["x"].as_str(), Some(text));
        }
    }
}
