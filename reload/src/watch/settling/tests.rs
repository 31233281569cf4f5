use super::*;
use expect_test::{Expect, expect};
use proptest::prelude::*;

const QUIET_MS: u64 = 100;

fn print(letter: char) -> Print {
    Print::of(letter.to_string().as_bytes())
}

/// `a1 b2`: the manifest `a` has the print 1, and `b` has 2.
fn scan(words: &str) -> BTreeMap<PathBuf, Print> {
    let of = |word: &str| {
        let mut letters = word.chars();
        let path = PathBuf::from(letters.next().unwrap().to_string());
        (path, print(letters.next().unwrap()))
    };
    words.split_whitespace().map(of).collect()
}

/// Plays lines such as `100 scan a1 b2`, `100 done a` and `100 later a`; expects what was offered when.
fn check(applied: &str, script: &str, expected: Expect) {
    let began = Instant::now();
    let mut settling = Settling::new(scan(applied), Duration::from_millis(QUIET_MS));
    let mut found = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.splitn(3, ' ');
        let ms = words.next().unwrap();
        let now = began + Duration::from_millis(ms.parse().unwrap());
        let (what, rest) = (words.next().unwrap(), words.next().unwrap_or_default());
        match what {
            "scan" => {
                for change in settling.scanned(now, &scan(rest)) {
                    let text = match &change {
                        Change::Changed(path) => format!("{ms} changed {}\n", path.display()),
                        Change::Gone(path) => format!("{ms} gone {}\n", path.display()),
                    };
                    found += &text;
                }
            }
            "done" => settling.answered(now, Path::new(rest), Answer::Done),
            "later" => settling.answered(now, Path::new(rest), Answer::Later),
            other => panic!("no such step: {other}"),
        }
    }
    let next = settling.next_at().map(|at| (at - began).as_millis());
    found += &next.map_or("nothing moves".to_owned(), |ms| format!("next at {ms}"));
    expected.assert_eq(&found);
}

#[test]
fn what_was_applied_is_never_offered() {
    check("a1 b2", "0 scan a1 b2\n500 scan a1 b2", expect!["nothing moves"]);
}

#[test]
fn a_new_print_is_offered_once_it_has_been_there_for_long_enough() {
    let script = "
        0 scan a2
        99 scan a2
        100 scan a2
        101 scan a2
        102 done a
        300 scan a2
    ";
    check(
        "a1",
        script,
        expect![[r#"
        100 changed a
        nothing moves"#]],
    );
}

#[test]
fn a_print_that_changes_again_starts_from_the_beginning() {
    let script = "
        0 scan a2
        90 scan a3
        180 scan a2
        270 scan a2
        280 scan a2
    ";
    check(
        "a1",
        script,
        expect![[r#"
        280 changed a
        nothing moves"#]],
    );
}

#[test]
fn what_goes_back_to_what_was_applied_is_nothing() {
    check("a1", "0 scan a2\n50 scan a1\n60 scan a2\n110 scan a2", expect!["next at 160"]);
    check("", "0 scan a2\n50 scan\n500 scan", expect!["nothing moves"]);
}

#[test]
fn a_manifest_is_gone_after_twice_the_time() {
    check(
        "a1",
        "0 scan\n100 scan\n199 scan\n200 scan\n200 done a\n500 scan",
        expect![[r#"
        200 gone a
        nothing moves"#]],
    );
}

#[test]
fn a_manifest_that_comes_back_was_never_gone() {
    check("a1", "0 scan\n199 scan\n200 scan a1\n500 scan a1", expect!["nothing moves"]);
    check(
        "a1",
        "0 scan\n150 scan a2\n250 scan a2",
        expect![[r#"
        250 changed a
        nothing moves"#]],
    );
}

#[test]
fn a_renamed_manifest_comes_before_it_goes() {
    let script = "
        0 scan b1
        100 scan b1
        100 done b
        200 scan b1
        200 done a
        400 scan b1
    ";
    check(
        "a1",
        script,
        expect![[r#"
        100 changed b
        200 gone a
        nothing moves"#]],
    );
}

#[test]
fn within_one_scan_changes_come_before_what_is_gone_and_each_sorted() {
    check(
        "a1 c1 d1",
        "0 scan d2 b1\n200 scan d2 b1",
        expect![[r#"
        200 changed b
        200 changed d
        200 gone a
        200 gone c
        nothing moves"#]],
    );
}

#[test]
fn later_means_after_the_same_time_again() {
    let script = "
        0 scan a2
        100 scan a2
        150 later a
        151 scan a2
        249 scan a2
        250 scan a2
        260 done a
        500 scan a2
    ";
    check(
        "a1",
        script,
        expect![[r#"
        100 changed a
        250 changed a
        nothing moves"#]],
    );
    check(
        "a1",
        "0 scan\n200 scan\n210 later a",
        expect![[r#"
        200 gone a
        next at 410"#]],
    );
}

#[test]
fn an_answer_is_to_what_was_offered_and_not_to_what_came_meanwhile() {
    let script = "
        0 scan a2
        100 scan a2
        150 scan a3
        400 scan a3
        410 done a
        411 scan a3
        412 done a
        600 scan a3
    ";
    check(
        "a1",
        script,
        expect![[r#"
        100 changed a
        411 changed a
        nothing moves"#]],
    );
    check(
        "a1",
        "0 scan a2\n100 scan a2\n150 scan a3\n160 later a\n250 scan a3",
        expect![[r#"
        100 changed a
        250 changed a
        nothing moves"#]],
    );
}

#[test]
fn after_a_bad_print_the_good_one_is_offered_again() {
    let script = "
        0 scan a2
        100 scan a2
        100 done a
        200 scan a1
        300 scan a1
    ";
    check(
        "a1",
        script,
        expect![[r#"
        100 changed a
        300 changed a
        nothing moves"#]],
    );
}

#[test]
fn an_answer_nobody_waits_for_is_nothing() {
    check("a1", "0 done a\n1 later b\n2 scan a1\n3 done a\n500 scan a1", expect!["nothing moves"]);
}

#[test]
fn no_wait_is_too_long() {
    let mut settling = Settling::new(BTreeMap::new(), Duration::MAX);
    assert!(settling.scanned(Instant::now(), &scan("a1")).is_empty());
    assert_eq!(settling.next_at(), None);
    let mut settling = Settling::new(scan("b1"), Duration::ZERO);
    let found = settling.scanned(Instant::now(), &scan("a1"));
    assert_eq!(found, [Change::Changed("a".into()), Change::Gone("b".into())]);
}

/// What somebody does in a folder of a few files. Every step is followed by a scan.
#[derive(Debug, Clone)]
enum Edit {
    Write(u8, char),
    Remove(u8),
    Rename(u8, u8),
    /// Begins to write, goes on after so many milliseconds.
    HalfWrite(u8, u64, char),
    Wait(u64),
    /// Waits until something may have come to rest, if anything moves.
    WaitForNext,
}

fn edit() -> impl Strategy<Value = Edit> {
    let path = || 0_u8..3;
    let content = || prop::sample::select(vec!['0', '1', '2']);
    prop_oneof![
        (path(), content()).prop_map(|(path, content)| Edit::Write(path, content)),
        path().prop_map(Edit::Remove),
        (path(), path()).prop_map(|(from, to)| Edit::Rename(from, to)),
        (path(), 0_u64..150, content()).prop_map(|(path, ms, to)| Edit::HalfWrite(path, ms, to)),
        (0_u64..250).prop_map(Edit::Wait),
        Just(Edit::WaitForNext),
    ]
}

/// What ought to happen, said without [`Settling`]: per path, what it holds and since when.
struct Model {
    now: Instant,
    settling: Settling,
    files: BTreeMap<PathBuf, Print>,
    applied: BTreeMap<PathBuf, Print>,
    /// Since when each path holds what it holds, or since its last answer of "later".
    since: BTreeMap<PathBuf, Instant>,
    answers: Vec<Answer>,
}

fn path(at: u8) -> PathBuf {
    PathBuf::from(char::from(b'a' + at).to_string())
}

impl Model {
    fn set(&mut self, at: u8, content: Option<Print>) {
        let before = match content {
            Some(content) => self.files.insert(path(at), content),
            None => self.files.remove(&path(at)),
        };
        if before != content {
            self.since.insert(path(at), self.now);
        }
    }

    fn wait(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    fn play(&mut self, edit: &Edit) {
        match *edit {
            Edit::Write(at, content) => self.set(at, Some(print(content))),
            Edit::Remove(at) => self.set(at, None),
            Edit::Rename(from, to) if from != to => {
                if let Some(content) = self.files.get(&path(from)).copied() {
                    self.set(from, None);
                    self.set(to, Some(content));
                }
            }
            Edit::Rename(..) => {}
            Edit::HalfWrite(at, ms, content) => {
                self.set(at, Some(print('?')));
                self.scan();
                self.wait(ms);
                self.scan();
                self.set(at, Some(print(content)));
            }
            Edit::Wait(ms) => self.wait(ms),
            Edit::WaitForNext => {
                if let Some(next) = self.settling.next_at() {
                    assert!(self.now < next, "what has come to rest was not offered");
                    self.now = next;
                    assert_ne!(self.due(), [], "nothing comes to rest when it was said to");
                }
            }
        }
        self.scan();
    }

    /// What has been still for long enough and was not applied.
    fn due(&self) -> Vec<Change> {
        let mut due = Vec::new();
        for (path, since) in &self.since {
            let (holds, applied) = (self.files.get(path), self.applied.get(path));
            let wait = if holds.is_some() { QUIET_MS } else { 2 * QUIET_MS };
            if holds != applied && Duration::from_millis(wait) <= self.now - *since {
                due.push(match holds {
                    Some(_) => Change::Changed(path.clone()),
                    None => Change::Gone(path.clone()),
                });
            }
        }
        due.sort_by_key(|change| (matches!(change, Change::Gone(_)), change.manifest().to_owned()));
        due
    }

    fn scan(&mut self) {
        let offered = self.settling.scanned(self.now, &self.files);
        assert_eq!(offered, self.due());
        for change in offered {
            let path = change.manifest();
            let answer = self.answers.pop().unwrap_or(Answer::Done);
            self.settling.answered(self.now, path, answer);
            match (answer, self.files.get(path)) {
                (Answer::Later, _) => _ = self.since.insert(path.to_owned(), self.now),
                (_, Some(content)) => _ = self.applied.insert(path.to_owned(), *content),
                (_, None) => _ = self.applied.remove(path),
            }
        }
        assert_eq!(self.settling.applied(), &self.applied);
    }
}

proptest! {
    #[test]
    fn what_has_come_to_rest_is_offered_once_and_nothing_else_ever(
        edits in prop::collection::vec(edit(), 0..60),
        answers in prop::collection::vec(
            prop_oneof![3 => Just(Answer::Done), 1 => Just(Answer::Later)],
            0..30,
        ),
    ) {
        let files = scan("a1 b2");
        let settling = Settling::new(files.clone(), Duration::from_millis(QUIET_MS));
        let (now, since) = (Instant::now(), BTreeMap::new());
        let applied = files.clone();
        let mut model = Model { now, settling, files, applied, since, answers };
        edits.iter().for_each(|edit| model.play(edit));
        model.answers.clear();
        model.play(&Edit::Wait(2 * QUIET_MS));
        prop_assert_eq!(model.settling.applied(), &model.files);
        prop_assert_eq!(model.settling.next_at(), None);
    }
}
