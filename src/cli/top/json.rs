//! A sample for a program: one JSON object. What is not known is null; durations are in seconds, rates by the
//! second, sizes in bytes.

use super::sample::{Disk, Level, Log, Memory, Part, Plugin, Sample, Table, Tenant, quantile};
use serde_json::{Value as Json, json};
use sochdb_telemetry::Histogram;

/// The object.
pub fn object(name: &str, sample: &Sample) -> Json {
    let Sample { log, disk, memory, checkpoints, .. } = sample;
    let Log { written_bytes, syncs, sync_latency, replay_bytes } = log;
    let Memory { hit_ratio, cache_bytes, memtable_bytes } = memory;
    let dropped =
        sample.dropped.iter().map(|(what, count)| json!({ "what": what, "count": count }));
    json!({
        "name": name,
        "unix_seconds": sample.unix_s,
        "elapsed_seconds": sample.elapsed_s,
        "restarted": sample.restarted,
        "version": sample.version,
        "uptime_seconds": sample.uptime_s,
        "health": sample.health.first().map(|part| part.health.word()),
        "parts": sample.health.iter().map(part).collect::<Vec<_>>(),
        "commits_per_second": sample.commits,
        "conflicts_per_second": sample.conflicts,
        "rollbacks_per_second": sample.rollbacks,
        "rows_put_per_second": sample.rows_put,
        "rows_deleted_per_second": sample.rows_deleted,
        "commit_seconds": spread(&sample.latency),
        "searches_per_second": sample.searches,
        "search_seconds": spread(&sample.search_latency),
        "log": {
            "written_bytes_per_second": written_bytes,
            "syncs_per_second": syncs,
            "sync_seconds": spread(sync_latency),
            "replay_bytes": replay_bytes,
        },
        "disk": disk_json(disk),
        "cache": { "hit_ratio": hit_ratio, "bytes": cache_bytes },
        "memtable_bytes": memtable_bytes,
        "checkpoints": { "done": checkpoints.done, "new": checkpoints.new, "seconds": checkpoints.took_s },
        "tables": sample.tables.iter().map(table).collect::<Vec<_>>(),
        "plugins": sample.plugins.iter().map(plugin).collect::<Vec<_>>(),
        "tenants": sample.tenants.iter().map(tenant).collect::<Vec<_>>(),
        "dropped": dropped.collect::<Vec<_>>(),
    })
}

fn part(part: &Part) -> Json {
    json!({ "component": part.component, "name": part.name, "health": part.health.word() })
}

fn disk_json(disk: &Disk) -> Json {
    let Disk { reads, read_bytes, writes, written_bytes, errors } = disk;
    json!({
        "reads_per_second": reads,
        "read_bytes_per_second": read_bytes,
        "writes_per_second": writes,
        "written_bytes_per_second": written_bytes,
        "errors": errors,
    })
}

fn spread(spread: &Option<Histogram>) -> Json {
    let Some(all) = spread else { return Json::Null };
    json!({
        "count": all.count(),
        "p50": quantile(spread, 0.5),
        "p90": quantile(spread, 0.9),
        "p99": quantile(spread, 0.99),
        "bounds": all.bounds,
        "counts": all.counts,
    })
}

fn table(table: &Table) -> Json {
    let level = |level: &Level| json!({ "level": level.level, "segments": level.segments, "bytes": level.bytes });
    let levels: Vec<_> = table.levels.iter().map(level).collect();
    json!({ "name": table.name, "segments": table.segments, "bytes": table.bytes, "levels": levels })
}

fn plugin(plugin: &Plugin) -> Json {
    json!({
        "name": plugin.name,
        "calls_per_second": plugin.calls,
        "failures": plugin.failures_total,
        "failures_per_second": plugin.failures,
        "fuel_per_second": plugin.fuel,
        "call_seconds": spread(&plugin.latency),
        "memory_bytes": plugin.memory_bytes,
        "instances": plugin.instances,
        "quarantined": plugin.is_quarantined,
    })
}

fn tenant(tenant: &Tenant) -> Json {
    json!({
        "name": tenant.name,
        "calls_per_second": tenant.calls,
        "refused_per_second": tenant.refused,
        "fuel_per_second": tenant.fuel,
        "memory_bytes": tenant.memory_bytes,
        "storage_bytes": tenant.storage_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_null_and_names_stay_as_they_are() {
        let tables = vec![Table { name: "a\u{1b}[2J".into(), ..Table::default() }];
        let json = object("db", &Sample { commits: Some(1.5), tables, ..Sample::default() });
        assert_eq!(json["commits_per_second"], 1.5);
        assert_eq!(json["conflicts_per_second"], Json::Null);
        assert_eq!(json["commit_seconds"], Json::Null);
        assert_eq!(json["tables"][0]["name"], "a\u{1b}[2J");
        assert!(!json.to_string().contains('\u{1b}'), "JSON has an escape of its own");
    }
}
