//! The thread that watches folders of plugins, and says what has changed once it is still.
//!
//! ```text
//!   events of the file system ─┐
//!   every `poll`              ─┼─▶ scan the folders ─▶ Settling ─▶ Watcher::changed, Watcher::gone
//!   poke()                    ─┘
//!   every `tick` while Watcher::wants_tick()        ─────────────▶ Watcher::tick
//! ```
//!
//! 1. Events only wake the thread earlier; what it does depends on what lies in the folders alone. So it works, up
//!    to `poll` later, where there are none, as on network file systems or when the system has run out of them.
//! 2. A watcher is called by this thread alone, one call at a time.
//! 3. A folder that cannot be read counts as unchanged. One that does not exist is empty, and may come later.
//! 4. The thread scans for half of its time at most, however many events come.
//! 5. A watcher that panics has answered [`Answer::Done`].

mod settling;

pub use settling::{Answer, Change, Settling};

use crate::folders::{Print, Scanner, folder_id};
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The least for every duration in [`WatchOptions`], so that none of them makes the thread run all the time.
const LEAST: Duration = Duration::from_millis(1);

/// Who is told what has changed.
pub trait Watcher: Send {
    /// `manifest` is new, or it, its signature or its component has other bytes. It may change again before it is
    /// read; then there is another call, perhaps one too many.
    fn changed(&mut self, manifest: &Path) -> Answer;

    /// There is no such manifest any more.
    fn gone(&mut self, manifest: &Path) -> Answer;

    /// Whether [`tick`](Self::tick) is to be called now and then. Asked after every other call, at every scan and
    /// after [`Watch::wake`].
    fn wants_tick(&mut self) -> bool;

    /// Goes on with what takes its time.
    fn tick(&mut self);
}

/// How patient a [`Watch`] is. Less than a millisecond counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchOptions {
    /// How long a manifest must be as it is before it counts.
    pub quiet: Duration,
    /// How often folders are looked at when no event comes.
    pub poll: Duration,
    /// How often [`Watcher::tick`] is called while that is wanted.
    pub tick: Duration,
}

impl Default for WatchOptions {
    fn default() -> WatchOptions {
        WatchOptions {
            quiet: Duration::from_millis(300),
            poll: Duration::from_secs(2),
            tick: Duration::from_millis(25),
        }
    }
}

/// The running thread; dropping it ends and joins it, after the call of the watcher in which it is.
pub struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts the thread. What lies in `folders` now counts as dealt with.
    ///
    /// # Errors
    /// As [`Scanner::scan`], and when there can be no thread.
    pub fn start(
        mut folders: Vec<Scanner>,
        options: WatchOptions,
        watcher: Box<dyn Watcher>,
    ) -> io::Result<Watch> {
        let mut applied = BTreeMap::new();
        for folder in &mut folders {
            applied.append(&mut folder.scan()?);
        }
        Watch::start_after(folders, applied, options, watcher)
    }

    /// Starts the thread. `applied`, which the scans of the folders found earlier, counts as dealt with: who
    /// scans before it loads the manifests misses no change in between.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start_after(
        folders: Vec<Scanner>,
        applied: BTreeMap<PathBuf, Print>,
        options: WatchOptions,
        watcher: Box<dyn Watcher>,
    ) -> io::Result<Watch> {
        Watch::spawn(folders, applied, options, watcher, true)
    }

    fn spawn(
        folders: Vec<Scanner>,
        applied: BTreeMap<PathBuf, Print>,
        options: WatchOptions,
        watcher: Box<dyn Watcher>,
        with_events: bool,
    ) -> io::Result<Watch> {
        let options = WatchOptions {
            quiet: options.quiet.max(LEAST),
            poll: options.poll.max(LEAST),
            tick: options.tick.max(LEAST),
        };
        let now = Instant::now();
        let shared = Arc::new(Shared::default());
        shared.signals.lock().poked = true;
        let folders: Vec<_> = folders.into_iter().map(Folder::new).collect();
        let mut work = Work {
            events: with_events.then(|| Events::start(&shared, &folders)).flatten(),
            shared: shared.clone(),
            folders,
            settling: Settling::new(applied, options.quiet),
            options,
            watcher,
            wants_tick: false,
            looked: now,
            pause: Duration::ZERO,
            ticked: now,
            tick_panicked: false,
        };
        work.follow(false);
        let thread = std::thread::Builder::new().name("sochdb-plugin-folders".into());
        let thread = thread.spawn(move || work.run())?;
        Ok(Watch { shared, thread: Some(thread) })
    }

    /// Looks at the folders now. What has changed still has to be quiet.
    pub fn poke(&self) {
        self.shared.signal(|signals| signals.poked = true);
    }

    /// Asks [`Watcher::wants_tick`] now, without looking at any folder.
    pub fn wake(&self) {
        self.shared.signal(|signals| signals.woken = true);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.signal(|signals| signals.stopped = true);
        let Some(thread) = self.thread.take() else { return };
        // A watcher may own what owns this; then the thread ends when that call returns.
        if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
            tracing::error!("the thread that watches plugin folders panicked");
        }
    }
}

#[derive(Default)]
struct Shared {
    signals: Mutex<Signals>,
    wake: Condvar,
}

/// What the thread is to do.
#[derive(Default, Clone, Copy)]
struct Signals {
    stopped: bool,
    /// Look at once.
    poked: bool,
    /// Ask the watcher.
    woken: bool,
    /// Something happened in a folder: look soon.
    event: bool,
    /// A folder was moved or removed: ask for its events anew.
    lost: bool,
}

impl Shared {
    fn signal(&self, set: impl FnOnce(&mut Signals)) {
        set(&mut self.signals.lock());
        self.wake.notify_one();
    }
}

/// One folder.
struct Folder {
    scanner: Scanner,
    /// The folder as events name it.
    absolute: PathBuf,
    /// Whose events come, as [`folder_id`] says it.
    watched: Option<FolderId>,
    /// Why it could not be read when it was last tried.
    trouble: Option<String>,
}

#[cfg(unix)]
type FolderId = (u64, u64);
#[cfg(not(unix))]
type FolderId = std::time::SystemTime;

impl Folder {
    fn new(scanner: Scanner) -> Folder {
        let folder = scanner.folder();
        let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        Folder { scanner, absolute, watched: None, trouble: None }
    }

    /// What lies in it; what did when it was last dealt with, if it cannot be read.
    fn scan(&mut self, applied: &BTreeMap<PathBuf, Print>) -> BTreeMap<PathBuf, Print> {
        let error = match self.scanner.scan() {
            Ok(found) => {
                self.trouble = None;
                return found;
            }
            Err(error) => error.to_string(),
        };
        let folder = self.scanner.folder();
        if self.trouble.as_ref() != Some(&error) {
            tracing::warn!(folder = %folder.display(), error, "a plugin folder cannot be read");
            self.trouble = Some(error);
        }
        let is_here = |(path, _): &(&PathBuf, &Print)| path.parent() == Some(folder);
        applied.iter().filter(is_here).map(|(path, print)| (path.clone(), *print)).collect()
    }
}

/// The file system's own word that something happened.
struct Events {
    watcher: RecommendedWatcher,
    /// Whether it was said that some do not come.
    warned: bool,
}

impl Events {
    fn start(shared: &Arc<Shared>, folders: &[Folder]) -> Option<Events> {
        let shared = shared.clone();
        let folders: Vec<_> = folders.iter().map(|folder| folder.absolute.clone()).collect();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return shared.signal(|signals| signals.event = true) };
            if is_write(&event.kind) {
                let lost =
                    is_move(&event.kind) && event.paths.iter().any(|it| folders.contains(it));
                shared.signal(|signals| {
                    signals.event = true;
                    signals.lost |= lost;
                });
            }
        });
        match watcher {
            Ok(watcher) => Some(Events { watcher, warned: false }),
            Err(error) => {
                warn_of_no_events(&error);
                None
            }
        }
    }

    /// Asks for the events of the folder that the path leads to now.
    fn follow(&mut self, folder: &mut Folder, lost: bool) {
        let present = folder_id(&folder.absolute);
        if present == folder.watched && !lost {
            return;
        }
        if folder.watched.take().is_some() {
            // Refused when the folder has gone, and its events with it.
            let _ = self.watcher.unwatch(&folder.absolute);
        }
        if present.is_none() {
            return;
        }
        match self.watcher.watch(&folder.absolute, RecursiveMode::NonRecursive) {
            Ok(()) => folder.watched = present,
            // It went just now, or cannot be read, which the scan says.
            Err(_) if !folder.absolute.is_dir() => {}
            Err(error) if !self.warned => {
                self.warned = true;
                warn_of_no_events(&error);
            }
            Err(_) => {}
        }
    }
}

fn warn_of_no_events(error: &notify::Error) {
    tracing::warn!(%error, "no events of plugin folders: they are only looked at now and then");
}

/// Whether there may be something new to read. Reading makes events too, ours among them.
fn is_write(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(access) => *access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

fn is_move(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)))
}

/// The thread's own.
struct Work {
    shared: Arc<Shared>,
    folders: Vec<Folder>,
    events: Option<Events>,
    settling: Settling,
    options: WatchOptions,
    watcher: Box<dyn Watcher>,
    wants_tick: bool,
    /// When the last scan ended, and how long events wait for the next.
    looked: Instant,
    pause: Duration,
    ticked: Instant,
    tick_panicked: bool,
}

impl Work {
    fn run(&mut self) {
        while let Some(signals) = self.wait() {
            self.tick();
            let now = Instant::now();
            if signals.poked || self.look_at(signals.event).is_some_and(|at| at <= now) {
                self.look();
            }
        }
    }

    /// Waits until there may be something to do; `None` when it is to end.
    fn wait(&mut self) -> Option<Signals> {
        let mut signals = self.shared.signals.lock();
        loop {
            if signals.stopped {
                return None;
            }
            let tick_at = self.ticked.checked_add(self.options.tick).filter(|_| self.wants_tick);
            let until = self.look_at(signals.event).into_iter().chain(tick_at).min();
            let is_due = until.is_some_and(|until| until <= Instant::now());
            if is_due || signals.poked || signals.woken {
                signals.woken = false;
                return Some(*signals);
            }
            match until {
                Some(until) => _ = self.shared.wake.wait_until(&mut signals, until),
                None => self.shared.wake.wait(&mut signals),
            }
        }
    }

    /// When the folders are to be looked at; `event` says whether something happened in one.
    fn look_at(&self, event: bool) -> Option<Instant> {
        if self.folders.is_empty() {
            return None;
        }
        let soon = self.looked.checked_add(self.pause).filter(|_| event);
        let poll = self.looked.checked_add(self.options.poll);
        soon.into_iter().chain(poll).chain(self.settling.next_at()).min()
    }

    /// Looks at the folders, and tells the watcher what has come to rest.
    fn look(&mut self) {
        let signals = {
            let mut signals = self.shared.signals.lock();
            let taken = *signals;
            (signals.poked, signals.event, signals.lost) = (false, false, false);
            taken
        };
        let began = Instant::now();
        // First, so that what happens during the scan makes an event.
        self.follow(signals.lost);
        let mut scan = BTreeMap::new();
        for folder in &mut self.folders {
            scan.append(&mut folder.scan(self.settling.applied()));
        }
        self.looked = Instant::now();
        self.pause = (self.options.quiet / 4).max(self.looked - began);
        for change in self.settling.scanned(self.looked, &scan) {
            if self.shared.signals.lock().stopped {
                return;
            }
            self.tell(&change);
            self.tick();
        }
    }

    fn follow(&mut self, lost: bool) {
        if let Some(events) = &mut self.events {
            self.folders.iter_mut().for_each(|folder| events.follow(folder, lost));
        }
    }

    fn tell(&mut self, change: &Change) {
        let watcher = &mut self.watcher;
        let answer = catch_unwind(AssertUnwindSafe(|| match change {
            Change::Changed(manifest) => watcher.changed(manifest),
            Change::Gone(manifest) => watcher.gone(manifest),
        }));
        let answer = answer.unwrap_or_else(|_| {
            let manifest = change.manifest().display();
            tracing::error!(%manifest, "whoever was told of a changed plugin folder panicked");
            Answer::Done
        });
        self.settling.answered(Instant::now(), change.manifest(), answer);
    }

    /// Ticks, if that is wanted and it is time.
    fn tick(&mut self) {
        let (watcher, now) = (&mut self.watcher, Instant::now());
        let is_due = self.options.tick <= now - self.ticked;
        let ticked = catch_unwind(AssertUnwindSafe(|| {
            if watcher.wants_tick() && is_due {
                watcher.tick();
                return (true, watcher.wants_tick());
            }
            (false, watcher.wants_tick())
        }));
        let (ticked, wants_tick) = ticked.unwrap_or_else(|_| {
            if !std::mem::replace(&mut self.tick_panicked, true) {
                tracing::error!("whoever ticks for plugin folders panicked");
            }
            // So it is asked again at the next scan, and not at once.
            (true, false)
        });
        self.wants_tick = wants_tick;
        if ticked {
            self.ticked = now;
        }
    }
}

#[cfg(test)]
mod tests;
