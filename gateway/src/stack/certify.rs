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
use crate::id::Tag;

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
    S: Service<Certified, Response = T, Error = Refusal>,
    S::Future: Send + 'static,
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
            Ok(certified) => Box::pin(self.inner.call(certified)),
            Err(refusal) => Box::pin(std::future::ready(Err(refusal))),
        }
    }
}

fn certify(asked: Asked, sites: Arc<Sites>) -> Result<Certified, Refusal> {
    let wanted = sites
        .catalog
        .resolve(&asked.request.model, asked.at)
        .map_err(|unknown| Refusal::invalid("model", unknown.to_string()))?;
    let serving = sites.serving(&wanted, asked.at);
    if serving.is_empty() {
        return Err(nobody_serves(&asked.request.model, &sites));
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
        match compliance::certified(place, &asked.tags, asked.at) {
            Ok(()) => allowed.push(index),
            Err(reason) => rejected.push(Lack {
                backend: backend.name.to_string(),
                reason,
            }),
        }
    }
    if allowed.is_empty() {
        let tags: Vec<&str> = asked.tags.iter().map(Tag::as_str).collect();
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
    Ok(Certified {
        model: wanted.model,
        sites,
        allowed,
        rejected,
        asked,
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
