//! The pages that were built, and where their links lead.

use crate::{Report, files, normal, shown};
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{
    BufferQueue, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a page has that matters here.
#[derive(Debug, Default)]
struct Page {
    /// What a link's `#` may name.
    ids: BTreeSet<String>,
    links: Vec<String>,
    /// What was left of an include: mdbook did not follow it, or the anchor of another one lies in it.
    left: Option<&'static str>,
}

/// Follows the links of all pages in `built`.
pub fn check(built: &Path, book: &Path, repository: &Path, report: &mut Report) -> io::Result<()> {
    let mut pages = BTreeMap::new();
    for file in
        files(built)?.into_iter().filter(|file| file.extension().is_some_and(|end| end == "html"))
    {
        let page = parse(&fs::read_to_string(&file)?);
        pages.insert(file, page);
    }
    for (file, page) in &pages {
        let name = shown(file, built);
        if let Some(left) = page.left {
            report.problems.push(format!("{name}: '{left}' is left of an include"));
        }
        for link in &page.links {
            if link.starts_with("https://") || link.starts_with("http://") {
                if !report.addresses.contains(link) {
                    report.addresses.push(link.clone());
                }
                continue;
            }
            report.links += 1;
            if let Err(problem) = follow(file, link, &pages, [built, book, repository]) {
                report.problems.push(format!("{name}: the link '{link}': {problem}"));
            }
        }
    }
    Ok(())
}

/// Looks for what a link of the page `file` leads to.
fn follow(
    file: &Path,
    link: &str,
    pages: &BTreeMap<PathBuf, Page>,
    [built, book, repository]: [&Path; 3],
) -> Result<(), String> {
    let (path, id) = match link.split_once('#') {
        Some((path, id)) => (path, Some(id)),
        None => (link, None),
    };
    if path.contains(':') || path.starts_with('/') || path.contains('?') {
        return Err("it is no path that is seen from the page".to_owned());
    }
    let mut target = match path {
        "" => file.to_owned(),
        _ => normal(&file.parent().unwrap_or(built).join(path)),
    };
    if !target.starts_with(built) {
        // Beside the chapters lies, where people build the book, the folder `book`.
        let page = book.join("book").join(file.strip_prefix(built).unwrap_or(file));
        target = normal(&page.parent().unwrap_or(book).join(path));
        if !target.starts_with(repository) {
            return Err("it leads out of the repository".to_owned());
        }
    }
    if !target.exists() {
        return Err(format!("there is no {}", shown(&target, repository)));
    }
    match (id, pages.get(&target)) {
        (None, _) => Ok(()),
        (Some(id), Some(page)) if page.ids.contains(id) => Ok(()),
        (Some(id), Some(_)) => Err(format!("the page has no '{id}'")),
        (Some(_), None) => Err("only pages of the book have places to lead to".to_owned()),
    }
}

fn parse(html: &str) -> Page {
    let queue = BufferQueue::default();
    queue.push_back(StrTendril::from_slice(html));
    let tokenizer = Tokenizer::new(Sink::default(), TokenizerOpts::default());
    // It stops at the end of each script, for those who would run it.
    while !queue.is_empty() {
        let _ = tokenizer.feed(&queue);
    }
    tokenizer.end();
    let page = tokenizer.sink.0.into_inner();
    Page { left: ["{{#", "ANCHOR"].into_iter().find(|left| html.contains(left)), ..page }
}

#[derive(Default)]
struct Sink(RefCell<Page>);

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        let Token::TagToken(tag) = token else { return TokenSinkResult::Continue };
        if tag.kind == TagKind::EndTag {
            return TokenSinkResult::Continue;
        }
        let mut page = self.0.borrow_mut();
        for attribute in &tag.attrs {
            match &*attribute.name.local {
                "id" => {
                    page.ids.insert(attribute.value.to_string());
                }
                // The page that is shown for a missing one says where all pages are.
                "href" if &*tag.name == "base" => {}
                "href" | "src" => page.links.push(attribute.value.to_string()),
                _ => {}
            }
        }
        match &*tag.name {
            "script" => TokenSinkResult::RawData(RawKind::ScriptData),
            "style" => TokenSinkResult::RawData(RawKind::Rawtext),
            _ => TokenSinkResult::Continue,
        }
    }
}
