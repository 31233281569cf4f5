//! `stats --html`: the page says what the database says, stands alone, and looks right in a browser.
//!
//! The browser is Chromium, found as `SOCHDB_CHROMIUM` or on the path; without one those tests say so and are
//! skipped.

use crate::program::Workplace;
use sochdb::Database;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Pixels of the browser's window, as on a laptop.
const WINDOW: (u32, u32) = (1100, 1400);

/// A database with a table of columns, one of the kernel's own, and an index.
fn filled() -> Workplace {
    let work = Workplace::new();
    let line = |id: u32| {
        let pos = ["n", "v", "a"][id as usize % 3];
        let (x, y) = (f64::from(id).sin(), f64::from(id).cos());
        format!(
            "{{\"id\":{id},\"pos\":\"{pos}\",\"text\":\"row {id}\",\"v\":[{x},{y},0.5,0.25]}}\n"
        )
    };
    let rows: String = (0..3000).map(line).collect();
    let file = work.path("rows.jsonl");
    std::fs::write(&file, rows).unwrap();
    let file = file.to_str().unwrap();
    work.ok(&[
        "import",
        file,
        "--table",
        "words",
        "--key",
        "id",
        "--storage",
        "lscs",
        "--codec",
        "lz4",
    ]);
    work.ok(&["import", file, "--table", "<b>&plain", "--key", "id"]);
    work.ok(&["index", "create", "words", "v", "--name", "meaning"]);
    work
}

/// The page of `work`, with whatever else is said.
fn page(work: &Workplace, more: &[&str]) -> (PathBuf, String) {
    let file = work.path("page.html");
    let said = work.ok(&[&["stats", "--html", file.to_str().unwrap()], more].concat());
    assert!(said.contains("is a page of"), "{said}");
    let page = std::fs::read_to_string(&file).unwrap();
    (file, page)
}

#[test]
fn the_page_says_what_there_is_and_needs_nothing_else() {
    let work = filled();
    let (_, text) = page(&work, &[]);
    for wanted in [
        "words",
        "&lt;b&gt;&amp;plain",
        "3,000",
        "level 0",
        "dictionary",
        "meaning",
        "lscs storage",
    ] {
        assert!(text.contains(wanted), "'{wanted}' is missing");
    }
    for foreign in ["http:", "https:", "<script", "<link", "@import", "url(", "src="] {
        assert!(!text.contains(foreign), "'{foreign}' is in it");
    }
    assert!(
        text.contains("--connect ADDRESS"),
        "it says where plugins and latencies would come from"
    );
    let (_, one) = page(&work, &["words"]);
    assert!(one.contains("words") && !one.contains("&lt;b&gt;"));
    work.refused(&["stats", "--html", "/nowhere/at/all.html"], 2, &["/nowhere/at/all.html"]);
    work.refused(&["stats", "nothing", "--html", "x.html"], 3, &["nothing"]);
    work.refused(&["stats", "--html", "x.html", "--connect", "127.0.0.1:1"], 1, &["127.0.0.1:1"]);
}

/// The page of a database that is open here, with what it says of itself.
fn of_a_running_program(work: &Workplace) -> (PathBuf, String) {
    let address = "127.0.0.1:0".parse().unwrap();
    let db = Database::builder().serve_metrics(address).open(work.db()).unwrap();
    for round in 0..20u64 {
        db.run(|tx| tx.put("notes", &round.to_be_bytes(), b"a note")).unwrap_or_else(|_| {
            db.create_table("notes", Default::default()).unwrap();
        });
        db.search("words").near(&[0.1, 0.2, 0.3, 0.4]).k(5).run().unwrap();
    }
    let address = db.metrics_address().unwrap().to_string();
    let page = page(work, &["--connect", &address]);
    db.close().unwrap();
    page
}

#[test]
fn the_page_of_a_running_program_has_its_plugins_and_latencies() {
    let work = filled();
    let (_, text) = of_a_running_program(&work);
    for wanted in
        ["a commit, sync included", "a search", "a call of hnsw", "up for", "All parts are healthy"]
    {
        assert!(text.contains(wanted), "'{wanted}' is missing");
    }
}

fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("SOCHDB_CHROMIUM").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let mut found = std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .filter(|file| file.is_file());
    let found = named.or_else(|| found.next());
    if found.is_none() {
        eprintln!("SKIPPED: no Chromium is here to look at the page; SOCHDB_CHROMIUM names one");
    }
    found
}

/// Has the browser do something with `page`, in light or dark colours; what it prints.
fn browse(chromium: &Path, page: &Path, is_dark: bool, more: &[String]) -> String {
    let profile = tempfile::tempdir().unwrap();
    let scheme = if is_dark { 0 } else { 1 };
    let mut child = Command::new(chromium)
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--no-first-run",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--window-size={},{}", WINDOW.0, WINDOW.1))
        .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
        .args(more)
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || std::io::read_to_string(&mut out).unwrap_or_default());
    let deadline = Instant::now() + Duration::from_secs(120);
    while child.try_wait().unwrap().is_none() {
        if deadline < Instant::now() {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    reader.join().unwrap()
}

/// Width, height, and the RGB of each pixel of a screenshot.
fn screenshot(chromium: &Path, page: &Path, is_dark: bool) -> (u32, u32, Vec<[u8; 3]>) {
    let file = page.with_extension(if is_dark { "dark.png" } else { "light.png" });
    browse(chromium, page, is_dark, &[format!("--screenshot={}", file.display())]);
    let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(&file).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    let pixel = info.color_type.samples();
    let pixels = bytes[..info.buffer_size()].chunks(pixel).map(|p| [p[0], p[1], p[2]]).collect();
    if let Some(kept) = std::env::var_os("SOCHDB_KEEP_SCREENSHOTS") {
        std::fs::copy(&file, Path::new(&kept).join(file.file_name().unwrap())).unwrap();
    }
    (info.width, info.height, pixels)
}

#[test]
fn a_browser_shows_it_in_light_and_in_dark() {
    let Some(chromium) = chromium() else { return };
    let work = filled();
    let (file, _) = of_a_running_program(&work);
    let bright = |pixel: &[u8; 3]| pixel.iter().map(|part| u32::from(*part)).sum::<u32>() / 3;
    for is_dark in [false, true] {
        let (width, height, pixels) = screenshot(&chromium, &file, is_dark);
        assert_eq!((width, height), WINDOW);
        let ground = bright(&pixels[0]);
        assert!(if is_dark { ground < 60 } else { 220 < ground }, "ground of {ground}");
        // Text that can be read, and bars in colour.
        let readable = pixels.iter().filter(|pixel| 120 < bright(pixel).abs_diff(ground)).count();
        assert!(5_000 < readable, "dark: {is_dark}, {readable} pixels of text");
        let coloured =
            |p: &&[u8; 3]| 60 < p.iter().max().unwrap().abs_diff(*p.iter().min().unwrap());
        let coloured = pixels.iter().filter(coloured).count();
        assert!(2_000 < coloured, "dark: {is_dark}, {coloured} pixels of bars");
    }
}

#[test]
fn nothing_sticks_out_of_the_window_of_a_telephone() {
    let Some(chromium) = chromium() else { return };
    let work = filled();
    let (file, text) = of_a_running_program(&work);
    // A copy that measures itself.
    let script = "<script>document.title = [document.documentElement.scrollWidth, innerWidth].join('/')</script></body>";
    let measured = file.with_file_name("measured.html");
    std::fs::write(&measured, text.replace("</body>", script)).unwrap();
    // A frame, since a window cannot be so narrow.
    let frame = file.with_file_name("frame.html");
    let around = "<iframe id=f width=380 height=800 src=measured.html></iframe>\
        <script>onload = () => document.title = document.getElementById('f').contentDocument.title</script>";
    std::fs::write(&frame, around).unwrap();
    let more = ["--dump-dom", "--allow-file-access-from-files"].map(String::from);
    let dom = browse(&chromium, &frame, false, &more);
    let title = dom.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next());
    let widths: Vec<u32> =
        title.unwrap_or_default().split('/').filter_map(|width| width.parse().ok()).collect();
    assert_eq!(widths.len(), 2, "{dom}");
    assert!(widths[0] <= widths[1], "{} pixels in a window of {}", widths[0], widths[1]);
}
