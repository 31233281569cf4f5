//! Loop devices and mounts that are always given back, and commands that never wait for ever.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a command may take: far more than it needs on a busy machine.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(60);

/// Waits for `child` until `time_max` has passed; one that is late is killed and not waited for, because
/// a process stuck in the disk cannot die.
pub fn wait(child: &mut Child, time_max: Duration) -> Result<ExitStatus, String> {
    let end = Instant::now() + time_max;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(2)),
            Ok(None) => {
                let _ = child.kill();
                return Err(format!("not done after {} s", time_max.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Runs a command and returns what it printed.
pub fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let what = format!("{program} {}", arguments.join(" "));
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{what}: {error}"))?;
    let status = wait(&mut child, COMMAND_TIME_MAX).map_err(|error| format!("{what}: {error}"))?;
    let output = child.wait_with_output().map_err(|error| format!("{what}: {error}"))?;
    match status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(format!("{what}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// Why mounts and loop devices cannot be had here, if they cannot.
pub fn refusal(devices: &[&str]) -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    if user.and_then(|ids| ids.split_whitespace().nth(1)) != Some("0") {
        return Some("it needs root".to_owned());
    }
    if let Some(missing) = devices.iter().find(|device| !Path::new(device).exists()) {
        return Some(format!("there is no {missing}"));
    }
    run("mkfs.ext4", &["-V"]).and_then(|_| run("losetup", &["-V"])).err()
}

/// A loop device on a file.
pub struct Loop {
    pub device: String,
}

impl Loop {
    pub fn new(file: &Path) -> Result<Loop, String> {
        let file = file.to_str().expect("temporary folders have plain names");
        run("losetup", &["--find", "--show", file]).map(|device| Loop { device })
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if let Err(error) = run("losetup", &["--detach", &self.device]) {
            eprintln!("{error}");
        }
    }
}

/// A mounted file system.
pub struct Mounted {
    pub dir: PathBuf,
}

impl Mounted {
    pub fn new(kind: &str, options: &str, device: &str, dir: &Path) -> Result<Mounted, String> {
        let path = dir.to_str().expect("temporary folders have plain names");
        run("mount", &["-t", kind, "-o", options, device, path])?;
        Ok(Mounted { dir: dir.to_path_buf() })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let path = self.dir.to_str().expect("it was mounted by this name");
        // Out of the way even if something still holds a file in it.
        if let Err(error) = run("umount", &[path]).or_else(|_| run("umount", &["--lazy", path])) {
            eprintln!("{error}");
        }
    }
}
