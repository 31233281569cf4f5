//! What this process holds of memory, as Linux tells it.
//!
//! The engine reserves more than four gibibytes of addresses for each linear memory, so a single instance
//! that was not given back shows.

/// Addresses and memory of this process, in bytes.
pub struct Process {
    addresses: u64,
    resident: u64,
}

/// What one linear memory reserves.
const INSTANCE_ADDRESSES: u64 = 4 << 30;
/// What allocators keep for later, whatever runs.
const RESIDENT_SLACK: u64 = 96 << 20;

impl Process {
    /// As it is now, where the system tells.
    pub fn now() -> Option<Process> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name))?;
            Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
        };
        Some(Process { addresses: field("VmSize:")?, resident: field("VmRSS:")? })
    }

    /// Checks that no instance was left since then and memory has not grown, and says so.
    pub fn check_no_leak(&self) -> String {
        let now = Process::now().expect("it was there before");
        let addresses = now.addresses.saturating_sub(self.addresses);
        let resident = now.resident.saturating_sub(self.resident);
        assert!(addresses < INSTANCE_ADDRESSES, "{addresses} bytes of addresses more than before");
        assert!(resident < RESIDENT_SLACK, "{resident} bytes of memory more than before");
        format!("no instance left, {} MiB grown", resident >> 20)
    }
}
