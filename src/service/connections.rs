//! Connections, of which there are so many at most, none for longer than it is used.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::LOOK;
use crate::stop::Stop;

/// Most connections at a time; others wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;

/// Bytes of the longest head of a request.
const MAX_HEAD: usize = 32 << 10;

/// How long the head of a request may take, from the end of the one before.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause after the system has refused a connection, for want of files.
const REFUSED_PAUSE: Duration = Duration::from_millis(200);

/// Serves until a stop, and then those requests that have begun, for so long as `grace`.
pub(super) async fn serve(listener: &TcpListener, router: &Router, stop: &Stop, grace: Duration) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while !stop.is_set() {
        let Some(Ok(place)) = before_stop(stop, || Arc::clone(&places).acquire_owned()).await else { break };
        let Some(accepted) = before_stop(stop, || listener.accept()).await else { break };
        let connection = match accepted {
            Ok((connection, _)) => connection,
            Err(error) => {
                tracing::warn!("a connection was not accepted: {error}");
                tokio::time::sleep(REFUSED_PAUSE).await;
                continue;
            }
        };
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD);
        let service = TowerToHyperService::new(router.clone());
        let connection = graceful.watch(server.serve_connection(TokioIo::new(connection), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection has ended: {error}");
            }
            drop(place);
        });
    }
    if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were cut off that took longer than {grace:?}");
    }
}

/// What a future gives before a stop. It is made anew for each look at the flag, and must not lose anything by that.
async fn before_stop<F: Future>(stop: &Stop, make: impl Fn() -> F) -> Option<F::Output> {
    loop {
        match tokio::time::timeout(LOOK, make()).await {
            Ok(done) => return Some(done),
            Err(_) if stop.is_set() => return None,
            Err(_) => {}
        }
    }
}
