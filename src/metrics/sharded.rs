//! Counters and histograms that are updated for every token.
//!
//! Each worker writes its own shard only. A token costs plain loads and stores: no locked
//! instruction, and no cache line moves between workers. A scrape adds the shards up.

use prometheus::Result;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, LabelPair, MetricFamily, MetricType};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

thread_local! {
    /// Index of this thread's shard. Threads without one share shard 0.
    static SHARD: Cell<usize> = const { Cell::new(0) };
}

/// Assigns the shard of this worker (counted from 0) to this thread. No two threads may claim the same shard: they would
/// lose each other's updates.
pub fn claim_shard(worker: usize) {
    SHARD.set(worker + 1);
}

/// Shards of one metric: a shared one, and one for each worker.
#[derive(Debug)]
struct Shards<C>(Box<[C]>);

impl<C> Shards<C> {
    fn new(workers: usize, new: impl Fn() -> C) -> Self {
        Self((0..=workers).map(|_| new()).collect())
    }

    /// Returns this thread's own shard, or else the shared one as the error.
    fn here(&self) -> std::result::Result<&C, Option<&C>> {
        let own = SHARD.get();
        self.0.get(own).filter(|_| own > 0).ok_or_else(|| self.0.first())
    }
}

/// Adds to a cell that only this thread writes.
fn add_unshared(cell: &AtomicU64, count: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(count), Relaxed);
}

/// A counter with one shard for each worker.
#[derive(Debug)]
pub struct ShardedCounter(Shards<CounterShard>);

#[derive(Debug, Default)]
#[repr(align(64))]
struct CounterShard(AtomicU64);

impl ShardedCounter {
    pub fn inc_by(&self, count: u64) {
        match self.0.here() {
            Ok(own) => add_unshared(&own.0, count),
            Err(Some(shared)) => {
                shared.0.fetch_add(count, Relaxed);
            }
            Err(None) => {}
        }
    }

    pub fn get(&self) -> u64 {
        self.0.0.iter().map(|cell| cell.0.load(Relaxed)).sum()
    }
}

/// A histogram with one shard for each worker.
#[derive(Debug)]
pub struct ShardedHistogram {
    edges: Arc<[f64]>,
    shards: Shards<HistogramShard>,
}

#[derive(Debug)]
#[repr(align(64))]
struct HistogramShard {
    /// The bits of an `f64`.
    sum: AtomicU64,
    /// One for each edge, and one above the last edge.
    buckets: Box<[AtomicU64]>,
}

impl ShardedHistogram {
    pub fn observe(&self, value: f64) {
        self.observe_many(value, 1);
    }

    /// Records the same value `count` times.
    pub fn observe_many(&self, value: f64, count: u64) {
        // An edge belongs to the bucket below it.
        let at = self.edges.partition_point(|edge| *edge < value);
        let more = value * count as f64;
        match self.shards.here() {
            Ok(HistogramShard { sum, buckets }) => {
                sum.store((f64::from_bits(sum.load(Relaxed)) + more).to_bits(), Relaxed);
                if let Some(bucket) = buckets.get(at) {
                    add_unshared(bucket, count);
                }
            }
            Err(Some(HistogramShard { sum, buckets })) => {
                let add = |sum| Some((f64::from_bits(sum) + more).to_bits());
                // The closure always returns a value, so this is never an error.
                let _ = sum.fetch_update(Relaxed, Relaxed, add);
                if let Some(bucket) = buckets.get(at) {
                    bucket.fetch_add(count, Relaxed);
                }
            }
            Err(None) => {}
        }
    }
}

/// A metric of a [`ShardedFamily`].
pub trait ShardedMetric: Send + Sync {
    const TYPE: MetricType;

    /// Returns the sum over all shards.
    fn collect(&self) -> proto::Metric;
}

impl ShardedMetric for ShardedCounter {
    const TYPE: MetricType = MetricType::COUNTER;

    fn collect(&self) -> proto::Metric {
        let mut counter = proto::Counter::default();
        counter.set_value(self.get() as f64);
        let mut metric = proto::Metric::default();
        metric.set_counter(counter);
        metric
    }
}

impl ShardedMetric for ShardedHistogram {
    const TYPE: MetricType = MetricType::HISTOGRAM;

    fn collect(&self) -> proto::Metric {
        let mut cumulative = 0;
        let mut of = |at: usize| {
            let shards = self.shards.0.iter().filter_map(|shard| shard.buckets.get(at));
            cumulative += shards.map(|cell| cell.load(Relaxed)).sum::<u64>();
            cumulative
        };
        let bucket = |(at, edge): (usize, &f64)| {
            let mut bucket = proto::Bucket::default();
            bucket.set_cumulative_count(of(at));
            bucket.set_upper_bound(*edge);
            bucket
        };
        let buckets: Vec<_> = self.edges.iter().enumerate().map(bucket).collect();
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(of(self.edges.len()));
        let sums = self.shards.0.iter().map(|shard| f64::from_bits(shard.sum.load(Relaxed)));
        histogram.set_sample_sum(sums.sum());
        let mut metric = proto::Metric::default();
        metric.set_histogram(histogram);
        metric
    }
}

/// All metrics of one name, by label values.
pub struct ShardedFamily<M>(Arc<FamilyData<M>>);

struct FamilyData<M> {
    desc: Desc,
    new: Box<dyn Fn() -> M + Send + Sync>,
    /// By the label values, in the order of the labels.
    metrics: RwLock<BTreeMap<Vec<String>, Arc<M>>>,
}

impl<M> Clone for ShardedFamily<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl ShardedFamily<ShardedCounter> {
    /// A family of counters.
    pub fn counters(name: &str, help: &str, labels: &[&str], workers: usize) -> Result<Self> {
        Self::new(name, help, labels, move || {
            ShardedCounter(Shards::new(workers, CounterShard::default))
        })
    }
}

impl ShardedFamily<ShardedHistogram> {
    /// A family of histograms.
    ///
    /// # Errors
    /// If the edges do not ascend.
    pub fn histograms(
        name: &str,
        help: &str,
        labels: &[&str],
        edges: &[f64],
        workers: usize,
    ) -> Result<Self> {
        if !edges.is_sorted_by(|a, b| a < b) {
            return Err(prometheus::Error::Msg(format!(
                "the bucket edges of {name} do not ascend"
            )));
        }
        let edges: Arc<[f64]> = edges.into();
        Self::new(name, help, labels, move || {
            let buckets = edges.len() + 1;
            let shard = || HistogramShard {
                sum: AtomicU64::new(0),
                buckets: (0..buckets).map(|_| AtomicU64::new(0)).collect(),
            };
            ShardedHistogram { edges: Arc::clone(&edges), shards: Shards::new(workers, shard) }
        })
    }
}

impl<M: ShardedMetric> ShardedFamily<M> {
    fn new(
        name: &str,
        help: &str,
        labels: &[&str],
        new: impl Fn() -> M + Send + Sync + 'static,
    ) -> Result<Self> {
        let labels = labels.iter().map(ToString::to_string).collect();
        let desc = Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())?;
        Ok(Self(Arc::new(FamilyData { desc, new: Box::new(new), metrics: RwLock::default() })))
    }

    /// Returns the metric with these label values. It is created at first use.
    pub fn with_label_values(&self, values: &[&str]) -> Arc<M> {
        let FamilyData { new, metrics, .. } = &*self.0;
        // A panic while the lock was held cannot have left the map half-changed.
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        let known = metrics.read().unwrap_or_else(PoisonError::into_inner).get(&values).cloned();
        known.unwrap_or_else(|| {
            let mut metrics = metrics.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(metrics.entry(values).or_insert_with(|| Arc::new(new())))
        })
    }
}

impl<M: ShardedMetric> Collector for ShardedFamily<M> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let FamilyData { desc, metrics, .. } = &*self.0;
        let show = |(values, metric): (&Vec<String>, &Arc<M>)| {
            let pair = |(name, value): (&String, &String)| {
                let mut pair = LabelPair::default();
                pair.set_name(name.clone());
                pair.set_value(value.clone());
                pair
            };
            let mut pairs: Vec<_> = desc.variable_labels.iter().zip(values).map(pair).collect();
            pairs.sort_by(|one, two| one.name().cmp(two.name()));
            let mut metric = metric.collect();
            metric.set_label(pairs);
            metric
        };
        let metrics = metrics.read().unwrap_or_else(PoisonError::into_inner);
        let mut family = MetricFamily::default();
        family.set_name(desc.fq_name.clone());
        family.set_help(desc.help.clone());
        family.set_field_type(M::TYPE);
        family.set_metric(metrics.iter().map(show).collect());
        vec![family]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::{HistogramOpts, HistogramVec, Registry, TextEncoder};

    fn text(collector: impl Collector + 'static) -> String {
        let registry = Registry::new();
        registry.register(Box::new(collector)).unwrap();
        TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
    }

    #[test]
    fn shards_add_up_without_lost_updates() {
        let count = ShardedFamily::counters("a_total", "h", &["l"], 2).unwrap();
        let samples = ShardedFamily::histograms("b", "h", &[], &[1.0, 2.0], 2).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (count, samples) =
                    (count.with_label_values(&["x"]), samples.with_label_values(&[]));
                scope.spawn(move || {
                    // Two workers, and two threads that share a shard.
                    if thread < 2 {
                        claim_shard(thread);
                    }
                    for _ in 0..10_000 {
                        count.inc_by(3);
                        samples.observe(0.5);
                    }
                });
            }
        });
        assert_eq!(count.with_label_values(&["x"]).get(), 120_000);
        let text = text(samples);
        assert!(text.contains("b_sum 20000\nb_count 40000\n"), "{text}");
    }

    #[test]
    fn a_histogram_equals_that_of_the_prometheus_crate() {
        let edges = [0.1, 1.0, 2.5];
        let ours = ShardedFamily::histograms("b", "h", &["z", "a"], &edges, 1).unwrap();
        let opts = HistogramOpts::new("b", "h").buckets(edges.to_vec());
        let theirs = HistogramVec::new(opts, &["z", "a"]).unwrap();
        for (values, value) in
            [(["1", "2"], 0.1), (["1", "2"], 0.11), (["1", "2"], 7.0), (["0", "9"], 0.0)]
        {
            ours.with_label_values(&values).observe(value);
            theirs.with_label_values(&values).observe(value);
        }
        ours.with_label_values(&["1", "2"]).observe_many(2.5, 3);
        (0..3).for_each(|_| theirs.with_label_values(&["1", "2"]).observe(2.5));
        assert_eq!(text(ours), text(theirs));
        assert!(ShardedFamily::histograms("b", "h", &[], &[2.0, 1.0], 1).is_err());
    }
}
