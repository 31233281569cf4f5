//! The table of all guests that mean harm, in `README.md`, names tests that are there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn the_table_of_hostile_guests_names_a_test_for_each() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeSet::new();
    let mut folders = vec![root.join("tests"), root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(path).unwrap();
                let named = text.lines().filter_map(|line| line.strip_prefix("fn "));
                let named = named.filter_map(|rest| rest.strip_suffix("() {"));
                tests.extend(named.map(str::to_owned));
            }
        }
    }
    let table = fs::read_to_string(root.join("tests/boundary/README.md")).unwrap();
    let rows = table.lines().filter_map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let number = cells.get(1)?.parse::<usize>().ok()?;
        Some((number, cells.get(4)?.trim_matches('`').to_owned()))
    });
    let rows: Vec<_> = rows.collect();
    for (at, (number, test)) in rows.iter().enumerate() {
        assert_eq!(*number, at + 1, "guests are numbered from one");
        assert!(tests.contains(test), "row {number}: there is no test '{test}'");
    }
    println!("hostile guests: {} in the table, each with its test", rows.len());
    assert!(45 <= rows.len());
}
