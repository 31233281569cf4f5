//! Compare and swap: change a value only if it is what was expected.

use crate::error::ClaimOutcome;
use sochdb_kernel::{Kernel, KernelResult, Slice, Transaction};

/// A value to be changed only if it is what was expected; `None` stands for "not there".
///
/// ```
/// use sochdb_claims::{CompareAndSwap, SwapOutcome};
/// # use sochdb_kernel::{Kernel, Options};
/// # fn main() -> Result<(), sochdb_claims::ClaimError> {
/// # let kernel = Kernel::open(sochdb_sim::memory(), Options::default())?;
/// # kernel.create_table("config", Default::default())?;
/// let first = CompareAndSwap::new("config", b"leader", None, Some(b"ada"));
/// assert_eq!(first.run(&kernel)?, SwapOutcome::Swapped);
/// // The same once more finds what the first one wrote.
/// assert_eq!(first.run(&kernel)?, SwapOutcome::Differs { present: Some(b"ada"[..].into()) });
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompareAndSwap {
    /// The table.
    pub table: String,
    /// The key.
    pub key: Vec<u8>,
    /// What must be there.
    pub expected: Option<Vec<u8>>,
    /// What shall be there.
    pub new: Option<Vec<u8>>,
}

/// What became of a [`CompareAndSwap`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwapOutcome {
    /// The value was the expected one and is the new one now.
    Swapped,
    /// The value was another one; nothing was changed.
    Differs {
        /// The value that is there.
        present: Option<Slice>,
    },
}

impl CompareAndSwap {
    /// Shall put `new` where `expected` is.
    pub fn new(
        table: &str,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> CompareAndSwap {
        let own = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let (table, key) = (table.to_owned(), key.to_vec());
        CompareAndSwap { table, key, expected: own(expected), new: own(new) }
    }

    /// Compares and swaps in a transaction of its own, again after a conflict.
    ///
    /// # Errors
    /// As [`run_in`](Self::run_in), and what the commit returns.
    pub fn run(&self, kernel: &Kernel) -> ClaimOutcome<SwapOutcome> {
        crate::home::run(kernel, Default::default(), |tx| Ok(self.run_in(tx)?), || ())
    }

    /// Compares and swaps as part of the caller's transaction. It happens when that commits, and then
    /// nobody has changed the value in between: that commit would be a `Conflict`. A value swapped for
    /// itself counts as written. [`SwapOutcome::Differs`] is what the transaction's snapshot saw.
    ///
    /// # Errors
    /// `NotFound` for the table, `Limit` for key or value, `Invalid` in a transaction that is read-only
    /// or reads what is merely committed (such a transaction never conflicts), `Corrupt`.
    pub fn run_in(&self, tx: &mut Transaction) -> KernelResult<SwapOutcome> {
        crate::home::check_isolation(tx)?;
        let present = tx.get(&self.table, &self.key)?;
        if present.as_deref() != self.expected.as_deref() {
            return Ok(SwapOutcome::Differs { present });
        }
        match &self.new {
            Some(value) => tx.put(&self.table, &self.key, value)?,
            None => tx.delete(&self.table, &self.key)?,
        }
        Ok(SwapOutcome::Swapped)
    }
}
