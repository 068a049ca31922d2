//! What the ledger costs: the time of `open` and `settle` on the calling thread, and the processor
//! time that shipping an entry to the store takes.
//!
//! ```text
//! cargo run --release --example ledger_bench [-- STORE_URL]
//! ```
//!
//! Without a URL it writes to SQLite in a temporary folder. Attempts come at a steady rate, as in a
//! gateway, so that writing and shipping meet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate::chat::{CountedBy, Tokens, Usage};
use tollgate::id::{EntryId, KeyId, RequestId};
use tollgate::ledger::{Entry, Ledger, Outcome, Payer, Place, Price, Settings, Store};
use tollgate::money::Money;
use tollgate::time::Timestamp;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ATTEMPTS: usize = 200_000;
/// Attempts a second.
const RATE: usize = 20_000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("ledger-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let url = std::env::args()
        .nth(1)
        .unwrap_or_else(|| format!("sqlite:{}", folder.join("ledger.db").display()));
    let store = Store::open(&url).await?;
    let settings = Settings::in_folder(folder.join("spool"));
    let ledger = Ledger::start(settings, store.clone(), |_, _| {}).await?;

    let before = cpu_by_thread();
    let writer = ledger.clone();
    let writing = std::thread::Builder::new()
        .name("writer".to_owned())
        .spawn(move || write(&writer))?;
    let mut taken = writing.join().map_err(|_| "the writer panicked")??;
    let started = Instant::now();
    ledger.drain(Duration::from_secs(120)).await?;
    let behind = started.elapsed();
    let after = cpu_by_thread();

    taken.sort_unstable();
    let mean = taken.iter().sum::<Duration>() / u32::try_from(taken.len())?;
    println!("open + settle on the calling thread: mean {mean:?}");
    for (name, share) in [("median", 500), ("99%", 990), ("99.9%", 999)] {
        println!("  {name}: {:?}", taken[taken.len() * share / 1000]);
    }
    println!("processor time an attempt, by thread:");
    for (name, time) in &after {
        let time = time.saturating_sub(before.get(name).copied().unwrap_or_default());
        println!("  {name}: {} ns", time.as_nanos() / ATTEMPTS as u128);
    }
    println!("the store was {behind:?} behind after {ATTEMPTS} attempts at {RATE}/s");
    ledger.close().await;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Opens and settles attempts at the rate; the time of each.
fn write(ledger: &Ledger) -> Result<Vec<Duration>, std::io::Error> {
    let template = entry();
    let mut taken = Vec::with_capacity(ATTEMPTS);
    let started = Instant::now();
    for batch in 0..ATTEMPTS / 100 {
        let due = Duration::from_micros((batch * 100 * 1_000_000 / RATE) as u64);
        std::thread::sleep(due.saturating_sub(started.elapsed()));
        for _ in 0..100 {
            let mut entry = template.clone();
            entry.id = EntryId::new();
            entry.request = RequestId::new();
            let settled = entry.clone();
            entry.outcome = Outcome::Lost;
            entry.counted_by = CountedBy::Estimated;
            let from = Instant::now();
            drop(ledger.open(&entry).map_err(std::io::Error::other)?);
            drop(ledger.settle(&settled).map_err(std::io::Error::other)?);
            taken.push(from.elapsed());
        }
    }
    Ok(taken)
}

/// Processor time of this process's threads, by their names. Those of a thread that has ended are
/// gone, so the writer is not among them.
fn cpu_by_thread() -> BTreeMap<String, Duration> {
    let mut times = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
    {
        let read = |name| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let time = read("schedstat");
        let nanos = time
            .split_whitespace()
            .next()
            .and_then(|nanos| nanos.parse().ok());
        *times.entry(read("comm").trim().to_owned()).or_default() +=
            Duration::from_nanos(nanos.unwrap_or_default());
    }
    times
}

/// An entry of usual size: its decision ranks three backends.
fn entry() -> Entry {
    let now = Timestamp::now();
    let amount = |picodollars| Money::from_picodollars(picodollars);
    Entry {
        id: EntryId::new(),
        request: RequestId::new(),
        attempt: 1,
        payer: Payer {
            organisation: "acme".into(),
            team: "search".into(),
            project: "ranking".into(),
            key: KeyId::new(),
        },
        tags: Arc::from("eu,soc2"),
        surface: Arc::from("openai_chat"),
        place: Place {
            host: "deepseek".into(),
            account: "default".into(),
            region: "global".into(),
            model: "deepseek-v4-pro".into(),
            host_model: Arc::from("deepseek-v4-pro"),
        },
        started: now,
        first_byte: Some(now),
        ended: now,
        billed: now,
        host_request: Some(Arc::from("req_0123456789abcdef")),
        usage: Usage {
            cache_miss: Tokens::new(1_000),
            cache_hit: Tokens::new(9_000),
            cache_write: Tokens::ZERO,
            reasoning: Tokens::new(300),
            visible: Tokens::new(200),
        },
        counted_by: CountedBy::Reported,
        outcome: Outcome::Answered,
        catalog: "6f1ed002ab559585".into(),
        window: Some("deepseek-v4-pro/2026-08-22/peak".into()),
        price: Price::Priced {
            cost: amount(902_625_000),
            list: amount(1_805_250_000),
            spread: amount(1_200_000_000),
            provisional: false,
        },
        decision: Arc::from(
            r#"{"ranked":[{"backend":"deepseek/default/global/deepseek-v4-pro","cost":"0.000902","latency_ms":2100},{"backend":"bedrock/default/eu-north-1/deepseek-v4-pro","cost":"0.001411","latency_ms":1900},{"backend":"fireworks/default/global/deepseek-v4-pro","cost":"0.00163","latency_ms":1500}],"rejected":[{"backend":"siliconflow/default/global/deepseek-v4-pro","lacks":["soc2"]}]}"#,
        ),
    }
}
