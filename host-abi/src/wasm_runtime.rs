//! The one engine all plugins run in: how code is compiled, what it may import, and the clock that
//! stops it.
//!
//! Every plugin is metered by fuel *and* by epochs. Fuel bounds the work, the same way on every
//! machine; the epoch bounds the time, which fuel cannot see when the machine is slow. A thread of ours
//! advances the epoch every [`TICK`] while calls run, and sleeps when there are none.
//!
//! What plugins do not need is switched off, because what is not there cannot be attacked: threads,
//! 64-bit memories, garbage collection, exceptions, stack switching, async components. Several memories
//! stay on, since composed components need them; their sum is what is bounded.

use crate::compiled_code::{CompileOptions, EngineKey};
use crate::limits;
use crate::wasm_host_abi::{self, GuestState};
use parking_lot::{Condvar, Mutex};
use sochdb_kernel::{KernelError, KernelResult};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use wasmtime::component::Linker;
use wasmtime::{Config, Engine, WasmFeatures};

/// How often running code looks at the clock: a runaway is stopped that much after its deadline.
const TICK: Duration = Duration::from_millis(1);
/// Ticks without any call after which the thread goes to sleep, so that a busy host does not wake it
/// for each call and an idle one does not burn the processor.
const IDLE_TICKS_MAX: u32 = 100;

/// Engine, linker and ticker. One per [`PluginHost`](crate::PluginHost).
pub(crate) struct Runtime {
    engine: Engine,
    linker: Linker<GuestState>,
    engine_key: EngineKey,
    compile_options: CompileOptions,
    ticker: Arc<Ticker>,
    thread: Option<JoinHandle<()>>,
}

impl Runtime {
    /// # Errors
    /// `Unavailable` when this machine cannot run WebAssembly, or gives us no thread.
    pub(crate) fn new(compile_options: CompileOptions) -> KernelResult<Runtime> {
        let failed = |error: wasmtime::Error| {
            KernelError::unavailable(format!("start the WebAssembly engine: {error:#}"))
        };
        let engine = Engine::new(&config()).map_err(failed)?;
        let mut linker = Linker::new(&engine);
        wasm_host_abi::link(&mut linker).map_err(failed)?;
        let ticker = Arc::new(Ticker::default());
        let thread = {
            let (engine, ticker) = (engine.clone(), ticker.clone());
            let thread = std::thread::Builder::new().name("sochdb-epochs".into());
            let thread = thread.spawn(move || ticker.run(&engine));
            thread.map_err(|error| KernelError::io("start the thread that stops plugins", error))?
        };
        let engine_key = EngineKey::of(&engine);
        Ok(Runtime { engine, linker, engine_key, compile_options, ticker, thread: Some(thread) })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn linker(&self) -> &Linker<GuestState> {
        &self.linker
    }

    /// Names the engine, for code compiled for it.
    pub(crate) fn engine_key(&self) -> &EngineKey {
        &self.engine_key
    }

    /// How code is compiled and where it is kept.
    pub(crate) fn compile_options(&self) -> &CompileOptions {
        &self.compile_options
    }

    /// Keeps the epoch advancing until the answer is dropped.
    pub(crate) fn running(&self) -> Running<'_> {
        self.ticker.begin();
        Running(&self.ticker)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.ticker.stop();
        if let Some(thread) = self.thread.take() {
            // It can only have panicked if the engine did; there is nothing left to stop then.
            let _ = thread.join();
        }
    }
}

/// How every engine is configured, here and in a compiler of its own process.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(limits::STACK_BYTES_MAX)
        // On by default, and makes every call two to four times dearer.
        .concurrency_support(false)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(32))
        // Backtraces name functions, which needs neither: an eighth of compiled code, and a registry of the system's
        // unwinder that each plugin would have to be entered into.
        .generate_address_map(false)
        .native_unwind_info(cfg!(windows))
        .wasm_features(
            WasmFeatures::THREADS
                | WasmFeatures::SHARED_EVERYTHING_THREADS
                | WasmFeatures::MEMORY64
                | WasmFeatures::GC
                | WasmFeatures::FUNCTION_REFERENCES
                | WasmFeatures::EXCEPTIONS
                | WasmFeatures::LEGACY_EXCEPTIONS
                | WasmFeatures::STACK_SWITCHING
                | WasmFeatures::TAIL_CALL
                | WasmFeatures::RELAXED_SIMD
                | WasmFeatures::WIDE_ARITHMETIC
                | WasmFeatures::CUSTOM_PAGE_SIZES,
            false,
        )
        .wasm_multi_memory(true);
    config
}

/// The thread's side and the calls' side of the epoch.
#[derive(Default)]
struct Ticker {
    /// Calls running now.
    calls: AtomicU64,
    state: Mutex<TickerState>,
    wake: Condvar,
}

#[derive(Default)]
struct TickerState {
    asleep: bool,
    stopped: bool,
}

/// While it lives, the epoch advances.
pub(crate) struct Running<'a>(&'a Ticker);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Ticker {
    fn begin(&self) {
        // The thread looks at `calls` once more after it has said that it sleeps, so one of us sees
        // the other.
        if self.calls.fetch_add(1, Ordering::SeqCst) == 0 {
            let mut state = self.state.lock();
            if std::mem::take(&mut state.asleep) {
                self.wake.notify_one();
            }
        }
    }

    fn stop(&self) {
        self.state.lock().stopped = true;
        self.wake.notify_one();
    }

    fn run(&self, engine: &Engine) {
        let mut idle_ticks = 0;
        loop {
            let mut state = self.state.lock();
            if state.stopped {
                return;
            }
            idle_ticks = if self.calls.load(Ordering::SeqCst) == 0 { idle_ticks + 1 } else { 0 };
            if idle_ticks < IDLE_TICKS_MAX {
                self.wake.wait_for(&mut state, TICK);
            } else {
                state.asleep = true;
                while state.asleep && !state.stopped && self.calls.load(Ordering::SeqCst) == 0 {
                    self.wake.wait(&mut state);
                }
                state.asleep = false;
                idle_ticks = 0;
            }
            drop(state);
            engine.increment_epoch();
        }
    }
}
