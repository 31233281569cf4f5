//! Which version of a plugin serves, and how that changes while it serves.
//!
//! Nothing here knows what a plugin is made of: a version is any value that calls go to.
//!
//! | room      | what it is                                                                             |
//! |-----------|----------------------------------------------------------------------------------------|
//! | `switch`  | the usual version and one on trial, between which each call picks                      |
//! | `machine` | the states of one reload, as a table; what no plugin can keep from ending               |
//! | `rules`   | what the operator says of reloads: shares, patience, bounds                            |
//! | `meter`   | how calls of a version go, and whether a new one's are worse                           |
//! | `history` | what came of reloads, in memory and in the database                                    |
//! | `folders` | what lies in folders of plugins, as fingerprints                                       |
//! | `watch`   | the thread that says which of it has changed and is still                              |

#![forbid(unsafe_code)]

pub mod folders;
pub mod history;
pub mod machine;
pub mod meter;
pub mod rules;
mod switch;
pub mod watch;

pub use history::{HISTORY_TABLE, History, Outcome, Record, Step, VersionId};
pub use machine::{Attempt, Event, State, TABLE};
pub use meter::{Meter, worse};
pub use rules::Rules;
pub use switch::{Pick, Switch, WHOLE};
