//! Certify: which backends may serve this request, by the demands of its key and its headers.
//! Decided before prices are looked at; what is not allowed here is out of every later layer's
//! reach.

use std::sync::Arc;
use std::task::{Context, Poll};

use smallvec::SmallVec;
use tower::Service;

use super::passage::{Asked, Certified};
use super::sites::Sites;
use super::{Outcome, Rooms};
use crate::chat::{Code, Lack, Refusal};
use crate::compliance;
use crate::id::{ModelName, Tag};
use crate::time::Timestamp;

#[derive(Clone)]
pub(super) struct Certify<S> {
    inner: S,
    rooms: Arc<Rooms>,
}

impl<S> Certify<S> {
    pub(super) fn new(inner: S, rooms: Arc<Rooms>) -> Self {
        Certify { inner, rooms }
    }
}

impl<S, T> Service<Asked> for Certify<S>
where
    S: Service<Certified, Response = T, Error = Refusal, Future = Outcome<T>>,
    T: Send + 'static,
{
    type Response = T;
    type Error = Refusal;
    type Future = Outcome<T>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, asked: Asked) -> Self::Future {
        match certify(asked, self.rooms.sites.load_full()) {
            Ok(certified) => self.inner.call(certified),
            Err(refusal) => Box::pin(std::future::ready(Err(refusal))),
        }
    }
}

fn certify(asked: Asked, sites: Arc<Sites>) -> Result<Certified, Refusal> {
    let Allowed {
        model,
        allowed,
        rejected,
    } = allowed(&sites, &asked.request.model, &asked.tags, asked.at)?;
    Ok(Certified {
        model,
        allowed,
        rejected,
        sites,
        asked,
    })
}

/// The sites that may serve a model under these demands, never empty, and why others may not.
pub(super) struct Allowed {
    pub(super) model: ModelName,
    pub(super) allowed: SmallVec<[usize; 16]>,
    pub(super) rejected: Vec<Lack>,
}

pub(super) fn allowed(
    sites: &Sites,
    name: &str,
    tags: &[Tag],
    at: Timestamp,
) -> Result<Allowed, Refusal> {
    let wanted = sites
        .catalog
        .resolve(name, at)
        .map_err(|unknown| Refusal::invalid("model", unknown.to_string()))?;
    let serving = sites.serving(&wanted, at);
    if serving.is_empty() {
        return Err(nobody_serves(name, sites));
    }
    let mut allowed = SmallVec::new();
    let mut rejected = Vec::new();
    for index in serving {
        let backend = &sites.all[index].backend;
        let place = compliance::Place {
            host: backend.host(),
            region: &backend.region,
            model: backend.model(),
            confirmed: &backend.confirmed,
        };
        match compliance::certified(place, tags, at) {
            Ok(()) => allowed.push(index),
            Err(reason) => rejected.push(Lack {
                backend: backend.name.to_string(),
                reason,
            }),
        }
    }
    if allowed.is_empty() {
        let tags: Vec<&str> = tags.iter().map(Tag::as_str).collect();
        return Err(Refusal::new(
            Code::NoCertifiedBackend,
            format!(
                "no backend that serves {} answers all of these demands: {}. The request was sent nowhere; \
                 `backends` lists what each one lacks",
                wanted.model,
                tags.join(", ")
            ),
        )
        .because(rejected));
    }
    Ok(Allowed {
        model: wanted.model,
        allowed,
        rejected,
    })
}

fn nobody_serves(model: &str, sites: &Sites) -> Refusal {
    let unused = sites.unused.iter().map(|unused| Lack {
        backend: unused.host.to_string(),
        reason: unused.reason.clone(),
    });
    Refusal::new(
        Code::NoBackend,
        format!(
            "no host that is enabled here serves `{model}` at this time; `tollgate check` lists what to set \
             for each host, and `backends` says it here"
        ),
    )
    .because(unused.collect())
}
