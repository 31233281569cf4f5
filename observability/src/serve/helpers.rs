//! The threads that make pages which take their time.

use super::{Answer, Pages, Request};
use std::io;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use tokio::sync::oneshot;

const HELPERS: usize = 2;
/// Requests that wait for a helper.
const WAITING_MAX: usize = 16;

/// Makes pages, one at a time each. They end when this does, after the page that they are at.
pub(super) struct Helpers {
    jobs: SyncSender<Job>,
}

struct Job {
    request: Request,
    answer: oneshot::Sender<Answer>,
}

impl Helpers {
    /// Each holds a clone of `alive` while it lives.
    pub(super) fn start(pages: &Arc<dyn Pages>, alive: &mpsc::Sender<()>) -> io::Result<Helpers> {
        let (jobs, all) = mpsc::sync_channel(WAITING_MAX);
        let all = Arc::new(Mutex::new(all));
        for _ in 0..HELPERS {
            let (pages, all, alive) = (pages.clone(), all.clone(), alive.clone());
            thread::Builder::new().name("sochdb-pages".to_owned()).spawn(move || {
                help(&*pages, &all);
                drop((pages, all));
                drop(alive);
            })?;
        }
        Ok(Helpers { jobs })
    }

    /// Where the answer will come from; `None` when too many wait already.
    pub(super) fn ask(&self, request: Request) -> Option<oneshot::Receiver<Answer>> {
        let (answer, comes) = oneshot::channel();
        self.jobs.try_send(Job { request, answer }).ok().map(|()| comes)
    }
}

fn help(pages: &dyn Pages, jobs: &Mutex<Receiver<Job>>) {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { request, answer }) = next else { return };
        // Nobody may want the answer any more, and it may be expensive.
        if !answer.is_closed() {
            let _ = answer.send(super::answer(pages, &request));
        }
    }
}
