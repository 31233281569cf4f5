//! Tenants: what they may use, said for this opening or kept in the database.
//!
//! | said by         | until                                                              |
//! |-----------------|--------------------------------------------------------------------|
//! | `set_tenant`    | the database is closed                                             |
//! | `keep_tenant`   | `forget_tenant`; each opening says it again before anybody can use the tenant |
//!
//! The rows of a kept tenant with a bound on storage are read once, when the tenant is first used, to know their size.
//! A kept tenant whose record cannot be read may use nothing until it is kept anew: no bound is lost by damage.

use crate::database::{Database, TenantDatabase};
use sochdb_host_abi::{TenantInfo, TenantOptions, Tenants, kept_tenants};
use sochdb_kernel::{Kernel, KernelResult};

/// What a tenant may use whose record cannot be read.
fn nothing() -> TenantOptions {
    TenantOptions {
        fuel_per_second: Some(0),
        memory_bytes_max: Some(0),
        calls_max: Some(0),
        storage_bytes_max: Some(0),
        ..TenantOptions::default()
    }
}

/// Says what every kept tenant may use.
pub(crate) fn load(kernel: &Kernel, tenants: &Tenants) -> KernelResult<()> {
    for (name, options) in kept_tenants::list(kernel)? {
        let options = options.unwrap_or_else(|error| {
            tracing::error!(tenant = name, %error, "it may use nothing until it is kept anew");
            nothing()
        });
        if tenants.set_uncounted(&name, options).is_err() {
            tracing::error!(tenant = name, "no tenant can be called so; passed over");
        }
    }
    Ok(())
}

impl Database {
    /// Makes or changes the tenant `name`: the tables that begin with `name/`, what its plugins may use in a
    /// second and at once, and which hooks and procedures serve it. With a bound on storage, its rows are
    /// read once to know their size. Not kept in the database: say it again after each opening, or
    /// [`keep_tenant`](Self::keep_tenant).
    ///
    /// # Errors
    /// `Invalid` for a bad name; what keeps the rows from being read.
    pub fn set_tenant(&self, name: &str, options: TenantOptions) -> KernelResult<TenantDatabase> {
        self.tenants.set_uncounted(name, options)?;
        self.tenant(name)
    }

    /// The same, kept in the database: each opening says it again.
    ///
    /// ```
    /// use sochdb::{Database, TenantOptions};
    ///
    /// # fn main() -> sochdb::KernelResult<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// let db = Database::open(directory.path())?;
    /// let small = TenantOptions { storage_bytes_max: Some(1 << 20), ..Default::default() };
    /// db.keep_tenant("acme", small.clone())?;
    /// db.close()?;
    ///
    /// let db = Database::open(directory.path())?;
    /// assert_eq!(db.tenants_kept()?, [("acme".to_owned(), small)]);
    /// assert!(db.forget_tenant("acme")?);
    /// # db.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`set_tenant`](Self::set_tenant) and a commit. What was not kept is not said either.
    pub fn keep_tenant(&self, name: &str, options: TenantOptions) -> KernelResult<TenantDatabase> {
        kept_tenants::keep(&self.kernel, name, &options)?;
        self.set_tenant(name, options)
    }

    /// Forgets what the tenant `name` may use and has used, here and in the database; says whether the database kept
    /// it. Its tables stay. Calls that run end as they would have; who holds its [`TenantDatabase`] gets `Closed`
    /// for further ones.
    ///
    /// # Errors
    /// As a commit.
    pub fn forget_tenant(&self, name: &str) -> KernelResult<bool> {
        let was_kept = kept_tenants::forget(&self.kernel, name)?;
        self.tenants.remove(name);
        Ok(was_kept)
    }

    /// The tenants that the database keeps, and what they may use, in the order of names.
    ///
    /// # Errors
    /// `Corrupt` when a record is not what was written; what a read may end with otherwise.
    pub fn tenants_kept(&self) -> KernelResult<Vec<(String, TenantOptions)>> {
        let kept = kept_tenants::list(&self.kernel)?.into_iter();
        kept.map(|(name, options)| Ok((name, options?))).collect()
    }

    /// The database as the tenant `name` sees it: without bounds and without plugins, unless
    /// [`set_tenant`](Self::set_tenant) or [`keep_tenant`](Self::keep_tenant) says otherwise.
    ///
    /// # Errors
    /// `Invalid` for a bad name; what keeps the rows of a bounded tenant from being read.
    pub fn tenant(&self, name: &str) -> KernelResult<TenantDatabase> {
        let tenant = self.tenants.tenant(name)?;
        let database = TenantDatabase::new(self.clone(), tenant.clone());
        tenant.count_storage(|| database.begin_read()?.bytes())?;
        Ok(database)
    }

    /// Every tenant: its quotas, and what it has used.
    pub fn tenants(&self) -> Vec<TenantInfo> {
        self.tenants.list()
    }
}
