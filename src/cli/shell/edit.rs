//! The line editor of a terminal: prompt, keys, history, and what tells whether a line is whole.
//!
//! | key            | what it does                                                  |
//! |----------------|---------------------------------------------------------------|
//! | Tab            | offers what could stand at the cursor; again, the next one    |
//! | Up, Ctrl-R     | earlier lines; lines that contain something                   |
//! | Right          | takes the rest of the earlier line that is shown in grey      |
//! | Alt-Enter      | goes on in another line                                       |
//! | Ctrl-C, Ctrl-D | clears the line; leaves                                       |

use super::super::failure::{Failure, Outcome};
use super::super::report;
use super::colours::Colours;
use super::complete::ShellCompleter;
use super::words::split;
use super::{Flow, Shell};
use etcetera::BaseStrategy;
use nu_ansi_term::{Color, Style};
use reedline::{
    ColumnarMenu, DefaultHinter, EditCommand, Emacs, FileBackedHistory, KeyCode, KeyModifiers,
    MenuBuilder, Prompt, PromptEditMode, PromptHistorySearch, PromptHistorySearchStatus, Reedline,
    ReedlineEvent, ReedlineMenu, Signal, ValidationResult, Validator, default_emacs_keybindings,
};
use std::borrow::Cow;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Lines that are remembered.
const HISTORY_LINES_MAX: usize = 10_000;
const MENU: &str = "offers";

/// Reads lines from the terminal and runs them, until somebody leaves.
pub fn converse(shell: &mut Shell<'_>) -> Outcome {
    let prompt = Name(name_of(&shell.session.common.directory));
    let mut editor = editor(shell);
    eprintln!(
        "SochDB {} with {}. .help lists what the shell does, Tab completes, Ctrl-D leaves.",
        env!("CARGO_PKG_VERSION"),
        shell.session.common.directory.display()
    );
    loop {
        let signal = editor.read_line(&prompt);
        match signal.map_err(|error| Failure::io("the terminal", &std::io::Error::other(error)))? {
            Signal::Success(text) => match shell.line(&text) {
                Ok(Flow::Next) => {}
                Ok(Flow::Leave) => return Ok(()),
                Err(failure) => {
                    shell.session.screen.flush()?;
                    report(&failure);
                }
            },
            Signal::CtrlD => return Ok(()),
            _ => {}
        }
    }
}

fn editor(shell: &Shell<'_>) -> Reedline {
    let mut keys = default_emacs_keybindings();
    let next = vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext];
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, ReedlineEvent::UntilFound(next));
    keys.add_binding(KeyModifiers::SHIFT, KeyCode::BackTab, ReedlineEvent::MenuPrevious);
    let newline = ReedlineEvent::Edit(vec![EditCommand::InsertNewline]);
    keys.add_binding(KeyModifiers::ALT, KeyCode::Enter, newline);
    let menu = ColumnarMenu::default().with_name(MENU);
    let editor = Reedline::create()
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .with_completer(Box::new(ShellCompleter::new(shell.database().clone())))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
        .with_highlighter(Box::new(Colours::new()))
        .with_hinter(Box::new(DefaultHinter::default().with_style(Color::DarkGray.normal())))
        .with_visual_selection_style(Style::new().reverse())
        .with_validator(Box::new(Whole))
        .with_history_exclusion_prefix(Some(" ".to_owned()))
        .with_ansi_colors(console::colors_enabled_stderr());
    match history() {
        Some(history) => editor.with_history(Box::new(history)),
        None => editor,
    }
}

/// The lines of earlier sessions.
fn history() -> Option<FileBackedHistory> {
    let path = history_path(std::env::var_os("SOCHDB_HISTORY"))?;
    match FileBackedHistory::with_file(HISTORY_LINES_MAX, path.clone()) {
        Ok(history) => Some(history),
        Err(error) => {
            eprintln!("earlier lines cannot be read from {}: {error}", path.display());
            None
        }
    }
}

/// Where they are kept: where `said` says, nowhere when that is empty, or in the user's folder for data.
fn history_path(said: Option<OsString>) -> Option<PathBuf> {
    match said {
        Some(said) if said.is_empty() => None,
        Some(said) => Some(PathBuf::from(said)),
        None => {
            let folders = etcetera::choose_base_strategy().ok()?;
            Some(folders.data_dir().join("sochdb").join("history.txt"))
        }
    }
}

/// A line is whole when no quote, bracket or backslash is open.
struct Whole;

impl Validator for Whole {
    fn validate(&self, line: &str) -> ValidationResult {
        match split(line).1 {
            Some(_) if !line.trim_start().starts_with('#') => ValidationResult::Incomplete,
            _ => ValidationResult::Complete,
        }
    }
}

/// What a database is called: its folder's name.
fn name_of(directory: &Path) -> String {
    let whole = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let name = whole.file_name().unwrap_or(whole.as_os_str());
    name.to_string_lossy().into_owned()
}

/// The prompt: the database's name.
struct Name(String);

impl Prompt for Name {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.0)
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _mode: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("> ")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("… ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        let found = match search.status {
            PromptHistorySearchStatus::Passing => "",
            PromptHistorySearchStatus::Failing => "nothing with ",
        };
        Cow::Owned(format!(" earlier: {found}{} ", search.term))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_on_while_something_is_open() {
        let is_whole = |line| matches!(Whole.validate(line), ValidationResult::Complete);
        assert!(is_whole("scan words") && is_whole("") && is_whole("# it's a remark"));
        for open in ["put t 'a", "put t {\"a\": 1", "scan t \\", "put t \"a\\\""] {
            assert!(!is_whole(open), "{open}");
        }
        assert!(is_whole("scan t \\\n --limit 3") && is_whole("put t {\"a\":\n1}"));
    }

    #[test]
    fn history_is_where_the_user_says() {
        assert_eq!(history_path(Some("".into())), None);
        assert_eq!(history_path(Some("/a/b".into())), Some("/a/b".into()));
        let usual = history_path(None).expect("this user has a folder");
        assert!(usual.ends_with("sochdb/history.txt"), "{}", usual.display());
    }

    #[test]
    fn the_prompt_is_the_name_of_the_database() {
        assert_eq!(name_of(Path::new("/nowhere/words.db")), "words.db");
        assert_eq!(Name("words".into()).render_prompt_left(), "words");
    }
}
