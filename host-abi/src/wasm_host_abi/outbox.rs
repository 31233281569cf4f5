//! `outbox`: payloads that the host sends to addresses, after the call and in its own time.
//!
//! A handle is an address that was granted. What is posted is copied, checked and queued; the connection is made
//! by a thread of the host, so that a guest neither waits for the network nor learns more of it than what became
//! of its payloads.

use super::base_bindings::sochdb::plugin::outbox as contract;
use super::base_bindings::sochdb::plugin::types::Label;
use super::handles::Handles;
use super::types::code;
use super::{GuestError, GuestState, Host, audited, charge};
use crate::address::Address;
use sochdb_observability::PostError;
use std::sync::Arc;
use wasmtime::Result;
use wasmtime::component::{Access, Resource};

/// The addresses that a store's guest has opened.
pub(crate) type Addresses = Handles<Arc<Address>>;

impl contract::Host for &mut GuestState {}
impl contract::HostAddress for &mut GuestState {}

type Answer<T> = std::result::Result<T, GuestError>;

impl<T> contract::HostAddressWithStore<T> for Host {
    fn open(host: Access<'_, T, Self>, url: String) -> Result<Answer<Resource<contract::Address>>> {
        audited(host, "outbox.address.open", |host| {
            charge(host, url.len())?;
            let state = host.get();
            state.audit.about(url.as_str());
            let address = match Address::parse(&url) {
                Ok(address) => address,
                Err(why) => return Ok(Err(GuestError::answer(code::INVALID, why))),
            };
            if !state.plugin.grant.may_send_to(&address) {
                let text = format!(
                    "the address '{address}' was not granted: it must be covered by `addresses` of the \
                     manifest and of the operator's policy"
                );
                return Ok(Err(GuestError::answer(code::DENIED, text)));
            }
            state.addresses.insert(Arc::new(address)).map(|id| Ok(Resource::new_own(id)))
        })
    }

    fn post(
        host: Access<'_, T, Self>,
        address: Resource<contract::Address>,
        headers: Vec<Label>,
        body: Vec<u8>,
    ) -> Result<Answer<()>> {
        audited(host, "outbox.address.post", |host| {
            let header_bytes = headers.iter().map(|header| header.name.len() + header.value.len());
            charge(host, body.len() + header_bytes.sum::<usize>())?;
            let state = host.get();
            let address = state.addresses.get(address.rep())?.clone();
            state.audit.about(address.as_str());
            let headers: Vec<_> =
                headers.into_iter().map(|header| (header.name, header.value)).collect();
            let posted = state.plugin.outbox.post(address.as_str(), &headers, body);
            Ok(posted.map_err(|error| {
                let code = match error {
                    PostError::Invalid(_) => code::INVALID,
                    PostError::Limit(_) => code::LIMIT,
                };
                GuestError::answer(code, error.to_string())
            }))
        })
    }

    fn status(
        host: Access<'_, T, Self>,
        address: Resource<contract::Address>,
    ) -> Result<contract::OutboxStatus> {
        audited(host, "outbox.address.status", |host| {
            charge(host, 0)?;
            let state = host.get();
            let address = state.addresses.get(address.rep())?.clone();
            state.audit.about(address.as_str());
            let status = state.plugin.outbox.status(address.as_str());
            let (waiting, sent, lost, why) = (status.waiting, status.sent, status.lost, status.why);
            Ok(contract::OutboxStatus { waiting, sent, lost, why })
        })
    }

    fn drop(host: Access<'_, T, Self>, address: Resource<contract::Address>) -> Result<()> {
        audited(host, "outbox.address.drop", |host| {
            charge(host, 0)?;
            host.get().addresses.remove(address.rep());
            Ok(())
        })
    }
}
