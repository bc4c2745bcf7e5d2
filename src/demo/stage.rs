//! What the demo sets up: the simulated server, the app in front of it, and the traffic; each on
//! threads of its own, so that none of them waits for another or for the table.

use super::DemoError;
use crate::app::{App, AppError};
use crate::cli::DemoArgs;
use crate::config::{Sources, load};
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use streamgauge_sim::{SimServer, Traffic, TrafficSummary, TruthLog, demo_engines};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Between the last new request and the cutting of the open ones, so that none is cut while it is
/// still on its way to the server, where only one side would know of it.
const DRAIN: Duration = Duration::from_secs(1);
/// How long the app may take to stop; what is still open then ends with the process.
const STOP: Duration = Duration::from_secs(2);

/// A future on a thread of its own.
struct Actor<T> {
    /// Dropped to stop it.
    stop: Option<oneshot::Sender<()>>,
    result: oneshot::Receiver<T>,
}

impl<T: Send + 'static> Actor<T> {
    /// Starts a thread and a runtime for the future that `make` makes of its stop signal.
    fn spawn<F: Future<Output = T>>(
        name: &str,
        make: impl FnOnce(oneshot::Receiver<()>) -> F + Send + 'static,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let (ended, result) = oneshot::channel();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // Nobody listens once the demo has ended.
            let _ = ended.send(runtime.block_on(make(stopped)));
        })?;
        Ok(Self { stop: Some(stop), result })
    }

    /// Tells it to stop and waits for its result; `None` if it panicked.
    async fn stop(&mut self) -> Option<T> {
        self.stop = None;
        (&mut self.result).await.ok()
    }
}

/// All that runs.
pub(super) struct Stage {
    sim: Actor<io::Result<()>>,
    app: Actor<Result<(), AppError>>,
    traffic: Actor<TrafficSummary>,
    truth: TruthLog,
    proxy: SocketAddr,
    admin: SocketAddr,
}

impl Stage {
    /// Starts everything.
    pub async fn start(args: &DemoArgs) -> Result<Self, DemoError> {
        let (bound, binding) = oneshot::channel();
        let mut sim: Actor<io::Result<()>> = Actor::spawn("sim", move |stopped| async move {
            let server = SimServer::bind((Ipv4Addr::LOCALHOST, 0).into(), demo_engines()).await?;
            // Nobody listens if the demo has ended meanwhile.
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
        let app = Actor::spawn("app", move |stopped| async { app.run(ready(stopped)).await })?;
        let traffic = Traffic {
            rate_per_s: args.rate,
            drain: DRAIN,
            ..Traffic::demo_mix(connectable(proxy))
        };
        let traffic =
            Actor::spawn(
                "traffic",
                move |stopped| async move { traffic.run(ready(stopped)).await },
            )?;
        Ok(Self { sim, app, traffic, truth, proxy, admin: connectable(admin) })
    }

    /// Where clients connect.
    pub fn proxy(&self) -> SocketAddr {
        self.proxy
    }

    /// Where to scrape.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The simulated server's own record.
    pub fn truth(&self) -> &TruthLog {
        &self.truth
    }

    /// Ready, with the reason, when a part stops that was not told to.
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

    /// Ends the traffic; gives the clients' own account of it.
    pub async fn stop_traffic(&mut self) -> Result<String, DemoError> {
        let summary = self.traffic.stop().await.ok_or(DemoError::Stopped("traffic"))?;
        let TrafficSummary { sent, finished, aborted, rejected, failed, cut, skipped } = summary;
        let mut account = format!(
            "The clients: {sent} requests sent; {finished} complete, {aborted} left early as \
             planned, {rejected} refused, {cut} cut at the end"
        );
        if failed > 0 {
            account.push_str(&format!(", {failed} FAILED"));
        }
        if skipped > 0 {
            account.push_str(&format!("; {skipped} not sent, since too many were open"));
        }
        account.push('.');
        Ok(account)
    }

    /// Stops the proxy, and then the server behind it.
    pub async fn stop(mut self) -> Result<(), DemoError> {
        if let Ok(ended) = timeout(STOP, self.app.stop()).await {
            ended.ok_or(DemoError::Stopped("proxy"))?.map_err(DemoError::App)?;
        }
        // The process ends now; whether the simulated server is quick about it does not matter.
        let _ = timeout(STOP, self.sim.stop()).await;
        Ok(())
    }
}

/// Ready when told to stop, or when there is nobody left to tell.
async fn ready(stopped: oneshot::Receiver<()>) {
    let _ = stopped.await;
}

/// The app as it would be configured by flags in front of this upstream; the environment is left out,
/// since it is meant for another.
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
        AppError::Bind { what, .. } => {
            let flag = if what == "admin" { "--admin" } else { "--listen" };
            DemoError::Bind { flag, source }
        }
        _ => DemoError::App(source),
    })
}

/// An address of ours as one to connect to: "any" is no destination.
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
