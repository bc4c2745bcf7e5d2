//! Scenarios: servers and traffic on virtual time, with the truth about each request.
//!
//! | file | content |
//! |---|---|
//! | `traffic` | requests and their clients |
//! | `slot_server`, `step_server` | the servers |
//! | `fitting`, `unfitting`, `without_queue`, `signals` | the scenarios, by class |
//! | `estimator_adapter` | the estimator's interface |
//! | `observation` | runs the estimator beside a server, as a proxy would |
//! | `figures` | accuracy of the runs of a scenario |
//! | `goals` | the accuracy that each class should have |
//! | `table` | the table of all scenarios |

pub mod estimator_adapter;
pub mod figures;
pub mod fitting;
pub mod goals;
pub mod observation;
pub mod signals;
pub mod slot_server;
pub mod step_server;
pub mod table;
pub mod traffic;
pub mod unfitting;
pub mod without_queue;

use observation::{LEARNED, ScenarioRun, observe};
use slot_server::{IncidentKind, ServerIncident, SlotRelease, SlotServer, SpeedModel, TurnOrder};
use step_server::StepServer;
use strum::VariantArray;
use traffic::{
    ArrivalProcess, ScenarioTraffic, ServedTruth, TokenSizes, TrafficPhase, TrafficSpec,
};

/// How a scenario relates to the models of the estimator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum ScenarioClass {
    /// First come, first served, into slots of which all requests are seen.
    Fits,
    /// The server queues in another way, or not all of its requests are seen.
    DoesNotFit,
    /// No request waits.
    NoQueue,
    /// The load or the server changes. The expected wait of a new request is judged.
    Signal,
}

impl ScenarioClass {
    pub fn label(self) -> &'static str {
        match self {
            Self::Fits => "fits",
            Self::DoesNotFit => "does not fit",
            Self::NoQueue => "no queue",
            Self::Signal => "signal",
        }
    }

    /// Title of its table.
    pub fn title(self) -> &'static str {
        match self {
            Self::Fits => "Servers that the slot model fits",
            Self::DoesNotFit => "Servers that it does not fit",
            Self::NoQueue => "Servers without a queue",
            Self::Signal => "Loads and servers that change",
        }
    }
}

/// A server of a scenario.
#[derive(Debug, Clone)]
pub enum ScenarioServer {
    Slots(SlotServer),
    Steps(StepServer),
}

impl ScenarioServer {
    pub fn serve(&self, traffic: &TrafficSpec, seed: u64) -> Vec<ServedTruth> {
        let requests = ScenarioTraffic::new(traffic, seed);
        match self {
            Self::Slots(server) => server.serve(requests, seed),
            Self::Steps(server) => server.serve(requests, seed),
        }
    }

    /// Requests per second that the server can serve, measured with all requests at once.
    fn capacity(&self, traffic: &TrafficSpec) -> f64 {
        const REQUESTS: usize = 600;
        let phases = vec![TrafficPhase { requests: REQUESTS, rate: 1e9 }];
        let at_once = TrafficSpec {
            requests: REQUESTS,
            arrivals: ArrivalProcess::OpenLoop { phases, mean_burst: 1.0 },
            giving_up: None,
            ..traffic.clone()
        };
        let mut server = self.clone();
        if let Self::Slots(server) = &mut server {
            server.incident = None;
        }
        let truth = server.serve(&at_once, 1);
        // Up to the last start, because slots are empty after it.
        let last = truth.iter().filter_map(|one| one.start).fold(0.0, f64::max);
        truth.len() as f64 / last
    }
}

/// A server and its traffic.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub name: String,
    pub class: ScenarioClass,
    pub server: ScenarioServer,
    pub traffic: TrafficSpec,
    /// Number of requests before the waits are judged, for the estimator to learn from.
    pub learned: usize,
    /// Whether the server is never full before the requests whose signal is judged. Its slots are not known then.
    pub is_first_saturation: bool,
    /// Name of a server model, other than slots, that describes this server.
    pub server_model: Option<&'static str>,
}

impl Scenario {
    pub fn new(name: &str, class: ScenarioClass, server: ScenarioServer) -> Self {
        Self {
            name: name.to_owned(),
            class,
            server,
            traffic: usual_traffic(),
            learned: LEARNED,
            is_first_saturation: false,
            server_model: None,
        }
    }

    /// Changes the traffic.
    pub fn with(mut self, change: impl FnOnce(&mut TrafficSpec)) -> Self {
        change(&mut self.traffic);
        self
    }

    /// The server is full for the first time.
    pub fn never_full_before(mut self) -> Self {
        self.is_first_saturation = true;
        self
    }

    /// Names the server model that describes this server.
    pub fn described_by(mut self, server_model: &'static str) -> Self {
        self.server_model = Some(server_model);
        self
    }

    /// Judges the waits from the first request on.
    pub fn judged_from_the_first(mut self) -> Self {
        self.learned = 0;
        self
    }

    /// Sets the arrival rate to this part of the capacity of the server. `mean_burst` is the mean number of requests of a
    /// burst.
    pub fn at_load(self, utilisation: f64, mean_burst: f64) -> Self {
        let requests = self.traffic.requests;
        self.in_phases(&[(requests, utilisation)], mean_burst)
    }

    /// Sets the phases of the traffic: a number of requests, and the arrival rate as a part of the capacity.
    pub fn in_phases(mut self, phases: &[(usize, f64)], mean_burst: f64) -> Self {
        let capacity = self.server.capacity(&self.traffic);
        let phase =
            |&(requests, part): &(usize, f64)| TrafficPhase { requests, rate: part * capacity };
        let phases: Vec<TrafficPhase> = phases.iter().map(phase).collect();
        self.traffic.requests = phases.iter().map(|phase| phase.requests).sum();
        self.traffic.arrivals = ArrivalProcess::OpenLoop { phases, mean_burst };
        self
    }

    /// Sets the arrival rate, in requests per second.
    pub fn at_rate(mut self, rate: f64, mean_burst: f64) -> Self {
        let phases = vec![TrafficPhase { requests: self.traffic.requests, rate }];
        self.traffic.arrivals = ArrivalProcess::OpenLoop { phases, mean_burst };
        self
    }

    /// Sets a number of clients that wait for each response, and their mean pause in seconds.
    pub fn with_clients(mut self, clients: usize, mean_pause: f64) -> Self {
        self.traffic.arrivals = ArrivalProcess::ClosedLoop { clients, mean_pause };
        self
    }

    /// Runs the estimator beside the server.
    pub fn run(&self, seed: u64) -> ScenarioRun {
        let truth = self.server.serve(&self.traffic, seed);
        let change = self.incident().map(|incident| {
            let from = truth[incident.request].request.at;
            match incident.kind {
                IncidentKind::Hang(seconds) => (from, from + seconds),
                IncidentKind::Slots(_) => (from, from),
            }
        });
        observe(&truth, self, change, seed)
    }

    /// Time for which a request held its slot, in seconds, if its response was complete.
    fn holding(&self, truth: &ServedTruth) -> Option<f64> {
        match &self.server {
            ScenarioServer::Slots(SlotServer { release: SlotRelease::FirstOutput, .. }) => {
                Some(truth.first? - truth.start?)
            }
            _ => truth.service(),
        }
    }

    /// Number of slots of all replicas when this request is sent.
    fn slots_at(&self, request: usize) -> usize {
        match (&self.server, self.incident()) {
            (_, Some(ServerIncident { request: changed_at, kind: IncidentKind::Slots(slots) }))
                if request >= changed_at =>
            {
                slots
            }
            (ScenarioServer::Slots(server), _) => server.slots.saturating_mul(server.replicas),
            (ScenarioServer::Steps(server), _) => server.most_running,
        }
    }

    fn incident(&self) -> Option<ServerIncident> {
        match &self.server {
            ScenarioServer::Slots(server) => server.incident,
            ScenarioServer::Steps(_) => None,
        }
    }
}

/// All scenarios, in the order of the table.
pub fn all() -> Vec<Scenario> {
    [fitting::scenarios(), unfitting::scenarios(), without_queue::scenarios(), signals::scenarios()]
        .concat()
}

/// A server with constant speed and this many slots.
fn slots(slots: usize) -> SlotServer {
    SlotServer {
        slots,
        replicas: 1,
        order: TurnOrder::FirstInFirstOut,
        release: SlotRelease::End,
        speed: SpeedModel::Constant,
        prompt_base: 0.02,
        prompt_per_token: 2e-4,
        prompt_per_square: 0.0,
        jitter: 0.15,
        per_token: 0.012,
        per_token_sigma: 0.0,
        slowed_by_prompts: 0.0,
        notices_disconnects: true,
        incident: None,
    }
}

/// Streamed requests with lognormal sizes.
fn usual_traffic() -> TrafficSpec {
    TrafficSpec {
        requests: 1500,
        arrivals: ArrivalProcess::ClosedLoop { clients: 1, mean_pause: 1.0 },
        prompts: TokenSizes { median: 400.0, sigma: 1.0, max: 8000.0 },
        outputs: TokenSizes { median: 60.0, sigma: 0.7, max: 600.0 },
        streamed: 1.0,
        giving_up: None,
        cache_hits: 0.0,
        models: 1,
        unseen: 0.0,
        urgent: 0.0,
        reports_usage: false,
    }
}
