//! The table of all guests that mean harm, in `README.md`, names tests that are there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn the_table_of_hostile_guests_names_a_test_for_each() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut tests = BTreeSet::new();
    let mut folders = vec![folder.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(path).unwrap();
                let named = text.split("#[test]\nfn ").skip(1);
                tests.extend(named.map(|rest| rest.split('(').next().unwrap().to_owned()));
            }
        }
    }
    let table = fs::read_to_string(folder.join("boundary/README.md")).unwrap();
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
