//! A transaction or catalog seen through a prefix of table names: what a host hands to a tenant.
//!
//! The tenant `acme` says `orders` and means the table `acme/orders`. Every name it gives gets the prefix, and
//! there is no other way to name a table, so it cannot name another's:
//!
//! 1. A namespace is not empty and contains no `/`, so no namespace's prefix begins another's.
//! 2. The kernel's names are flat: `../other/orders` is only an odd name within the own prefix.
//! 3. An empty name is refused, so the prefix itself is no table.
//!
//! Names in answers and in `NotFound` come without the prefix. The whole database can be seen the same way, with
//! no prefix at all: then one type serves a host's own transactions and its tenants'.

use crate::contracts::{KernelCatalog, KernelStorage, KernelTransaction};
use sochdb_kernel::plugin::{Selection, StorageReader};
use sochdb_kernel::{
    KernelError, KernelResult, KeyRange, Savepoint, Scan, Slice, TableInfo, TableOptions,
    Timestamp, Transaction, TransactionId,
};
use std::borrow::Cow;
use std::sync::Arc;

/// What ends a namespace within a table's name.
const SEPARATOR: char = '/';

/// `T`, showing only the tables of one namespace.
///
/// ```
/// use sochdb_kernel::{Kernel, KernelResult, Options};
/// use sochdb_operations::{KernelCatalog, KernelStorage, KernelTransaction, Namespaced};
///
/// # fn main() -> KernelResult<()> {
/// let kernel = Kernel::open(sochdb_sim::memory(), Options::default())?;
/// let mut tenant = Namespaced::new(kernel.begin()?, "acme")?;
/// tenant.create_table("orders", Default::default())?;
/// tenant.put("orders", b"1", b"tea")?;
/// tenant.commit()?;
///
/// assert_eq!(kernel.begin_read()?.get("acme/orders", b"1")?.unwrap(), b"tea");
/// let other = Namespaced::new(kernel.begin()?, "bolt")?;
/// assert!(other.tables()?.is_empty());
/// # Ok(())
/// # }
/// ```
pub struct Namespaced<T> {
    inner: T,
    prefix: String,
}

impl<T> Namespaced<T> {
    /// `inner`, showing only the tables of `namespace`.
    ///
    /// # Errors
    /// `Invalid` when `namespace` is empty, or contains `/` or a control character.
    pub fn new(inner: T, namespace: &str) -> KernelResult<Namespaced<T>> {
        let bad = |c: char| c == SEPARATOR || c.is_control();
        if namespace.is_empty() || namespace.contains(bad) {
            return Err(KernelError::Invalid(format!(
                "{namespace:?} is no namespace: it is empty, or has a '{SEPARATOR}' or a control \
                 character"
            )));
        }
        Ok(Namespaced { inner, prefix: format!("{namespace}{SEPARATOR}") })
    }

    /// `inner` as it is: every table, by its full name.
    pub fn whole(inner: T) -> Namespaced<T> {
        Namespaced { inner, prefix: String::new() }
    }

    /// The namespace; empty for the whole.
    pub fn namespace(&self) -> &str {
        self.prefix.strip_suffix(SEPARATOR).unwrap_or_default()
    }

    /// What lies behind, which sees everything.
    pub fn into_inner(self) -> T {
        self.inner
    }

    /// What lies behind, for whoever takes the full names of tables.
    pub fn inner(&self) -> &T {
        &self.inner
    }

    /// The same, to write to.
    pub fn inner_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// The full name of the table that is called `table` here.
    ///
    /// # Errors
    /// `Invalid` when `table` is empty.
    pub fn full<'a>(&self, table: &'a str) -> KernelResult<Cow<'a, str>> {
        if table.is_empty() {
            return Err(KernelError::invalid("a table's name is empty"));
        }
        Ok(match self.prefix.as_str() {
            "" => table.into(),
            prefix => format!("{prefix}{table}").into(),
        })
    }

    /// An error as the tenant should read it.
    fn own<V>(&self, result: KernelResult<V>) -> KernelResult<V> {
        result.map_err(|error| match error {
            KernelError::NotFound { kind: "table", name } => {
                let name = name.strip_prefix(&self.prefix).map(str::to_owned).unwrap_or(name);
                KernelError::NotFound { kind: "table", name }
            }
            other => other,
        })
    }

    /// A table as the tenant knows it; `None` when it is somebody else's.
    fn shown(&self, mut table: TableInfo) -> Option<TableInfo> {
        table.name =
            table.name.strip_prefix(&self.prefix).filter(|name| !name.is_empty())?.to_owned();
        Some(table)
    }
}

impl Namespaced<Transaction> {
    /// As [`Transaction::scan_selected`].
    ///
    /// # Errors
    /// As [`Transaction::scan_selected`].
    pub fn scan_selected(
        &self,
        table: &str,
        range: KeyRange,
        reverse: bool,
        selection: Option<Arc<Selection>>,
    ) -> KernelResult<Scan> {
        self.own(self.inner.scan_selected(&self.full(table)?, range, reverse, selection))
    }

    /// As [`Transaction::scan_layers`].
    ///
    /// # Errors
    /// As [`Transaction::scan_layers`].
    pub fn scan_layers(
        &self,
        table: &str,
        range: KeyRange,
    ) -> KernelResult<(Scan, Option<Arc<dyn StorageReader>>)> {
        self.own(self.inner.scan_layers(&self.full(table)?, range))
    }
}

impl<T: KernelStorage> KernelStorage for Namespaced<T> {
    fn get(&self, table: &str, key: &[u8]) -> KernelResult<Option<Slice>> {
        self.own(self.inner.get(&self.full(table)?, key))
    }

    fn scan(&self, table: &str, range: KeyRange) -> KernelResult<Scan> {
        self.own(self.inner.scan(&self.full(table)?, range))
    }

    fn scan_reverse(&self, table: &str, range: KeyRange) -> KernelResult<Scan> {
        self.own(self.inner.scan_reverse(&self.full(table)?, range))
    }

    fn put(&mut self, table: &str, key: &[u8], value: &[u8]) -> KernelResult<()> {
        let result = self.inner.put(&self.full(table)?, key, value);
        self.own(result)
    }

    fn delete(&mut self, table: &str, key: &[u8]) -> KernelResult<()> {
        let result = self.inner.delete(&self.full(table)?, key);
        self.own(result)
    }
}

impl<T: KernelTransaction> KernelTransaction for Namespaced<T> {
    fn id(&self) -> TransactionId {
        self.inner.id()
    }

    fn snapshot(&self) -> Timestamp {
        self.inner.snapshot()
    }

    fn savepoint(&mut self) -> Savepoint {
        self.inner.savepoint()
    }

    fn rollback_to(&mut self, savepoint: Savepoint) -> KernelResult<()> {
        self.inner.rollback_to(savepoint)
    }

    fn rollback(self) {
        self.inner.rollback();
    }

    fn commit(self) -> KernelResult<Timestamp> {
        self.inner.commit()
    }
}

impl<T: KernelCatalog> KernelCatalog for Namespaced<T> {
    fn tables(&self) -> KernelResult<Vec<TableInfo>> {
        let tables = self.inner.tables()?;
        Ok(tables.into_iter().filter_map(|table| self.shown(table)).collect())
    }

    fn table(&self, name: &str) -> KernelResult<TableInfo> {
        let missing = || KernelError::NotFound { kind: "table", name: name.to_owned() };
        let table = self.own(self.inner.table(&self.full(name)?))?;
        self.shown(table).ok_or_else(missing)
    }

    fn create_table(&mut self, name: &str, options: TableOptions) -> KernelResult<()> {
        let result = self.inner.create_table(&self.full(name)?, options);
        self.own(result)
    }

    fn drop_table(&mut self, name: &str) -> KernelResult<()> {
        let result = self.inner.drop_table(&self.full(name)?);
        self.own(result)
    }

    fn rename_table(&mut self, from: &str, to: &str) -> KernelResult<()> {
        let result = self.inner.rename_table(&self.full(from)?, &self.full(to)?);
        self.own(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sochdb_kernel::{ErrorKind, Kernel, Options};

    fn kernel() -> Kernel {
        let kernel = Kernel::open(sochdb_sim::memory(), Options::default()).unwrap();
        for name in
            ["acme/orders", "acme/notes", "acm", "acme", "acmex/orders", "bolt/orders", "orders"]
        {
            kernel.create_table(name, TableOptions::default()).unwrap();
            kernel.run(|tx| tx.put(name, b"whose", name.as_bytes())).unwrap();
        }
        kernel
    }

    fn tenant(kernel: &Kernel, namespace: &str) -> Namespaced<Transaction> {
        Namespaced::new(kernel.begin().unwrap(), namespace).unwrap()
    }

    fn names(tenant: &impl KernelCatalog) -> Vec<String> {
        tenant.tables().unwrap().into_iter().map(|table| table.name).collect()
    }

    #[test]
    fn a_tenant_sees_the_tables_of_its_own_name_only() {
        let kernel = kernel();
        assert_eq!(names(&tenant(&kernel, "acme")), ["notes", "orders"]);
        assert_eq!(names(&tenant(&kernel, "acm")), [""; 0]);
        assert_eq!(names(&Namespaced::new(kernel.clone(), "bolt").unwrap()), ["orders"]);
        let acme = tenant(&kernel, "acme");
        assert_eq!(acme.get("orders", b"whose").unwrap().unwrap(), b"acme/orders");
        assert_eq!(acme.scan("orders", KeyRange::all()).unwrap().count(), 1);
        assert_eq!(acme.scan_reverse("notes", KeyRange::all()).unwrap().count(), 1);
        assert_eq!(acme.table("orders").unwrap().name, "orders");
        assert_eq!(acme.namespace(), "acme");
        assert_eq!(acme.into_inner().tables().unwrap().len(), 7);
    }

    #[test]
    fn no_trick_in_a_name_reaches_another_tenants_table() {
        let kernel = kernel();
        let mut acme = tenant(&kernel, "acme");
        for name in [
            "../bolt/orders",
            "/bolt/orders",
            "bolt/orders",
            "acme/orders",
            "x/orders",
            "./orders",
            "orders/",
            "Orders",
            "\\..\\bolt\\orders",
            "%2e%2e/bolt/orders",
            "orders\0",
        ] {
            let error = acme.get(name, b"whose").unwrap_err();
            let KernelError::NotFound { kind: "table", name: told } = &error else {
                panic!("{name}: {error}")
            };
            assert_eq!(told, name, "the tenant reads the name it gave");
            assert!(acme.put(name, b"k", b"v").is_err() && acme.drop_table(name).is_err());
        }
        assert_eq!(acme.get("", b"whose").unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(
            acme.create_table("", TableOptions::default()).unwrap_err().kind(),
            ErrorKind::Invalid
        );
        // An odd name makes an odd table, within the own prefix.
        acme.create_table("../bolt/orders", TableOptions::default()).unwrap();
        acme.commit().unwrap();
        assert!(kernel.table("acme/../bolt/orders").is_ok());
        assert_eq!(names(&tenant(&kernel, "bolt")), ["orders"]);
    }

    #[test]
    fn a_namespace_that_could_hold_another_is_refused() {
        for bad in ["", "/", "a/b", "a/", "a\0", "a\n"] {
            let refused = Namespaced::new((), bad).err().unwrap();
            assert_eq!(refused.kind(), ErrorKind::Invalid, "{bad:?}");
        }
        for good in ["a", "..", "acme.example", "ünïcode", "a b"] {
            assert_eq!(Namespaced::new((), good).unwrap().namespace(), good);
        }
    }

    #[test]
    fn a_tenants_transaction_is_a_whole_transaction() {
        let kernel = kernel();
        let mut acme = tenant(&kernel, "acme");
        assert_eq!(acme.snapshot(), acme.inner.snapshot());
        assert_eq!(acme.id(), acme.inner.id());
        acme.put("orders", b"1", b"tea").unwrap();
        let savepoint = acme.savepoint();
        acme.delete("orders", b"whose").unwrap();
        acme.rename_table("orders", "old orders").unwrap();
        acme.rollback_to(savepoint).unwrap();
        acme.rename_table("notes", "memos").unwrap();
        acme.commit().unwrap();
        let acme = tenant(&kernel, "acme");
        assert_eq!(names(&acme), ["memos", "orders"]);
        assert_eq!(acme.scan("orders", KeyRange::all()).unwrap().count(), 2);
        acme.rollback();
    }

    #[test]
    fn a_namespace_within_a_namespace_is_one() {
        let kernel = kernel();
        let mut inner = Namespaced::new(tenant(&kernel, "acme"), "team").unwrap();
        inner.create_table("orders", TableOptions::default()).unwrap();
        assert_eq!(names(&inner), ["orders"]);
        inner.commit().unwrap();
        assert!(kernel.table("acme/team/orders").is_ok());
    }

    proptest! {
        #[test]
        fn two_tenants_never_mean_the_same_table(
            a in "[^/\\p{C}]{1,6}", b in "[^/\\p{C}]{1,6}", x in "\\PC{1,8}", y in "\\PC{1,8}",
        ) {
            let full = |namespace: &str, table: &str| {
                Namespaced::new((), namespace).unwrap().full(table).unwrap().into_owned()
            };
            prop_assert_eq!(full(&a, &x) == full(&b, &y), (&a, &x) == (&b, &y));
        }
    }
}
