//! The README's plugin is the one that the documentation compiles and runs, and it is short.

/// The code of the first block that begins with `fence`, without blank lines and what the documentation hides.
fn first_block(text: &str, fence: &str, prefix: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.strip_prefix(prefix).unwrap_or(line));
    let lines = lines.skip_while(|line| *line != fence).skip(1);
    let code = lines.take_while(|line| *line != "```").filter(|line| !line.starts_with("# "));
    code.filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}

#[test]
fn a_hook_takes_at_most_twenty_lines_and_the_readme_shows_one_that_is_compiled() {
    let compiled = include_str!("../src/lib.rs").replace("//!\n", "//! \n");
    let compiled = first_block(&compiled, "```", "//! ");
    assert_eq!(first_block(include_str!("../README.md"), "```rust", ""), compiled);
    assert!(10 < compiled.len() && compiled.len() <= 20, "{} lines", compiled.len());
}
