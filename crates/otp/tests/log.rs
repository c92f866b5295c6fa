//! What a crash writes into the log. A binary of its own, since who listens to a log line is decided once a process.

use std::sync::Arc;
use std::time::Duration;

use otp::{ChildSpec, Clock, Ctx, Fault, GenServer, Init, Name, Strategy, Supervisor, System};
use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Keeps the warnings and errors of `natter::otp`, each as its level and sorted fields.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Fields(Vec<String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push(format!("{field}={value:?}"));
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "natter::otp" && *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(Vec::new());
        event.record(&mut fields);
        fields.0.sort();
        let level = event.metadata().level();
        self.0
            .lock()
            .push(format!("{level} {}", fields.0.join(" ")));
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _span: &Id, _values: &Record<'_>) {}
    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

struct Plain;

impl GenServer for Plain {
    const KIND: &'static str = "plain";
    type Args = ();
    type Call = ();
    type Reply = ();
    type Cast = ();
    type Info = ();

    async fn init((): (), ctx: &mut Ctx<Self>) -> Init<Self> {
        ctx.set_kind_label("detail");
        Init::Ok(Plain)
    }
}

#[tokio::test]
async fn a_crash_is_one_line_with_fields() {
    let lines = Lines::default();
    let _default = tracing::subscriber::set_default(lines.clone());
    let system = System::new("test", Clock::manual().0);
    let name = Name::new("plain", "");
    let spec = ChildSpec::worker::<Plain>("a", || ()).registered(name.clone());
    let sup = Supervisor::new(Strategy::OneForOne)
        .intensity(5, Duration::from_secs(1))
        .child(spec)
        .start(&system, "root")
        .await
        .unwrap();
    let a = system.registry().whereis_any(&name).unwrap();
    a.fault(Fault::Panic);
    a.watch().await;
    // The restart is quiet, and so is an orderly end.
    assert_eq!(sup.count_children().await.unwrap().active, 1);
    sup.stop().await;
    let wanted = format!(
        "ERROR detail=\"detail\" kind=\"plain\" message=process crashed name=\"a\" process={} \
         reason=panic: injected fault",
        a.id()
    );
    assert_eq!(*lines.0.lock(), [wanted]);
}
