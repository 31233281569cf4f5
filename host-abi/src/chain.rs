//! The guest calls that run on this thread, each begun by an import of the one before.
//!
//! ```text
//!   procedure ──▶ soch-read ──▶ kernel ──▶ storage engine ──▶ segments.read ──▶ kernel ──▶ codec
//!   depth 1                                depth 2                                         depth 3
//! ```
//!
//! A call that begins while another one runs on its thread is part of that one, whoever it goes to:
//!
//! 1. It works for the same tenant, unless its terms name another one.
//! 2. It has at most the time and the fuel that its caller has left, and its caller pays for it.
//! 3. There are at most [`CALL_DEPTH_MAX`] of them, on at most [`CHAIN_STACK_BYTES_MAX`] of stack before the
//!    last one begins, since every guest may fill a stack of its own.
//! 4. A plugin is called by way of itself only where its terms allow it.
//!
//! Imports tell what their guest has left, and take what nested calls have used, in [`pay`]. A link leaves
//! the chain when its guard is dropped, also when a panic passes by.

use crate::limits::{Budget, CALL_DEPTH_MAX, CHAIN_STACK_BYTES_MAX, Work};
use crate::plugin::Plugin;
use crate::tenant::Tenant;
use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

thread_local! {
    static CHAIN: RefCell<Vec<Link>> = const { RefCell::new(Vec::new()) };
    static BACKGROUND: Cell<u32> = const { Cell::new(0) };
}

/// One call.
struct Link {
    plugin: Arc<Plugin>,
    tenant: Option<Arc<Tenant>>,
    deadline: Instant,
    /// What it had left when it last said so.
    fuel_left: u64,
    /// What calls below it have used and it has not paid for yet.
    owed: u64,
    /// What it has paid for calls below it.
    paid: u64,
    /// Where the stack was when it began.
    stack: usize,
}

/// Why a call may not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There are too many below it, or they have used too much of the thread's stack.
    TooDeep,
    /// The plugin runs already.
    ByWayOfItself,
}

/// A call's place in the chain, which it leaves when this is dropped. It stays on its thread.
pub(crate) struct Entered {
    is_nested: bool,
    on_this_thread: PhantomData<*const ()>,
}

/// Begins a call, and cuts `budget` and `deadline` to what its caller has left.
///
/// # Errors
/// Why it may not begin.
pub(crate) fn enter(
    plugin: &Arc<Plugin>,
    tenant: Option<&Arc<Tenant>>,
    may_come_again: bool,
    began: Instant,
    budget: &mut Budget,
) -> Result<Entered, Refusal> {
    let stack = stack_position();
    CHAIN.with_borrow_mut(|chain| {
        let mut deadline = began + budget.timeout;
        if let (Some(first), Some(caller)) = (chain.first(), chain.last()) {
            if CALL_DEPTH_MAX <= chain.len() || CHAIN_STACK_BYTES_MAX < first.stack.abs_diff(stack)
            {
                return Err(Refusal::TooDeep);
            }
            if !may_come_again && is_in(chain, &plugin.manifest.name) {
                return Err(Refusal::ByWayOfItself);
            }
            let left = caller.fuel_left.saturating_sub(caller.owed);
            budget.cut_to_caller(left, caller.deadline.saturating_duration_since(began));
            deadline = deadline.min(caller.deadline);
        }
        chain.push(Link {
            plugin: plugin.clone(),
            tenant: tenant.cloned(),
            deadline,
            fuel_left: budget.fuel_max,
            owed: 0,
            paid: 0,
            stack,
        });
        Ok(Entered { is_nested: 1 < chain.len(), on_this_thread: PhantomData })
    })
}

impl Entered {
    /// Whether another guest's call led to this one.
    pub(crate) fn is_nested(&self) -> bool {
        self.is_nested
    }

    /// Ends the call, which used `fuel` with what it paid for others. What it used for itself.
    pub(crate) fn end(self, fuel: u64) -> u64 {
        CHAIN.with_borrow_mut(|chain| {
            let (last, below) = chain.split_last_mut().expect("an entered call is in the chain");
            let (owed, paid) = (std::mem::take(&mut last.owed), last.paid);
            if let Some(caller) = below.last_mut() {
                caller.owed = caller.owed.saturating_add(fuel).saturating_add(owed);
            }
            fuel.saturating_sub(paid)
        })
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let left = CHAIN.with_borrow_mut(Vec::pop);
        // What it held is dropped here, outside of the borrow.
        drop(left);
    }
}

/// Who runs on this thread now and begins the next call, if anybody does.
pub(crate) fn caller() -> Caller {
    CHAIN.with_borrow(|chain| match chain.last() {
        Some(link) => Caller::Guest(link.tenant.clone()),
        None => Caller::Host,
    })
}

/// Who begins a call.
pub(crate) enum Caller {
    /// No guest.
    Host,
    /// A guest that works for this tenant.
    Guest(Option<Arc<Tenant>>),
}

/// Whether a call of `plugin` runs on this thread.
pub(crate) fn contains(plugin: &str) -> bool {
    CHAIN.with_borrow(|chain| is_in(chain, plugin))
}

fn is_in(chain: &[Link], plugin: &str) -> bool {
    chain.iter().any(|link| link.plugin.manifest.name == plugin)
}

/// Lets the guest that runs pay `cost`, and what calls below it have used, from the `fuel` it has. What is
/// left; `None` when that was not enough, then it has nothing left.
pub(crate) fn pay(fuel: u64, cost: u64) -> Option<u64> {
    CHAIN.with_borrow_mut(|chain| {
        let Some(guest) = chain.last_mut() else { return fuel.checked_sub(cost) };
        let owed = std::mem::take(&mut guest.owed);
        let left = fuel.checked_sub(cost).and_then(|left| left.checked_sub(owed));
        guest.paid += owed.min(fuel.saturating_sub(cost));
        guest.fuel_left = left.unwrap_or(0);
        left
    })
}

/// Does `work` as what nobody waits for: guests that it calls have the budgets of flushes and merges, and
/// their tenants' bounds on fuel and calls do not refuse them. A checkpoint does its work in this.
pub fn in_background<R>(work: impl FnOnce() -> R) -> R {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            BACKGROUND.set(BACKGROUND.get() - 1);
        }
    }
    BACKGROUND.set(BACKGROUND.get() + 1);
    let _leave = Leave;
    work()
}

/// Which budget a call has that would have `work`'s.
pub(crate) fn work(work: Work) -> Work {
    if BACKGROUND.get() == 0 { work } else { Work::Background }
}

/// Where this thread's stack is, more or less.
#[inline(never)]
fn stack_position() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(black_box(&here)).addr()
}
