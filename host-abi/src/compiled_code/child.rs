//! A compiler in a process of its own: the host's side.
//!
//! Each component gets a process, which ends with it. The host writes a request to its standard input,
//! reads the answer from its standard output, and kills it when its time is over. What ends a component
//! that asks for too much, and why the bounds are where they are:
//!
//! | bound                 | default | enforced by              | because                                  |
//! |-----------------------|--------:|--------------------------|------------------------------------------|
//! | `address_space_bytes` |   4 GiB | the system, in the child | see below                                |
//! | `cpu_s`               |    60 s | the system, in the child | enough for 20 MB of usual code           |
//! | `wall_s`              |   120 s | the host, by killing it  | twice that, for a busy machine           |
//! | bytes of the answer   | 256 MiB | the host, by killing it  | four times the largest component         |
//! | files, core dumps     |    none | the system, in the child | a compiler writes to its output only     |
//!
//! Address space is what a system bounds exactly. It counts what is reserved, used or not: 60 MiB for the
//! program, and for each of [`THREADS`] threads a stack of 2 MiB and an arena of 64 MiB. A function of the
//! largest size that `shape.rs` lets through can take 0.7 GiB while it is compiled, one of half that size half of
//! it, and each thread has one at a time. It lets two of the largest through: 2.5 GiB together, and the rest is for
//! the component as a whole. The threads are few and their number fixed, so that what compiles on a small machine
//! also compiles on one with a hundred cores.
//!
//! The request:
//!
//! | offset | size | type  | field                 | meaning                                            |
//! |-------:|-----:|-------|-----------------------|----------------------------------------------------|
//! |      0 |    8 | bytes | `magic`               | `SOCHCOMP`                                         |
//! |      8 |    4 | u32   | version               | 1                                                  |
//! |     12 |    4 | bytes | padding               | zero                                               |
//! |     16 |    8 | u64   | `address_space_bytes` | applied by the child before it reads on            |
//! |     24 |    8 | u64   | `cpu_s`               | the same                                           |
//! |     32 |    8 | u64   | `len`                 | bytes of the component                             |
//! |     40 |   32 | bytes | engine                | what the host's engine is; the child's must be it  |
//! |     72 |   32 | bytes | key                   | made for this request; the answer is sealed with it |
//! |    104 |    n | bytes | component             |                                                    |
//!
//! Integers are little-endian. The answer is an exit code and what is on standard output:
//!
//! | code | output                                | meaning                                     |
//! |-----:|---------------------------------------|---------------------------------------------|
//! |    0 | a sealed artifact (see `artifact.rs`) | compiled                                    |
//! |   64 | why, as text                          | the component is not valid                  |
//! |   65 | why, as text                          | memory ran out                              |
//! |   66 | why, as text                          | the request could not be served             |
//!
//! The child keeps a component from taking the host's memory and time, and its crash from being the
//! host's. It is no sandbox: who makes the compiler write what he wants is executed by the host in the end.

use super::artifact::{Artifact, CodeId, EngineKey};
use sochdb_kernel::{KernelError, KernelResult};
use std::ffi::OsString;
use std::path::PathBuf;

/// The argument by which a program knows that it is to call [`compile_child`](super::compile_child).
const ARGUMENT: &str = "compile-component";
/// Set in the environment of a compiler. A program that is started as one and goes on with its usual work
/// would start itself for ever.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
const STARTED: &str = "SOCHDB_COMPILER_PROCESS";
/// Threads that compile, one function each at a time.
pub(super) const THREADS: u32 = 4;

/// A program that compiles components, one a process, with limits.
///
/// The program calls [`compile_child`](super::compile_child) when it is started with these arguments; the
/// `sochdb` command does. It must be built of the same version of this crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildCompiler {
    /// What is started.
    pub program: PathBuf,
    /// With which arguments.
    pub args: Vec<OsString>,
    /// What it may use.
    pub limits: CompileLimits,
}

/// What compiling one component may use; the table of this module's source has the reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Bytes of address space of the process, the program itself included.
    pub address_space_bytes: u64,
    /// Seconds of processor time, over all its threads.
    pub cpu_s: u64,
    /// Seconds until it is killed.
    pub wall_s: u64,
}

impl Default for CompileLimits {
    /// 4 GiB, 60 s and 120 s.
    fn default() -> Self {
        CompileLimits { address_space_bytes: 4 << 30, cpu_s: 60, wall_s: 120 }
    }
}

impl ChildCompiler {
    /// This very program, started again with the argument `compile-component`: its `main` has to call
    /// [`compile_child`](super::compile_child) then, before anything else.
    ///
    /// # Errors
    /// `Unavailable` when the program cannot be found.
    pub fn this_program() -> KernelResult<ChildCompiler> {
        // This path means the running program even when its file was replaced by a newer version.
        let program = if cfg!(any(target_os = "linux", target_os = "android")) {
            PathBuf::from("/proc/self/exe")
        } else {
            std::env::current_exe()
                .map_err(|error| KernelError::io("find the running program", error))?
        };
        Ok(ChildCompiler { program, args: vec![ARGUMENT.into()], limits: CompileLimits::default() })
    }

    /// The artifact `id` of the component `bytes`. `shown` names them in errors.
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    pub(super) fn compile(
        &self,
        _: &EngineKey,
        _: &CodeId,
        shown: &str,
        _: &[u8],
    ) -> KernelResult<Artifact> {
        Err(KernelError::unavailable(format!(
            "compile {shown} in a process with limits: this system does not bound a process's memory; \
             compile in this process, if you trust the component"
        )))
    }

    /// The artifact `id` of the component `bytes`. `shown` names them in errors.
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    pub(super) fn compile(
        &self,
        engine: &EngineKey,
        id: &CodeId,
        shown: &str,
        bytes: &[u8],
    ) -> KernelResult<Artifact> {
        if std::env::var_os(STARTED).is_some() {
            return Err(KernelError::unavailable(format!(
                "compile {shown}: this program was itself started to compile a component, and did not call \
                 `compile_child`"
            )));
        }
        let key = super::artifact::SealKey::random()?;
        let CompileLimits { address_space_bytes, cpu_s, .. } = self.limits;
        let len = bytes.len() as u64;
        let request = request::Request { address_space_bytes, cpu_s, len, engine: *engine, key };
        let ended = process::run(self, &request, bytes)?;
        process::answer(self, ended, &request.key, id, shown)
    }
}

/// The request, as bytes.
pub(super) mod request {
    use super::super::artifact::{EngineKey, SealKey};

    const MAGIC: &[u8; 8] = b"SOCHCOMP";
    const VERSION: u32 = 1;
    const AT_NUMBERS: usize = 8 + 4 + 4;
    const AT_ENGINE: usize = AT_NUMBERS + 3 * 8;
    const AT_KEY: usize = AT_ENGINE + 32;
    pub(in super::super) const HEADER_BYTES: usize = AT_KEY + 32;
    const _: () = assert!(HEADER_BYTES == 104, "the table above says so");

    pub(in super::super) struct Request {
        pub address_space_bytes: u64,
        pub cpu_s: u64,
        pub len: u64,
        pub engine: EngineKey,
        pub key: SealKey,
    }

    impl Request {
        pub(in super::super) fn encode(&self) -> [u8; HEADER_BYTES] {
            let mut header = [0; HEADER_BYTES];
            header[..8].copy_from_slice(MAGIC);
            header[8..12].copy_from_slice(&VERSION.to_le_bytes());
            let numbers = [self.address_space_bytes, self.cpu_s, self.len].map(u64::to_le_bytes);
            header[AT_NUMBERS..AT_ENGINE].copy_from_slice(numbers.as_flattened());
            header[AT_ENGINE..AT_KEY].copy_from_slice(&self.engine.0);
            header[AT_KEY..].copy_from_slice(&self.key.0);
            header
        }

        pub(in super::super) fn decode(header: &[u8; HEADER_BYTES]) -> Option<Request> {
            let right = header[..8] == *MAGIC && header[8..12] == VERSION.to_le_bytes();
            if !right || header[12..AT_NUMBERS] != [0; 4] {
                return None;
            }
            let bytes = |at: usize| header[at..at + 32].try_into().expect("32 bytes");
            let number = |index: usize| {
                let at = AT_NUMBERS + 8 * index;
                u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"))
            };
            Some(Request {
                address_space_bytes: number(0),
                cpu_s: number(1),
                len: number(2),
                engine: EngineKey(bytes(AT_ENGINE)),
                key: SealKey(bytes(AT_KEY)),
            })
        }
    }
}

/// The exit codes of the table above.
pub(super) mod exit {
    pub(in super::super) const INVALID: u8 = 64;
    pub(in super::super) const MEMORY: u8 = 65;
    pub(in super::super) const UNSERVED: u8 = 66;
}

/// Starting the process, feeding it, and making sense of its end.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
mod process {
    use super::super::artifact::{self, ARTIFACT_BYTES_MAX, Artifact, BadSeal, CodeId, SealKey};
    use super::request::Request;
    use super::{ChildCompiler, CompileLimits, STARTED, THREADS, exit};
    use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
    use sochdb_kernel::{KernelError, KernelResult, PluginFault};
    use std::io::{self, Read, Write};
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Child, Command, ExitStatus, Stdio};
    use std::sync::mpsc::{RecvTimeoutError, channel};
    use std::time::{Duration, Instant};

    /// The most that is read of an answer.
    const OUTPUT_BYTES_MAX: u64 = ARTIFACT_BYTES_MAX + artifact::HEADER_BYTES as u64;
    /// Of what the process says on its standard error, and of its reasons, so much is kept.
    const WORDS_BYTES_MAX: usize = 2 << 10;
    /// How often we look whether it ended.
    const POLL: Duration = Duration::from_millis(1);

    /// How a process ended.
    pub(super) struct Ended {
        status: ExitStatus,
        output: Vec<u8>,
        words: String,
        killed: Option<Killed>,
    }

    /// Why we killed it.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Killed {
        Late,
        TooMuch,
    }

    /// A process of ours that does not outlive its handle.
    struct Running(Child);

    impl Running {
        /// Whether it ended. It is not waited for, so its number remains its own.
        fn has_ended(&self) -> bool {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            // With an error there is no such process any more.
            !matches!(waitid(WaitId::Pid(Pid::from_child(&self.0)), options), Ok(None))
        }

        /// Kills it with all that it started. Must not have been waited for.
        fn kill(&self) {
            // There is nothing left to kill if that fails.
            let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            // Left without its end being seen, by a panic for one.
            if let Ok(None) = self.0.try_wait() {
                self.kill();
                let _ = self.0.wait();
            }
        }
    }

    pub(super) fn run(
        compiler: &ChildCompiler,
        request: &Request,
        component: &[u8],
    ) -> KernelResult<Ended> {
        let program = compiler.program.display();
        let deadline = Instant::now() + Duration::from_secs(compiler.limits.wall_s);
        let child = Command::new(&compiler.program)
            .args(&compiler.args)
            .env("RAYON_NUM_THREADS", THREADS.to_string())
            .env("RUST_BACKTRACE", "0")
            .env(STARTED, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        let child = child
            .map_err(|error| KernelError::io(format!("start the compiler {program}"), error))?;
        let mut running = Running(child);
        let pipes = (running.0.stdin.take(), running.0.stdout.take(), running.0.stderr.take());
        let (Some(mut stdin), Some(stdout), Some(stderr)) = pipes else {
            unreachable!("all three were asked for")
        };
        // The threads end with the pipes, and the pipes with the process group.
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // A process that ended early says more by its exit code than by a broken pipe.
                let _ =
                    stdin.write_all(&request.encode()).and_then(|()| stdin.write_all(component));
            });
            let words = scope.spawn(move || first_words(stderr));
            let (sender, receiver) = channel();
            let output = scope.spawn(move || {
                let mut output = Vec::new();
                let read = stdout.take(OUTPUT_BYTES_MAX + 1).read_to_end(&mut output);
                // Nobody waits for it any more when the process ended first.
                let _ = sender.send(output.len() as u64);
                read.map(|_| output)
            });
            let mut killed = None;
            while killed.is_none() && !running.has_ended() {
                killed = match receiver.recv_timeout(POLL) {
                    Ok(bytes) if OUTPUT_BYTES_MAX < bytes => Some(Killed::TooMuch),
                    _ if deadline <= Instant::now() => Some(Killed::Late),
                    Err(RecvTimeoutError::Disconnected) => {
                        // The output is complete, its end is a matter of a moment.
                        std::thread::sleep(POLL);
                        None
                    }
                    Ok(_) | Err(RecvTimeoutError::Timeout) => None,
                };
            }
            // Also when it ended by itself: what it left behind holds the pipes.
            running.kill();
            let failed =
                |error| KernelError::io(format!("hear from the compiler {program}"), error);
            let status = running.0.wait().map_err(failed)?;
            let words = words.join().expect("reading does not panic");
            let output = output.join().expect("reading does not panic").map_err(failed)?;
            Ok(Ended { status, output, words, killed })
        })
    }

    /// The beginning of what is said; the rest is read and dropped, so that nobody waits for us.
    fn first_words(mut pipe: impl Read) -> String {
        let mut words = Vec::new();
        let _ = pipe.by_ref().take(WORDS_BYTES_MAX as u64).read_to_end(&mut words);
        let _ = io::copy(&mut pipe, &mut io::sink());
        text(&words)
    }

    fn text(bytes: &[u8]) -> String {
        let bytes = &bytes[..bytes.len().min(WORDS_BYTES_MAX)];
        String::from_utf8_lossy(bytes).trim().to_owned()
    }

    /// What the end of a process means.
    pub(super) fn answer(
        compiler: &ChildCompiler,
        ended: Ended,
        key: &SealKey,
        id: &CodeId,
        shown: &str,
    ) -> KernelResult<Artifact> {
        let CompileLimits { address_space_bytes, cpu_s, wall_s } = compiler.limits;
        let program = compiler.program.display();
        let exhausted = |what: String| {
            let message = format!("compiling it {what}; if you trust it, raise the limit");
            Err(KernelError::plugin(shown, PluginFault::Exhausted, message))
        };
        match ended.killed {
            Some(Killed::Late) => return exhausted(format!("took longer than {wall_s} s")),
            Some(Killed::TooMuch) => {
                let what = "the compiled code of a component in bytes";
                let bound = ARTIFACT_BYTES_MAX;
                return Err(KernelError::Limit { what, got: bound + 1, bound });
            }
            None => {}
        }
        let memory =
            || format!("needed more memory than the {} MiB it may have", address_space_bytes >> 20);
        if ended.status.success() {
            return Artifact::unseal(ended.output, key, id).map_err(|BadSeal(why)| {
                KernelError::unavailable(format!(
                    "compile {shown}: what the program {program} answered {why}; it must call \
                     `compile_child` and be of this version"
                ))
            });
        }
        let code = ended.status.code().and_then(|code| u8::try_from(code).ok());
        let signal = ended.status.signal();
        let said =
            if ended.words.is_empty() { String::new() } else { format!(": {}", ended.words) };
        match (code, signal) {
            (Some(exit::INVALID), _) => Err(KernelError::invalid(format!(
                "{shown} is not a valid component: {}",
                text(&ended.output)
            ))),
            (Some(exit::MEMORY), _) => exhausted(memory()),
            // The standard library's words before it aborts.
            _ if ended.words.contains("memory allocation of") => exhausted(memory()),
            (_, Some(signal)) if signal == Signal::XCPU.as_raw() => {
                exhausted(format!("took more than {cpu_s} s of processor time"))
            }
            (Some(exit::UNSERVED), _) => Err(KernelError::unavailable(format!(
                "compile {shown} with {program}: {}",
                text(&ended.output)
            ))),
            (_, Some(signal)) if signal == Signal::KILL.as_raw() => {
                exhausted("took so much that the system killed the compiler".to_owned())
            }
            (_, Some(_)) | (Some(101), _) => Err(KernelError::invalid(format!(
                "{shown} cannot be compiled: the compiler breaks down over it ({}){said}",
                ended.status
            ))),
            _ => Err(KernelError::unavailable(format!(
                "compile {shown}: the program {program} is no compiler of components ({}){said}",
                ended.status
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::artifact::{EngineKey, SealKey};
    use super::request::{HEADER_BYTES, Request};
    use expect_test::expect;

    #[test]
    fn a_request_has_these_bytes() {
        let request = Request {
            address_space_bytes: 4 << 30,
            cpu_s: 60,
            len: 0x1234,
            engine: EngineKey([0xEE; 32]),
            key: SealKey([0x77; 32]),
        };
        let bytes = request.encode();
        let hex = |byte: &u8| format!("{byte:02x}");
        expect!["534f4348434f4d50010000000000000000000000010000003c000000000000003412000000000000eeeeeeeeeeeeeeee"].assert_eq(&bytes[..48].iter().map(hex).collect::<String>());
        assert_eq!((&bytes[40..72], &bytes[72..]), (&[0xEE; 32][..], &[0x77; 32][..]));
        let back = Request::decode(&bytes).unwrap();
        assert_eq!((back.address_space_bytes, back.cpu_s, back.len), (4 << 30, 60, 0x1234));
        assert_eq!(back.engine, request.engine);
        assert_eq!(back.key.0, request.key.0);
        for at in 0..16 {
            let mut wrong = bytes;
            wrong[at] ^= 1;
            assert!(Request::decode(&wrong).is_none(), "{at}");
        }
        assert!(Request::decode(&[0; HEADER_BYTES]).is_none());
    }
}
