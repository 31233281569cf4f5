//! The generated bindings, and the one slot that holds a plugin's instance.
//!
//! Hidden from the documentation: only [`export!`](crate::export) and this crate name what is here.
//! A component that is put together from `base` and one kind has exactly the world of that kind in
//! `wit/`: the worlds here are its parts, so that the parts all kinds share are generated once.

#![allow(missing_docs, reason = "generated; the contract in `wit/` has the documentation")]

use crate::error::{Error, Result};
use std::cell::RefCell;
use std::thread::LocalKey;

pub use crate::codec::CodecGlue;
pub use crate::hooks::HooksGlue;
pub use crate::index::IndexGlue;
pub use crate::observer::ObserverGlue;
pub use crate::procedure::ProcedureGlue;
pub use crate::storage::StorageGlue;
pub use base::sochdb::plugin::{config, telemetry, types};

/// What every kind of plugin shares: all it imports, and the export of its life.
pub mod base {
    wit_bindgen::generate!({
        inline: "
            package sochdb:sdk;
            world base {
                import sochdb:plugin/telemetry@0.1.0;
                import sochdb:plugin/config@0.1.0;
                export sochdb:plugin/lifecycle@0.1.0;
            }
        ",
        path: "../wit/0.1.0",
        world: "sochdb:sdk/base",
        pub_export_macro: true,
        export_macro_name: "export_base",
        default_bindings_module: "sochdb_guest::bindings::base",
        generate_all,
    });
}

/// The export of a codec.
pub mod codec {
    wit_bindgen::generate!({
        inline: "
            package sochdb:sdk;
            world codec {
                export sochdb:plugin/codec@0.1.0;
            }
        ",
        path: "../wit/0.1.0",
        world: "sochdb:sdk/codec",
        pub_export_macro: true,
        export_macro_name: "export_codec",
        default_bindings_module: "sochdb_guest::bindings::codec",
        with: { "sochdb:plugin/types@0.1.0": super::base::sochdb::plugin::types },
    });
}

/// The export of an observer, and what only observers import.
pub mod observer {
    wit_bindgen::generate!({
        inline: "
            package sochdb:sdk;
            world observer {
                import sochdb:plugin/outbox@0.1.0;
                export sochdb:plugin/observer@0.1.0;
            }
        ",
        path: "../wit/0.1.0",
        world: "sochdb:sdk/observer",
        pub_export_macro: true,
        export_macro_name: "export_observer",
        default_bindings_module: "sochdb_guest::bindings::observer",
        with: {
            "sochdb:plugin/types@0.1.0": super::base::sochdb::plugin::types,
            "sochdb:plugin/outbox@0.1.0": generate,
        },
    });
}

/// The export of a storage engine, and what only storage engines import.
pub mod storage {
    wit_bindgen::generate!({
        inline: "
            package sochdb:sdk;
            world storage {
                import sochdb:plugin/segments@0.1.0;
                export sochdb:plugin/storage-engine@0.1.0;
            }
        ",
        path: "../wit/0.1.0",
        world: "sochdb:sdk/storage",
        pub_export_macro: true,
        export_macro_name: "export_storage",
        default_bindings_module: "sochdb_guest::bindings::storage",
        with: {
            "sochdb:plugin/types@0.1.0": super::base::sochdb::plugin::types,
            "sochdb:plugin/segments@0.1.0": generate,
        },
    });
}

/// The export of an index, and what only indexes import.
pub mod index {
    wit_bindgen::generate!({
        inline: "
            package sochdb:sdk;
            world index {
                import sochdb:plugin/entries@0.1.0;
                export sochdb:plugin/index@0.1.0;
            }
        ",
        path: "../wit/0.1.0",
        world: "sochdb:sdk/index",
        pub_export_macro: true,
        export_macro_name: "export_index",
        default_bindings_module: "sochdb_guest::bindings::index",
        with: {
            "sochdb:plugin/types@0.1.0": super::base::sochdb::plugin::types,
            "sochdb:plugin/segments@0.1.0": super::storage::sochdb::plugin::segments,
            "sochdb:plugin/entries@0.1.0": generate,
        },
    });
}

/// What plugins import that work with rows.
pub mod data {
    wit_bindgen::generate!({
        inline: "
            package sochdb:sdk;
            world data {
                import sochdb:plugin/rows@0.1.0;
                import sochdb:plugin/search@0.1.0;
                import sochdb:plugin/codecs@0.1.0;
                import sochdb:plugin/plugins@0.1.0;
            }
        ",
        path: "../wit/0.1.0",
        world: "sochdb:sdk/data",
        with: { "sochdb:plugin/types@0.1.0": super::base::sochdb::plugin::types },
        generate_all,
    });
}

/// The export of hooks.
pub mod hooks {
    wit_bindgen::generate!({
        inline: "
            package sochdb:sdk;
            world hooks {
                export sochdb:plugin/hooks@0.1.0;
            }
        ",
        path: "../wit/0.1.0",
        world: "sochdb:sdk/hooks",
        pub_export_macro: true,
        export_macro_name: "export_hooks",
        default_bindings_module: "sochdb_guest::bindings::hooks",
        with: {
            "sochdb:plugin/types@0.1.0": super::base::sochdb::plugin::types,
            "sochdb:plugin/rows@0.1.0": super::data::sochdb::plugin::rows,
        },
    });
}

/// The export of procedures.
pub mod procedure {
    wit_bindgen::generate!({
        inline: "
            package sochdb:sdk;
            world procedure {
                export sochdb:plugin/procedure@0.1.0;
            }
        ",
        path: "../wit/0.1.0",
        world: "sochdb:sdk/procedure",
        pub_export_macro: true,
        export_macro_name: "export_procedure",
        default_bindings_module: "sochdb_guest::bindings::procedure",
        with: {
            "sochdb:plugin/types@0.1.0": super::base::sochdb::plugin::types,
            "sochdb:plugin/rows@0.1.0": super::data::sochdb::plugin::rows,
        },
    });
}

/// A type that [`export!`](crate::export) gave a place to live in. An instance is single-threaded, so
/// a thread-local is one per instance.
pub trait Instance: Sized + 'static {
    /// Where the one value of this type is kept.
    fn slot() -> &'static LocalKey<RefCell<Option<Self>>>;

    /// Keeps `value` for all later calls.
    fn install(value: Self) {
        Self::slot().set(Some(value));
    }

    /// Calls `f` with the value that `init` installed.
    fn with<T>(f: impl FnOnce(&mut Self) -> Result<T>) -> std::result::Result<T, types::Error> {
        Self::slot().with_borrow_mut(|slot| match slot {
            Some(plugin) => f(plugin).map_err(Into::into),
            None => Err(Error::invalid("the host called a plugin before its `init`").into()),
        })
    }
}

/// The exports of an instance's life, which are the same for every kind: `lifecycle!(CodecGlue: Codec)`.
macro_rules! lifecycle {
    ($glue:ident: $kind:ident) => {
        impl<P: $kind + $crate::bindings::Instance>
            $crate::bindings::base::exports::sochdb::plugin::lifecycle::Guest for $glue<P>
        {
            fn init() -> std::result::Result<(), $crate::bindings::types::Error> {
                #[cfg(feature = "log")]
                $crate::telemetry::install_logger();
                P::install(P::init()?);
                Ok(())
            }

            fn self_test() -> std::result::Result<(), $crate::bindings::types::Error> {
                P::with(P::self_test)
            }

            fn export_state() -> std::result::Result<Vec<u8>, $crate::bindings::types::Error> {
                P::with(P::export_state)
            }

            fn import_state(
                state: Vec<u8>,
                version: String,
            ) -> std::result::Result<(), $crate::bindings::types::Error> {
                P::with(|plugin| plugin.import_state(state, &version))
            }

            fn shutdown() -> std::result::Result<(), $crate::bindings::types::Error> {
                P::with(P::shutdown)
            }
        }
    };
}
pub(crate) use lifecycle;
