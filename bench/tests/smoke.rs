//! Every engine does every workload and finds what it wrote; how fast is no matter here.

use serde_json::Value;
use std::process::Command;

#[test]
fn every_engine_runs_every_workload_and_loses_nothing() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(["kv", "--json", "--rounds", "1", "--rows", "2500", "--commits", "30"]);
    command.args(["--operations", "400", "--cache-bytes", "100000", "--memtable-bytes", "200000"]);
    let output = command.output().expect("the benchmark starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let run: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    let engines = run["rounds"][0].as_object().expect("a map of engines");
    assert_eq!(engines.len(), if cfg!(feature = "rocksdb") { 6 } else { 5 });
    for (engine, figures) in engines {
        let figures = figures.as_object().expect("a map of figures");
        let linux = usize::from(cfg!(target_os = "linux"));
        assert_eq!(figures.len(), 51 + 3 * linux, "{engine} yields every figure: {figures:?}");
        assert_eq!(figures["counters_lost"], 0.0, "{engine} lost updates");
        assert_eq!(figures["killed_lost"], 0.0, "{engine} lost rows it had synced");
    }
    let lost = &engines["sochdb"]["killed_lost_unsynced"];
    assert_eq!(lost, 0.0, "a killed process loses nothing that the operating system has");
}

#[test]
fn a_selected_workload_is_the_only_one_shown() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(["kv", "--quick", "--rows", "2000", "--operations", "1000", "--only", "scan"]);
    command.args(["--engines", "redb"]);
    let output = command.output().expect("the benchmark starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("scan of 100 rows") && !table.contains("point get"), "{table}");
    assert!(table.contains("redb") && !table.contains("lmdb"), "{table}");
}

#[test]
fn the_table_of_two_runs_has_the_rounds_of_both() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("run.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args([
        "kv",
        "--json",
        "--quick",
        "--rows",
        "2000",
        "--only",
        "load",
        "--engines",
        "redb",
    ]);
    let output = command.output().expect("the benchmark starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(&file, &output.stdout).expect("the folder takes a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    let output = command.arg("table").args([&file, &file]).output().expect("the benchmark starts");
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("median of 2 rounds"), "{table}");
}

#[test]
fn the_column_store_and_its_peers_do_every_step_and_find_what_they_wrote() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(["lscs", "--json", "--rounds", "1", "--rows", "3000", "--gets", "50"]);
    command.args(["--scans", "10", "--cache-bytes", "100000", "--memtable-bytes", "200000"]);
    let output = command.output().expect("the benchmark starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let parts: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    let (rocksdb, parquet) = (cfg!(feature = "rocksdb"), cfg!(feature = "parquet"));
    let linux = usize::from(cfg!(target_os = "linux"));
    let peers = 3 + usize::from(rocksdb);
    let parts = parts.as_array().expect("a list of parts");
    let expected = [
        ("rows", peers, 10 + linux),
        ("columns", peers + usize::from(parquet), 12 + linux),
        ("itself", 2, 22 + 2 * linux),
    ];
    assert_eq!(parts.len(), expected.len());
    for (part, (name, contenders, figures)) in parts.iter().zip(expected) {
        assert_eq!(part["part"], name);
        let round = part["rounds"][0].as_object().expect("a map of contenders");
        assert_eq!(round.len(), contenders, "{name}");
        for (contender, found) in round {
            let found = found.as_object().expect("a map of figures");
            assert_eq!(found.len(), figures, "{name}: {contender} yields all: {found:?}");
        }
    }
}

#[test]
fn no_call_fails_while_each_kind_of_plugin_is_replaced() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    let output = command.args(["reload", "--quick", "--json"]).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let run: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    let swaps = run["swaps"].as_array().expect("a list of plugins");
    assert_eq!(swaps.len(), 5);
    for line in swaps {
        assert_eq!((&line["swaps"], &line["failed"]), (&4.into(), &0.into()), "{line}");
        assert!(0 < line["quiet"]["count"].as_u64().expect("a count"), "{line}");
    }
    let starts = run["starts"].as_array().expect("a list of starts");
    assert_eq!(starts.len(), 8, "four plugins, a cold and a warm cache");
    assert!(starts.iter().all(|start| 0.0 < start["to_first_call_ms"].as_f64().unwrap()));
}

#[test]
fn indexes_of_ours_do_every_part_of_the_comparison_of_vectors() {
    let dir = tempfile::tempdir().expect("a folder");
    let picture = dir.path().join("vector.svg");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(["vector", "--quick", "--json", "--peers", "none", "--synthetic", "600"]);
    command.args(["--dim", "16", "--queries", "20", "--svg"]).arg(&picture);
    let output = command.output().expect("the benchmark starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let run: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    let curves = run["curves"].as_array().expect("a list of contenders");
    assert_eq!(curves.len(), 2, "auto and vamana");
    for curve in curves {
        let points = curve["rounds"][0]["points"].as_array().expect("a list of efforts");
        let recall = points.last().expect("a point")["recall"]["all"].as_f64();
        assert!(recall.is_some_and(|recall| 0.99 <= recall), "{curve}");
    }
    for scenario in run["scenarios"].as_array().expect("a list of indexes") {
        let filters = scenario["filters"].as_array().expect("a list of filters");
        assert_eq!(filters.len(), 12);
        assert!(filters.iter().all(|filtered| filtered["short"] == 0), "{filters:?}");
        assert_eq!(scenario["inserts"]["rows"], 300);
        assert_eq!(scenario["churn"].as_array().map(Vec::len), Some(3), "fresh and two cycles");
    }
    let svg = std::fs::read_to_string(picture).expect("a picture");
    assert!(svg.contains("sochdb vamana"), "{svg}");
}

#[test]
fn every_codec_is_measured_in_the_sandbox_and_natively() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    let output = command.args(["codec", "--quick", "--json"]).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let cases: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    let cases = cases.as_array().expect("a list of cases");
    assert_eq!(cases.len(), 2 * 3 * 5, "two kinds of data, three sizes, five codecs");
    for case in cases {
        assert!(case["stored"][0].as_f64().is_some_and(|share| share < 0.7), "{case}");
        for direction in ["compress", "restore"] {
            let rates = &case["rounds"][0][direction];
            assert!(0.0 < rates[0].as_f64().unwrap() && 0.0 < rates[1].as_f64().unwrap(), "{case}");
        }
    }
}

#[test]
fn a_batch_of_rows_crosses_the_boundary_in_one_call() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    let output = command.args(["boundary", "--quick", "--json"]).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    let lines = lines.as_array().expect("a list of lines");
    let batch = lines.iter().find(|line| line["what"] == "a row of 8 B, 256 of them in one call");
    let batch = batch.expect("the line of the batch");
    let [sandbox, native] = [0, 1].map(|at| batch["rounds"][0][at].as_f64().expect("a figure"));
    assert!(0.0 < native && native < sandbox, "{batch}");
}

#[test]
fn the_database_is_measured_beside_its_kernel_and_weighed() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(["overhead", "--quick", "--json", "--rows", "5000", "--commits", "50"]);
    let output = command.args(["--operations", "2000"]).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let run: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    let round = run["rounds"][0].as_object().expect("a map of contenders");
    let figures = |who: &str| round[who].as_object().expect("figures").len();
    assert_eq!((round.len(), figures("database")), (2, figures("sochdb")), "the same of both");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    let output = command.args(["footprint", "--quick", "--json"]).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let weighed: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    let start = &weighed["starts"][0];
    assert!(start["plugins"].as_u64().is_some_and(|plugins| 5 < plugins), "{weighed}");
    let times = ["open_ms", "first_rows_ms", "all_ms"];
    let [open, read, all] = times.map(|id| start[id].as_f64().expect("a figure"));
    assert!(0.0 < open && open < read && read < all, "{start}");
}

#[test]
fn rows_are_imported_dumped_and_loaded_by_the_program() {
    // Cargo builds it with the workspace's tests, not with those of this package alone.
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_bench")).with_file_name("sochdb");
    if !program.is_file() {
        eprintln!("{} is not there: nothing was tried", program.display());
        return;
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(["import", "--quick", "--json", "--rows", "3000", "--program"]).arg(&program);
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let run: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    let steps = run["rounds"][0].as_object().expect("a map of steps");
    assert!(7 <= steps.len(), "three or four files, two dumps, two loads: {steps:?}");
    for (step, storages) in steps {
        for storage in ["kernel", "lscs"] {
            let figure = &storages[storage];
            assert!(0.0 < figure["seconds"].as_f64().unwrap(), "{step}: {storages}");
            assert!(0 < figure["bytes"].as_u64().unwrap(), "{step}: {storages}");
        }
    }
}
