//! The arguments of `tenant`.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum Tenant {
    /// Have the database keep a tenant: the tables whose names begin with NAME/.
    #[command(after_help = "Examples:\n  \
        sochdb tenant add acme\n  \
        sochdb tenant add acme --storage-bytes 1000000000 --fuel-per-second 500000000 --plugin audit-log")]
    Add {
        /// The tenant's name.
        name: String,
        #[command(flatten)]
        quota: TenantQuota,
    },
    /// List the tenants that the database keeps, with what they may use.
    List,
    /// Print what a tenant may use, or change it; what is not said stays as it is.
    #[command(after_help = "Examples:\n  \
        sochdb tenant quota acme\n  \
        sochdb tenant quota acme --storage-bytes 2000000000\n  \
        sochdb tenant quota acme --calls none")]
    Quota {
        /// The tenant's name.
        name: String,
        #[command(flatten)]
        quota: TenantQuota,
    },
    /// Print what tenants use: bytes of rows as they are now, and fuel and calls since the database was opened.
    ///
    /// A command opens the database for itself, so fuel and calls are those of this very command; in `sochdb shell`,
    /// or a program that has the database open, they add up.
    Usage {
        /// Only this tenant.
        name: Option<String>,
    },
    /// Have the database forget a tenant's bounds. Its tables and rows stay.
    Remove {
        /// The tenant's name.
        name: String,
    },
}

/// What a tenant may use. A number, or `none` for no bound.
#[derive(Debug, Default, Args)]
pub struct TenantQuota {
    /// Fuel of its guests in one second, or `none`.
    #[arg(long, value_name = "N")]
    pub fuel_per_second: Option<String>,
    /// Bytes of memory of all its instances together, or `none`.
    #[arg(long, value_name = "N")]
    pub memory_bytes: Option<String>,
    /// Calls into guests at the same time, or `none`.
    #[arg(long, value_name = "N")]
    pub calls: Option<String>,
    /// Bytes of the keys and values of its rows, or `none`.
    #[arg(long, value_name = "N")]
    pub storage_bytes: Option<String>,
    /// A plugin whose hooks and procedures serve it; may be given again. Replaces those from before; `none` for none.
    #[arg(long = "plugin", value_name = "NAME")]
    pub plugins: Vec<String>,
}
