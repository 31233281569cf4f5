//! `wasi:sockets` with no network behind it.
//!
//! The runtimes of some languages import sockets whether a program uses them or not, Python's among them, so
//! they are linked. Nothing here reaches the operating system: what would make a socket or look a name up
//! answers `access-denied`, which such a runtime shows as an error of its own. So there never is a socket, and
//! of the functions that are about one only the names are here, for components to import: whoever calls one
//! all the same has no handle to call it with.
//!
//! | what is called                                               | answers                                  |
//! |--------------------------------------------------------------|------------------------------------------|
//! | `create-tcp-socket`, `create-udp-socket`, `resolve-addresses` | `access-denied`                         |
//! | `instance-network`                                           | a network with nothing in it             |
//! | `network-error-code`                                         | none: no error came from a network       |
//! | anything about a socket, or about an answer to a name        | a trap: there is none                    |

use super::super::GuestState;
use wasmtime::StoreContextMut;
use wasmtime::component::types::ComponentFunc;
use wasmtime::component::{Linker, Resource, ResourceType, Val};

/// The version whose interfaces these are; they are there for every 0.2.
const VERSION: &str = "0.2.0";
/// How WASI says that the guest may not.
const DENIED: &str = "access-denied";

/// A network with nothing in it.
struct NoNetwork;
/// What there is none of: a socket, its streams of datagrams, an answer to a name.
struct NoSocket;

/// What an interface has.
struct Interface {
    name: &'static str,
    /// Resources that no guest can have.
    resources: &'static [&'static str],
    /// Functions of those.
    methods: &'static [&'static str],
    /// Functions that would make one of them.
    makers: &'static [&'static str],
}

const INTERFACES: &[Interface] = &[
    Interface {
        name: "wasi:sockets/tcp",
        resources: &["tcp-socket"],
        methods: &[
            "[method]tcp-socket.start-bind",
            "[method]tcp-socket.finish-bind",
            "[method]tcp-socket.start-connect",
            "[method]tcp-socket.finish-connect",
            "[method]tcp-socket.start-listen",
            "[method]tcp-socket.finish-listen",
            "[method]tcp-socket.accept",
            "[method]tcp-socket.local-address",
            "[method]tcp-socket.remote-address",
            "[method]tcp-socket.is-listening",
            "[method]tcp-socket.address-family",
            "[method]tcp-socket.set-listen-backlog-size",
            "[method]tcp-socket.keep-alive-enabled",
            "[method]tcp-socket.set-keep-alive-enabled",
            "[method]tcp-socket.keep-alive-idle-time",
            "[method]tcp-socket.set-keep-alive-idle-time",
            "[method]tcp-socket.keep-alive-interval",
            "[method]tcp-socket.set-keep-alive-interval",
            "[method]tcp-socket.keep-alive-count",
            "[method]tcp-socket.set-keep-alive-count",
            "[method]tcp-socket.hop-limit",
            "[method]tcp-socket.set-hop-limit",
            "[method]tcp-socket.receive-buffer-size",
            "[method]tcp-socket.set-receive-buffer-size",
            "[method]tcp-socket.send-buffer-size",
            "[method]tcp-socket.set-send-buffer-size",
            "[method]tcp-socket.subscribe",
            "[method]tcp-socket.shutdown",
        ],
        makers: &[],
    },
    Interface {
        name: "wasi:sockets/tcp-create-socket",
        resources: &[],
        methods: &[],
        makers: &["create-tcp-socket"],
    },
    Interface {
        name: "wasi:sockets/udp",
        resources: &["udp-socket", "incoming-datagram-stream", "outgoing-datagram-stream"],
        methods: &[
            "[method]udp-socket.start-bind",
            "[method]udp-socket.finish-bind",
            "[method]udp-socket.stream",
            "[method]udp-socket.local-address",
            "[method]udp-socket.remote-address",
            "[method]udp-socket.address-family",
            "[method]udp-socket.unicast-hop-limit",
            "[method]udp-socket.set-unicast-hop-limit",
            "[method]udp-socket.receive-buffer-size",
            "[method]udp-socket.set-receive-buffer-size",
            "[method]udp-socket.send-buffer-size",
            "[method]udp-socket.set-send-buffer-size",
            "[method]udp-socket.subscribe",
            "[method]incoming-datagram-stream.receive",
            "[method]incoming-datagram-stream.subscribe",
            "[method]outgoing-datagram-stream.check-send",
            "[method]outgoing-datagram-stream.send",
            "[method]outgoing-datagram-stream.subscribe",
        ],
        makers: &[],
    },
    Interface {
        name: "wasi:sockets/udp-create-socket",
        resources: &[],
        methods: &[],
        makers: &["create-udp-socket"],
    },
    Interface {
        name: "wasi:sockets/ip-name-lookup",
        resources: &["resolve-address-stream"],
        methods: &[
            "[method]resolve-address-stream.resolve-next-address",
            "[method]resolve-address-stream.subscribe",
        ],
        makers: &["resolve-addresses"],
    },
];
const NETWORK: &str = "wasi:sockets/network";
const INSTANCE_NETWORK: &str = "wasi:sockets/instance-network";

/// Whether `interface` is one of these.
pub(super) fn is_linked(interface: &str) -> bool {
    [NETWORK, INSTANCE_NETWORK].contains(&interface)
        || INTERFACES.iter().any(|known| known.name == interface)
}

pub(super) fn link(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    let mut network = linker.instance(&format!("{NETWORK}@{VERSION}"))?;
    network.resource("network", ResourceType::host::<NoNetwork>(), |_, _| Ok(()))?;
    network.func_new("network-error-code", |store, _, lent, answer| {
        give_back(store, lent)?;
        put(answer, Val::Option(None))
    })?;
    linker
        .instance(&format!("{INSTANCE_NETWORK}@{VERSION}"))?
        .func_wrap("instance-network", |_: StoreContextMut<'_, GuestState>, (): ()| {
            Ok((Resource::<NoNetwork>::new_own(0),))
        })?;
    for interface in INTERFACES {
        let mut instance = linker.instance(&format!("{}@{VERSION}", interface.name))?;
        for name in interface.resources {
            instance.resource(name, ResourceType::host::<NoSocket>(), |_, _| Ok(()))?;
        }
        for name in interface.methods {
            instance.func_new(name, no_socket)?;
        }
        for name in interface.makers {
            instance.func_new(name, denied)?;
        }
    }
    Ok(())
}

fn denied(
    store: StoreContextMut<'_, GuestState>,
    _: ComponentFunc,
    lent: &[Val],
    answer: &mut [Val],
) -> wasmtime::Result<()> {
    give_back(store, lent)?;
    put(answer, Val::Result(Err(Some(Box::new(Val::Enum(DENIED.into()))))))
}

/// Ends what was lent for the call: a handle that is still lent when it returns is a trap.
fn give_back(mut store: StoreContextMut<'_, GuestState>, lent: &[Val]) -> wasmtime::Result<()> {
    lent.iter().try_for_each(|argument| match argument {
        Val::Resource(handle) => handle.resource_drop(&mut store),
        _ => Ok(()),
    })
}

fn no_socket(
    _: StoreContextMut<'_, GuestState>,
    _: ComponentFunc,
    _: &[Val],
    _: &mut [Val],
) -> wasmtime::Result<()> {
    Err(wasmtime::Error::msg("there is no such socket: a plugin has no network"))
}

/// A component may have declared the function as one that answers nothing.
fn put(answer: &mut [Val], value: Val) -> wasmtime::Result<()> {
    match answer {
        [only] => {
            *only = value;
            Ok(())
        }
        _ => Err(wasmtime::Error::msg("it is declared with other results than WASI's")),
    }
}
