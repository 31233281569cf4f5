//! The example programs, in this process: what they say is what their first lines promise.

use expect_test::{Expect, expect};
use std::path::Path;

/// The program `examples/programs/NAME.rs`, without its `main`.
macro_rules! programs {
    ($($name:ident $path:literal)+) => {
        $(#[allow(dead_code, reason = "nobody calls `main` here")]
        #[path = $path]
        mod $name;)+
    };
}
programs! {
    change_feed "../../examples/programs/change_feed.rs"
    counter "../../examples/programs/counter.rs"
    job_queue "../../examples/programs/job_queue.rs"
    multi_tenant "../../examples/programs/multi_tenant.rs"
    own_plugin "../../examples/programs/own_plugin.rs"
    semantic_search "../../examples/programs/semantic_search.rs"
}

/// What the program says at its first and its second run in one directory.
fn check<E: std::fmt::Display>(run: impl Fn(&Path) -> Result<String, E>, says: [Expect; 2]) {
    let directory = tempfile::tempdir().unwrap();
    for wanted in says {
        match run(directory.path()) {
            Ok(said) => wanted.assert_eq(&said),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn counters_lose_no_visit_and_go_on_counting() {
    check(
        counter::run,
        [
            expect![[r#"
        /: 80 visits
        /about: 20 visits
    "#]],
            expect![[r#"
        /: 160 visits
        /about: 40 visits
    "#]],
        ],
    );
}

#[test]
fn jobs_are_done_once_and_given_up_with_a_reason() {
    check(
        job_queue::run,
        [
            expect![[r#"
        sent to ada@example.org
        sent to alan@example.org
        sent to edsger@example.org
        sent to grace@example.org
        gave up on nobody after 3 attempts: 'nobody' is no address
    "#]],
            expect![[r#"
        sent to ada@example.org
        sent to alan@example.org
        sent to edsger@example.org
        sent to grace@example.org
        gave up on nobody after 3 attempts: 'nobody' is no address
    "#]],
        ],
    );
}

#[test]
fn texts_are_found_by_their_meaning() {
    check(
        semantic_search::run,
        [
            expect![[r#"
        ? of or relating to the Seljuks
          0.49 Seljuk: any one of the Turkish dynasties that ruled Asia Minor from the 11th to the 13th centuries; they successfully invaded Byzantium and defended the Holy Land against Crusaders
          0.68 Seles, Monica Seles: United States tennis player (born in Yugoslavia in 1973)
        ? a suite of furniture for the bedroom
          0.39 sleeper: a piece of furniture that can be opened up into a bed
          0.47 bungalow, cottage: a small house with a single story
        ? palm having palmate or fan-shaped leaves
          0.49 rattan, rattan palm, Calamus rotang: climbing palm of Sri Lanka and southern India remarkable for the great length of the stems which are used for malacca canes
          0.50 palm cat, palm civet: spotted or striped arboreal civet of southeast Asia and East Indies
    "#]],
            expect![[r#"
        ? of or relating to the Seljuks
          0.49 Seljuk: any one of the Turkish dynasties that ruled Asia Minor from the 11th to the 13th centuries; they successfully invaded Byzantium and defended the Holy Land against Crusaders
          0.68 Seles, Monica Seles: United States tennis player (born in Yugoslavia in 1973)
        ? a suite of furniture for the bedroom
          0.39 sleeper: a piece of furniture that can be opened up into a bed
          0.47 bungalow, cottage: a small house with a single story
        ? palm having palmate or fan-shaped leaves
          0.49 rattan, rattan palm, Calamus rotang: climbing palm of Sri Lanka and southern India remarkable for the great length of the stems which are used for malacca canes
          0.50 palm cat, palm civet: spotted or striped arboreal civet of southeast Asia and East Indies
    "#]],
        ],
    );
}

#[test]
fn tenants_see_and_fill_only_what_is_theirs() {
    check(
        multi_tenant::run,
        [
            expect![[r#"
        small: 8 of 20 notes
        large: 20 of 20 notes
        small sees 8 rows of notes
        small sees 0 rows of large/notes
        small sees 0 rows of ../large/notes
        the host sees large/notes
        the host sees small/notes
    "#]],
            expect![[r#"
        small: 8 of 20 notes
        large: 20 of 20 notes
        small sees 8 rows of notes
        small sees 0 rows of large/notes
        small sees 0 rows of ../large/notes
        the host sees large/notes
        the host sees small/notes
    "#]],
        ],
    );
}

#[test]
fn a_plugin_in_a_folder_decides_what_a_delete_is() {
    check(
        own_plugin::run,
        [
            expect![[r#"
        Ada
        Alan, deleted
        by soft-delete 0.1.0
    "#]],
            expect![[r#"
        Ada
        Alan, deleted
        by soft-delete 0.1.0
    "#]],
        ],
    );
}

#[test]
fn a_consumer_of_changes_goes_on_where_it_stopped() {
    check(
        change_feed::run,
        [
            expect![[r#"
        3 orders are new
        1 order is new
        Ada: 15.00
        Alan: 3.00
    "#]],
            expect![[r#"
        3 orders are new
        1 order is new
        Ada: 30.00
        Alan: 6.00
    "#]],
        ],
    );
}
