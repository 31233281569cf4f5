//! Which plugin runs on this thread: imports ask here for whom they work.

use super::plugins::Identity;
use super::said::Volume;
use super::world::World;
use crate::bindings::config::ConfigValue;
use crate::bindings::telemetry::MetricKind;
use crate::error::{Error, ErrorCode, Result};
use crate::telemetry::Level;
use std::cell::RefCell;
use std::rc::{Rc, Weak};

thread_local! {
    static RUNNING: RefCell<Vec<Rc<Running>>> = const { RefCell::new(Vec::new()) };
}

/// One call of a plugin.
pub(crate) struct Running {
    pub(super) world: Rc<World>,
    pub(super) plugin: Rc<Identity>,
    volume: Volume,
}

/// What a plugin may be kept from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Right {
    Read,
    Write,
    Call,
    Codec,
    Address,
    VectorSearch,
    IndexSearch,
}

/// The call that is running on this thread, if one is.
pub(crate) fn running() -> Option<Rc<Running>> {
    RUNNING.with_borrow(|all| all.last().cloned())
}

/// How many calls are under way, each begun by the one before.
pub(super) fn depth() -> usize {
    RUNNING.with_borrow(Vec::len)
}

/// Whether a call of `plugin` is under way.
pub(super) fn is_at_work(plugin: &Rc<Identity>) -> bool {
    RUNNING.with_borrow(|all| all.iter().any(|call| Rc::ptr_eq(&call.plugin, plugin)))
}

/// Does `work` as a call of `plugin`.
pub(super) fn enter<T>(world: &Rc<World>, plugin: &Rc<Identity>, work: impl FnOnce() -> T) -> T {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            let left = RUNNING.with_borrow_mut(Vec::pop);
            // What it held is dropped here, outside of the borrow.
            drop(left);
        }
    }
    let (world, plugin) = (world.clone(), plugin.clone());
    let call = Running { world, plugin, volume: Volume::default() };
    RUNNING.with_borrow_mut(|all| all.push(Rc::new(call)));
    let _leave = Leave;
    work()
}

/// The call in which a handle was opened: it ends with it.
pub(super) struct OfCall(Weak<Running>);

impl OfCall {
    /// The call that is running.
    pub(super) fn now() -> OfCall {
        OfCall(running().map_or_else(Weak::new, |running| Rc::downgrade(&running)))
    }

    /// # Panics
    /// When it is over: there a guest traps.
    pub(super) fn check(&self) {
        let over = self.0.strong_count() == 0;
        assert!(!over, "tables, scans and indexes end with the call that they were opened in");
    }
}

impl Running {
    pub(crate) fn setting(&self, key: &str) -> Result<ConfigValue> {
        self.plugin.settings.get(key).cloned().ok_or_else(|| {
            Error::not_found(format!("there is no setting '{key}' in the config_schema"))
        })
    }

    pub(crate) fn clock_us(&self) -> Option<i64> {
        self.world.state.borrow().clock_us
    }

    pub(super) fn may(&self, right: Right, name: &str) -> bool {
        self.world.may(&self.plugin, right, name)
    }

    pub(crate) fn check_address(&self, url: &str) -> Result<()> {
        if self.may(Right::Address, url) {
            return Ok(());
        }
        Err(Error::new(ErrorCode::Denied, format!("the address '{url}' was not granted")))
    }

    pub(crate) fn log(&self, level: Level, message: &str) -> Result<()> {
        let name = &self.plugin.name;
        eprintln!("{name}: {level:?}: {}", message.escape_debug());
        self.world.state.borrow_mut().said.log(name, &self.volume, level, message)
    }

    pub(crate) fn emit(
        &self,
        kind: MetricKind,
        name: &str,
        labels: &[(&str, &str)],
        value: f64,
    ) -> Result<()> {
        let (plugin, mut state) = (&self.plugin.name, self.world.state.borrow_mut());
        let emitted = state.said.emit(plugin, &self.volume, kind, name, labels, value);
        if let Err(error) = &emitted {
            // The plugin may not look at the answer, and then its author would not notice.
            eprintln!("{plugin}: the metric '{name}' was refused: {error}");
        }
        emitted
    }
}
