//! Payloads that the host sends to addresses over HTTP, after the call and in its own time.
//!
//! A plugin never opens a connection itself: it hands the host what is to be sent, and only to addresses that
//! its manifest asks for and the operator grants. Outside WebAssembly nothing is sent: [`sent`] has what would
//! have been, for tests.

#[cfg(target_family = "wasm")]
use crate::bindings::observer::sochdb::plugin::outbox as contract;
#[cfg(target_family = "wasm")]
use crate::bindings::types;
use crate::error::Result;

/// An address that payloads can be sent to.
pub struct Address {
    #[cfg(target_family = "wasm")]
    inner: contract::Address,
    #[cfg(not(target_family = "wasm"))]
    url: String,
}

/// What became of the payloads for one address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Payloads that wait, or are on their way.
    pub waiting: u32,
    /// Payloads that the other side took.
    pub sent: u64,
    /// Payloads that were given up: refused, tried too often, or pushed out by newer ones.
    pub lost: u64,
    /// Why the newest of those was given up; empty when none was.
    pub why: String,
}

#[cfg(target_family = "wasm")]
impl Address {
    /// Opens `url`, such as `http://127.0.0.1:4318/v1/metrics`.
    ///
    /// # Errors
    /// `Denied` outside the grant; `Invalid` when it is no URL that the host can send to.
    pub fn open(url: &str) -> Result<Address> {
        Ok(Address { inner: contract::Address::open(url)? })
    }

    /// Puts `body` into the outbox, to be sent as a POST with `headers`, and returns at once. The other side is
    /// asked again when it does not answer or asks for patience. When payloads for this address pile up, the
    /// oldest is given up.
    ///
    /// # Errors
    /// `Limit` for a payload of more than 4 MiB; `Invalid` for a header that is none, or is the host's.
    pub fn post(&self, headers: &[(&str, &str)], body: &[u8]) -> Result<()> {
        let label =
            |&(name, value): &(&str, &str)| types::Label { name: name.into(), value: value.into() };
        let headers: Vec<_> = headers.iter().map(label).collect();
        self.inner.post(&headers, body).map_err(Into::into)
    }

    /// What became of the payloads so far.
    pub fn status(&self) -> Status {
        let contract::OutboxStatus { waiting, sent, lost, why } = self.inner.status();
        Status { waiting, sent, lost, why }
    }
}

/// A payload that a test has sent.
#[cfg(not(target_family = "wasm"))]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The address.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The payload.
    pub body: Vec<u8>,
}

#[cfg(not(target_family = "wasm"))]
thread_local! {
    static SENT: std::cell::RefCell<Vec<Sent>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// What this thread has sent since it last asked, oldest first. Only outside WebAssembly.
#[cfg(not(target_family = "wasm"))]
pub fn sent() -> Vec<Sent> {
    SENT.take()
}

#[cfg(not(target_family = "wasm"))]
#[allow(missing_docs, clippy::missing_errors_doc, reason = "said above")]
impl Address {
    pub fn open(url: &str) -> Result<Address> {
        #[cfg(feature = "testing")]
        if let Some(running) = crate::testing::running() {
            running.check_address(url)?;
        }
        Ok(Address { url: url.to_owned() })
    }

    pub fn post(&self, headers: &[(&str, &str)], body: &[u8]) -> Result<()> {
        let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let sent = Sent { url: self.url.clone(), headers: headers.collect(), body: body.to_vec() };
        SENT.with_borrow_mut(|all| all.push(sent));
        Ok(())
    }

    pub fn status(&self) -> Status {
        Status::default()
    }
}
