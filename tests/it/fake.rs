//! An engine that does what a test scripts: values, pauses, panics, lost devices, hangs.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
    mpsc::Receiver,
};

use roofline::{
    engine::{Engine, EngineId, Session},
    machine::{Device, DeviceKind, DeviceLimits},
    measure::{BatchTime, Context, Policy, Rate, Report, Stop, sample},
    record::SuiteInfo,
    run::{Plan, PlannedJob},
    units::Unit,
    workload::{Dtype, Gemm, Workload},
};

/// What a job does.
pub(crate) enum Act {
    /// Ends with ten samples of this rate.
    Value(f64),
    /// Ends with this stop.
    Stop(Stop),
    /// Prepares for so long before it measures, which it says.
    Prepare(std::time::Duration),
    /// Panics with this message.
    Panic(&'static str),
    /// Tells so much progress, then is unsupported.
    Flood(u32),
    /// Samples until it is cancelled.
    Endless,
    /// Ignores Cancel until the test lets it go.
    Hang(Receiver<()>),
}

/// The engine: job n does the nth act.
pub(crate) struct FakeEngine {
    acts: Arc<Mutex<Vec<Act>>>,
    /// How often a device was opened.
    pub(crate) opened: Arc<AtomicUsize>,
}

impl FakeEngine {
    pub(crate) fn new(acts: Vec<Act>) -> Self {
        Self { acts: Arc::new(Mutex::new(acts)), opened: Arc::default() }
    }
}

/// The device it has.
pub(crate) fn device() -> Device {
    Device {
        id: "fake:0".into(),
        name: "Fake GPU".into(),
        kind: DeviceKind::DiscreteGpu,
        backend: "Test".into(),
        driver: "fake".into(),
        driver_info: "1.0".into(),
        pci: None,
        software: false,
        limits: DeviceLimits { max_buffer_bytes: 1 << 32, max_binding_bytes: 1 << 31, ..DeviceLimits::default() },
        features: vec!["f16".into()],
    }
}

/// A plan of `count` small GEMMs on it.
pub(crate) fn plan(count: u32) -> Plan {
    let job = |n| PlannedJob {
        workload: Workload::Gemm(Gemm::square(64 * (n + 1), Dtype::F32)),
        engine: EngineId::Wgpu,
        device: "fake:0".into(),
        alone: false,
    };
    Plan {
        suite: SuiteInfo { name: "custom".into(), budget_s: 600.0 },
        entry_budget_s: 60.0,
        spare_most_s: f64::INFINITY,
        devices: vec![device()],
        jobs: (0..count).map(job).collect(),
        missing: Vec::new(),
    }
}

impl Engine for FakeEngine {
    fn id(&self) -> EngineId {
        EngineId::Wgpu
    }

    fn devices(&self) -> Result<Vec<Device>, String> {
        Ok(vec![device()])
    }

    fn open(&self, _device_id: &str) -> Result<Box<dyn Session>, Stop> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(FakeSession { acts: Arc::clone(&self.acts) }))
    }
}

struct FakeSession {
    acts: Arc<Mutex<Vec<Act>>>,
}

impl Session for FakeSession {
    fn run(&mut self, workload: &Workload, context: &mut Context) -> Result<Report, Stop> {
        let act = {
            let mut acts = self.acts.lock().unwrap();
            if acts.is_empty() { Act::Value(1e12) } else { acts.remove(0) }
        };
        match act {
            Act::Value(rate) => measured(workload, context, rate),
            Act::Prepare(time) => {
                std::thread::sleep(time);
                // Far more than it took, so that a machine that is busy meanwhile makes no difference.
                context.spare(100 * time);
                measured(workload, context, 1e12)
            }
            Act::Stop(stop) => Err(stop),
            Act::Panic(message) => panic!("{message}"),
            Act::Flood(count) => {
                (0..count).for_each(|_| context.value("throughput", Unit::FlopPerSecond, 1e12, false));
                Err(Stop::Unsupported("flooded".into()))
            }
            Act::Endless => loop {
                std::thread::sleep(std::time::Duration::from_millis(2));
                context.value("throughput", Unit::FlopPerSecond, 1e12, false);
                context.check()?;
            },
            Act::Hang(release) => {
                context.value("throughput", Unit::FlopPerSecond, 1e12, false);
                release.recv().ok();
                Err(Stop::Cancelled)
            }
        }
    }

    fn canary(&mut self, _context: &mut Context) -> Result<Option<f64>, Stop> {
        Ok(Some(0.01))
    }
}

/// Ten samples through the real sampler, from a clock that is exact.
fn measured(workload: &Workload, context: &mut Context, rate: f64) -> Result<Report, Stop> {
    let amount = workload.flops().unwrap_or(1.0);
    let policy = Policy { warm_up_min_s: 0.0, warm_up_max_s: 0.01, ..Policy::default() };
    let of = Rate { metric: "throughput", unit: Unit::FlopPerSecond, amount };
    let measurement = sample(context, &policy, of, |_, iterations| {
        let host_s = amount * f64::from(iterations) / rate;
        Ok(BatchTime { host_s, device_s: None })
    })?;
    Ok(Report { measurements: vec![measurement], ..Report::default() })
}
