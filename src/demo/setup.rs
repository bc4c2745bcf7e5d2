//! Starts and stops the simulated server, the proxy and the traffic. Each runs on its own thread, so that none of
//! them waits for another or for the table.

use super::DemoError;
use crate::app::{App, AppError};
use crate::cli::DemoArgs;
use crate::config::{Sources, load};
use crate::proxy::DrainStage;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use streamgauge_sim::{SimServer, Traffic, TrafficSummary, TruthLog, demo_engines};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

/// Time between the last new request and the abort of open requests. A request aborted on its way to the server
/// would be recorded by one side only.
const DRAIN: Duration = Duration::from_secs(1);
/// Longest wait for a component to stop. Open connections end with the process.
const STOP: Duration = Duration::from_secs(2);

/// A future that runs on its own thread.
struct BackgroundTask<T> {
    /// Dropped to stop it.
    stop: Option<oneshot::Sender<()>>,
    result: oneshot::Receiver<T>,
}

impl<T: Send + 'static> BackgroundTask<T> {
    /// Starts a thread with a runtime for the future that `make` creates. The argument of `make` completes when the
    /// task is to stop.
    fn spawn<F: Future<Output = T>>(
        name: &str,
        make: impl FnOnce(oneshot::Receiver<()>) -> F + Send + 'static,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let (ended, result) = oneshot::channel();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // The receiver is gone once the demo has ended.
            let _ = ended.send(runtime.block_on(make(stopped)));
        })?;
        Ok(Self { stop: Some(stop), result })
    }

    /// Stops the task and waits for its result; `None` if it panicked.
    async fn stop(&mut self) -> Option<T> {
        self.stop = None;
        (&mut self.result).await.ok()
    }
}

/// The running components of the demo.
pub(super) struct DemoSetup {
    sim: BackgroundTask<io::Result<()>>,
    app: BackgroundTask<Result<(), AppError>>,
    traffic: BackgroundTask<TrafficSummary>,
    truth: TruthLog,
    proxy: SocketAddr,
    admin: SocketAddr,
}

impl DemoSetup {
    /// Starts the components.
    pub async fn start(args: &DemoArgs) -> Result<Self, DemoError> {
        let (bound, binding) = oneshot::channel();
        let mut sim: BackgroundTask<io::Result<()>> =
            BackgroundTask::spawn("sim", move |stopped| async move {
                let server =
                    SimServer::bind((Ipv4Addr::LOCALHOST, 0).into(), demo_engines()).await?;
                // The receiver is gone if the demo has ended meanwhile.
                let _ = bound.send((server.local_addr()?, server.truth()));
                server.run(ready(stopped)).await;
                Ok(())
            })?;
        let Ok((upstream, truth)) = binding.await else {
            return Err(match sim.stop().await {
                Some(Err(error)) => error.into(),
                _ => DemoError::Stopped("simulated server"),
            });
        };
        let app = bind(args, upstream)?;
        let admin = app.admin_address();
        let proxy = app.addresses().first().map(|(_, address)| *address);
        let proxy = proxy.ok_or(DemoError::Stopped("proxy"))?;
        let app = BackgroundTask::spawn("app", move |stopped| async {
            let (request, requested) = watch::channel(DrainStage::Serving);
            tokio::spawn(async move {
                ready(stopped).await;
                request.send_replace(DrainStage::Closing);
            });
            app.run(requested).await
        })?;
        let traffic = Traffic {
            rate_per_s: args.rate,
            drain: DRAIN,
            ..Traffic::demo_mix(connectable(proxy))
        };
        let traffic = BackgroundTask::spawn("traffic", move |stopped| async move {
            traffic.run(ready(stopped)).await
        })?;
        Ok(Self { sim, app, traffic, truth, proxy, admin: connectable(admin) })
    }

    /// Address of the proxy.
    pub fn proxy(&self) -> SocketAddr {
        self.proxy
    }

    /// Address of the admin port.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The simulated server's own record.
    pub fn truth(&self) -> &TruthLog {
        &self.truth
    }

    /// Completes when a component stops unexpectedly; returns the reason.
    pub async fn failed(&mut self) -> DemoError {
        tokio::select! {
            ended = &mut self.app.result => match ended {
                Ok(Err(error)) => DemoError::App(error),
                _ => DemoError::Stopped("proxy"),
            },
            ended = &mut self.sim.result => match ended {
                Ok(Err(error)) => error.into(),
                _ => DemoError::Stopped("simulated server"),
            },
            _ = &mut self.traffic.result => DemoError::Stopped("traffic"),
        }
    }

    /// Stops the traffic and returns the clients' own account of it, as text.
    pub async fn stop_traffic(&mut self) -> Result<String, DemoError> {
        let summary = self.traffic.stop().await.ok_or(DemoError::Stopped("traffic"))?;
        let TrafficSummary { sent, finished, aborted, rejected, failed, cut, skipped } = summary;
        let mut account = format!(
            "The clients sent {sent} requests: {finished} complete, {aborted} aborted as planned,\n\
             {rejected} rejected, {cut} cut at the end"
        );
        if failed > 0 {
            account.push_str(&format!(", {failed} FAILED"));
        }
        if skipped > 0 {
            account.push_str(&format!("; {skipped} not sent, because too many were open"));
        }
        account.push('.');
        Ok(account)
    }

    /// Stops the proxy, then the simulated server.
    pub async fn stop(mut self) -> Result<(), DemoError> {
        if let Ok(ended) = timeout(STOP, self.app.stop()).await {
            ended.ok_or(DemoError::Stopped("proxy"))?.map_err(DemoError::App)?;
        }
        // The process ends now, even if the simulated server does not stop in time.
        let _ = timeout(STOP, self.sim.stop()).await;
        Ok(())
    }
}

/// Completes when the sender is dropped.
async fn ready(stopped: oneshot::Receiver<()>) {
    let _ = stopped.await;
}

/// Binds the app as configured by flags, in front of this upstream. Environment variables are ignored: they are
/// meant for a real deployment.
fn bind(args: &DemoArgs, upstream: SocketAddr) -> Result<App, DemoError> {
    let models: Vec<String> = demo_engines().into_iter().map(|engine| engine.name).collect();
    let flags = vec![
        ("listen", args.listen.clone()),
        ("admin", args.admin.clone()),
        ("upstream", format!("http://{upstream}")),
        ("models", models.join(",")),
    ];
    let config = load(&Sources { flags, ..Sources::default() })?;
    App::bind(config).map_err(|source| match &source {
        AppError::Bind { .. } => DemoError::Bind(source),
        _ => DemoError::App(source),
    })
}

/// Replaces an unspecified address (0.0.0.0 or ::), which cannot be connected to, by loopback.
fn connectable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let loopback = match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        address.set_ip(loopback);
    }
    address
}
