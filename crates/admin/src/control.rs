//! The control door: serves the node's commands on its Unix socket.
//!
//! One process, permanent, a child of whoever the supervision tree says. It owns the accepting task, which owns the
//! tasks of the clients: all end with it, and its restart takes up the socket where it was. A client is this user or
//! root (SO_PEERCRED); at most [`MOST_CLIENTS`] are served at once, the rest wait in the system's queue. A client that
//! does not finish a request, or does not take its answer, within [`PATIENCE`] is let go.

use crate::commands::Commands;
use crate::frame::{self, LARGEST_REQUEST, Request};
use crate::progress::{Progress, Step};
use crate::role::{Caller, Door};
use crate::socket::ControlSocket;
use otp::{ChildSpec, Ctx, ExitReason, GenServer, Init};
use std::convert::Infallible;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

/// Clients served at once.
pub const MOST_CLIENTS: usize = 64;

/// How long a client may take to finish a request or to take an answer, 30 s.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long accepting rests when the system refuses, such as for want of file descriptors.
const REST: Duration = Duration::from_millis(100);

/// Gives the child spec of the process that serves `commands` on `socket`.
pub fn child_spec(id: impl Into<String>, socket: ControlSocket, commands: Commands) -> ChildSpec {
    ChildSpec::worker::<Control>(id, move || (socket.clone(), commands.clone()))
}

/// The process behind the control socket.
pub struct Control {
    socket: ControlSocket,
}

impl GenServer for Control {
    const KIND: &'static str = "control";
    type Args = (ControlSocket, Commands);
    type Call = Infallible;
    type Reply = ();
    type Cast = Infallible;
    type Info = Infallible;

    async fn init((socket, commands): Self::Args, ctx: &mut Ctx<Self>) -> Init<Self> {
        let opened = socket.listener().map_err(|error| error.to_string());
        let listener = opened.and_then(|(listener, owner)| {
            let listener = UnixListener::from_std(listener).map_err(|error| error.to_string())?;
            Ok((listener, owner))
        });
        let (listener, owner) = match listener {
            Ok(opened) => opened,
            Err(error) => return Init::Stop(ExitReason::error(error)),
        };
        ctx.set_kind_label(socket.path().display().to_string());
        ctx.spawn(accept(listener, owner, commands));
        Init::Ok(Control { socket })
    }

    async fn terminate(self, _reason: &ExitReason, _ctx: &mut Ctx<Self>) {
        self.socket.close();
    }
}

/// Accepts clients for ever. Each is a task of its own, so that the panic of one is not felt by the others.
async fn accept(listener: UnixListener, owner: u32, commands: Commands) {
    let mut clients = JoinSet::new();
    loop {
        while clients.len() >= MOST_CLIENTS {
            note(clients.join_next().await);
        }
        tokio::select! {
            ended = clients.join_next(), if !clients.is_empty() => note(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    clients.spawn(client(stream, owner, commands.clone()));
                }
                Err(error) => {
                    tracing::warn!(target: "natter::admin", %error, "control socket does not accept");
                    commands.clock().sleep(REST).await;
                }
            },
        }
    }
}

fn note(ended: Option<Result<(), tokio::task::JoinError>>) {
    if let Some(Err(error)) = ended {
        tracing::error!(target: "natter::admin", %error, "serving a control client crashed");
    }
}

async fn client(stream: UnixStream, owner: u32, commands: Commands) {
    let uid = match stream.peer_cred() {
        Ok(peer) if may_enter(peer.uid(), owner) => peer.uid(),
        Ok(peer) => {
            tracing::warn!(target: "natter::admin", uid = peer.uid(), "control client of another user refused");
            return;
        }
        Err(error) => {
            tracing::warn!(target: "natter::admin", %error, "control client without credentials refused");
            return;
        }
    };
    let caller = Caller::admin(format!("uid {uid}"), Door::Ctl);
    if let Err(error) = serve(stream, &caller, &commands).await {
        tracing::debug!(target: "natter::admin", %error, "control client lost");
    }
}

/// The node's own user may, and root, who could read the data directory anyway.
fn may_enter(uid: u32, owner: u32) -> bool {
    uid == owner || uid == 0
}

/// Answers one request after the other until the client goes, or is let go.
async fn serve(stream: UnixStream, caller: &Caller, commands: &Commands) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Zeroizing::new(Vec::new());
        // One byte more than allowed tells a request that is too large from one that is just large enough.
        let mut bounded = (&mut read).take(LARGEST_REQUEST as u64 + 1);
        match commands
            .clock()
            .timeout(PATIENCE, bounded.read_until(b'\n', &mut line))
            .await
        {
            Ok(done) => done?,
            Err(_) => {
                let message = format!("no request within {} s", PATIENCE.as_secs());
                return say(&mut write, &frame::protocol_line(&message), commands).await;
            }
        };
        if line.is_empty() {
            return Ok(());
        }
        if line.len() > LARGEST_REQUEST {
            return say(
                &mut write,
                &frame::protocol_line("the request is larger than 1 MiB"),
                commands,
            )
            .await;
        }
        let mut request = match Request::parse(&line) {
            Ok(request) => request,
            Err(message) => {
                say(&mut write, &frame::protocol_line(message), commands).await?;
                continue;
            }
        };
        drop(line);
        let deadline = commands.deadline(&request.command).unwrap_or_default();
        say(&mut write, &frame::wait_line(deadline), commands).await?;
        let mut steps = None;
        if request.progress {
            let (progress, heard) = Progress::heard();
            request.given.progress = progress;
            steps = Some(heard);
        }
        let work = commands.execute_told(caller, &request.command, &request.given);
        tokio::pin!(work);
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut work => break outcome,
                step = next_step(&mut steps) => say(&mut write, &frame::progress_line(step), commands).await?,
            }
        };
        let answer = match outcome {
            Ok((value, exposed)) => frame::done_line(&value, exposed, request.json),
            Err(error) => frame::error_line(&error),
        };
        say(&mut write, &answer, commands).await?;
    }
}

/// The next step that is told; never, where none is asked for.
async fn next_step(steps: &mut Option<watch::Receiver<Option<Step>>>) -> Step {
    if let Some(heard) = steps {
        while heard.changed().await.is_ok() {
            if let Some(step) = *heard.borrow_and_update() {
                return step;
            }
        }
    }
    std::future::pending().await
}

async fn say(write: &mut OwnedWriteHalf, line: &str, commands: &Commands) -> io::Result<()> {
    let written = commands
        .clock()
        .timeout(PATIENCE, write.write_all(line.as_bytes()))
        .await;
    written.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{self, Place, Terminal};
    use crate::command::{Arg, Command};
    use crate::error::CommandError;
    use crate::value::Value;
    use otp::{ChildInfo, ChildState, Clock, ClockHand, Strategy, SupPid, Supervisor, System};
    use serde_json::json;
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tempfile::TempDir;
    use tokio::sync::{Semaphore, mpsc};

    /// A node that has nothing but its control door.
    struct Node {
        folder: TempDir,
        path: PathBuf,
        sup: SupPid,
        commands: Commands,
        hand: ClockHand,
    }

    impl Node {
        async fn start() -> Node {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("control");
            let (clock, hand) = Clock::manual();
            let system = System::new("test", clock.clone());
            let commands = Commands::new(clock);
            let socket = ControlSocket::bind(&path).expect("bound");
            let spec = child_spec("control", socket, commands.clone());
            let sup = Supervisor::new(Strategy::OneForOne)
                .intensity(5, Duration::from_secs(30))
                .child(spec);
            let sup = sup.start(&system, "root").await.expect("started");
            let echo = |_, args: crate::Args| async move { Ok(Value::from(args.texts("words"))) };
            let echo = Command::new("echo", "Says it again.", echo)
                .arg(Arg::text("words", "What.").repeated());
            let secret = |_, args: crate::Args| async move {
                match args.secret("password").expose() {
                    "hunter2" => Ok(Value::from("welcome")),
                    _ => Err(CommandError::failed("wrong password")),
                }
            };
            let secret = Command::new("enter", "Enters.", secret)
                .arg(Arg::text("user", "Who."))
                .arg(Arg::secret("password", "With what."));
            let crash = |_, _| async { panic!("ouch") };
            let crash = Command::new("crash", "Crashes.", crash);
            for command in [echo, secret, crash] {
                commands.register(command, "test").expect("free");
            }
            Node {
                folder,
                path,
                sup,
                commands,
                hand,
            }
        }

        async fn dial(&self) -> BufReader<UnixStream> {
            BufReader::new(UnixStream::connect(&self.path).await.expect("connected"))
        }
    }

    async fn line(stream: &mut BufReader<UnixStream>) -> serde_json::Value {
        let mut line = String::new();
        stream.read_line(&mut line).await.expect("readable");
        serde_json::from_str(&line).unwrap_or(serde_json::Value::Null)
    }

    async fn send(stream: &mut BufReader<UnixStream>, bytes: &[u8]) {
        stream.write_all(bytes).await.expect("writable");
    }

    fn protocol(message: &str) -> serde_json::Value {
        json!({"error": {"kind": "protocol", "message": message, "secrets": []}})
    }

    #[tokio::test]
    async fn one_client_asks_several_times_and_garbage_is_answered() {
        let node = Node::start().await;
        let mut stream = node.dial().await;
        send(
            &mut stream,
            b"{\"command\":\"echo\",\"args\":[\"a\",\"b\"],\"json\":true}\n",
        )
        .await;
        assert_eq!(line(&mut stream).await, json!({"wait_ms": 30_000}));
        assert_eq!(
            line(&mut stream).await,
            json!({"json": ["a", "b"], "exposed": false})
        );
        send(&mut stream, b"\xff\xfe garbage\n{\"command\":\"crash\"}\n").await;
        assert_eq!(line(&mut stream).await, protocol("the request is no JSON"));
        assert_eq!(line(&mut stream).await, json!({"wait_ms": 30_000}));
        let crashed = json!({"error": {"kind": "crashed", "message": "the command crashed: ouch", "secrets": []}});
        assert_eq!(line(&mut stream).await, crashed);
        send(&mut stream, b"{\"command\":\"ehco\"}\n").await;
        assert_eq!(line(&mut stream).await, json!({"wait_ms": 0}));
        let unknown = "unknown command `ehco` (did you mean `echo`?)";
        assert_eq!(
            line(&mut stream).await,
            json!({"error": {"kind": "unknown", "message": unknown, "secrets": []}})
        );
    }

    #[tokio::test]
    async fn requests_are_bounded() {
        let node = Node::start().await;
        let mut stream = node.dial().await;
        let word = "x".repeat(LARGEST_REQUEST - 32);
        let fits = format!("{}\n", json!({"command": "echo", "args": [word]}));
        assert!(fits.len() <= LARGEST_REQUEST);
        send(&mut stream, fits.as_bytes()).await;
        assert_eq!(line(&mut stream).await, json!({"wait_ms": 30_000}));
        assert_eq!(line(&mut stream).await["text"], json!(format!("{word}\n")));
        send(&mut stream, &vec![b'x'; LARGEST_REQUEST + 1]).await;
        assert_eq!(
            line(&mut stream).await,
            protocol("the request is larger than 1 MiB")
        );
        assert_eq!(line(&mut stream).await, serde_json::Value::Null, "closed");
    }

    #[tokio::test]
    async fn silent_clients_are_let_go_and_leave_room() {
        let node = Node::start().await;
        let mut silent = Vec::new();
        for _ in 0..MOST_CLIENTS {
            let mut stream = node.dial().await;
            send(&mut stream, b"{\"comm").await;
            silent.push(stream);
        }
        let mut late = node.dial().await;
        send(&mut late, b"{\"command\":\"echo\",\"args\":[\"a\"]}\n").await;
        while node.commands.clock().timers() < MOST_CLIENTS {
            tokio::task::yield_now().await;
        }
        node.hand.advance(PATIENCE).await;
        for stream in &mut silent {
            assert_eq!(line(stream).await, protocol("no request within 30 s"));
            assert_eq!(line(stream).await, serde_json::Value::Null, "closed");
        }
        assert_eq!(line(&mut late).await, json!({"wait_ms": 30_000}));
        assert_eq!(
            line(&mut late).await,
            json!({"text": "a\n", "exposed": false})
        );
    }

    #[tokio::test]
    async fn many_clients_are_served_at_once() {
        let node = Node::start().await;
        let waiting = Arc::new(tokio::sync::Barrier::new(MOST_CLIENTS));
        let served = Arc::new(AtomicUsize::new(0));
        let (barrier, count) = (waiting.clone(), served.clone());
        let meet = Command::new("meet", "Waits for all.", move |_, _| {
            let (barrier, count) = (barrier.clone(), count.clone());
            async move {
                barrier.wait().await;
                count.fetch_add(1, Ordering::SeqCst);
                Ok(Value::Nothing)
            }
        });
        node.commands.register(meet, "test").expect("free");
        let mut streams = Vec::new();
        for _ in 0..MOST_CLIENTS {
            let mut stream = node.dial().await;
            send(&mut stream, b"{\"command\":\"meet\"}\n").await;
            streams.push(stream);
        }
        for stream in &mut streams {
            assert_eq!(line(stream).await, json!({"wait_ms": 30_000}));
            assert_eq!(line(stream).await, json!({"text": "", "exposed": false}));
        }
        assert_eq!(served.load(Ordering::SeqCst), MOST_CLIENTS);
    }

    #[tokio::test]
    async fn a_killed_door_opens_again_and_a_stopped_one_leaves_no_file() {
        let node = Node::start().await;
        let children = node.sup.which_children().await.expect("answered");
        let [
            ChildInfo {
                state: ChildState::Running(control),
                ..
            },
        ] = &children[..]
        else {
            panic!("{children:?}")
        };
        control.kill();
        control.watch().await;
        let mut stream = node.dial().await;
        send(&mut stream, b"{\"command\":\"echo\",\"args\":[\"a\"]}\n").await;
        assert_eq!(line(&mut stream).await, json!({"wait_ms": 30_000}));
        node.sup.stop().await;
        assert!(!node.path.exists());
        assert!(node.folder.path().exists());
        assert!(
            ControlSocket::bind(&node.path).is_ok(),
            "the next node can have it"
        );
    }

    #[test]
    fn other_users_do_not_enter() {
        assert!(may_enter(1000, 1000) && may_enter(0, 1000));
        assert!(!may_enter(1001, 1000) && !may_enter(1000, 0));
    }

    /// A command that takes a step for each permit, and tells when it ended before its third.
    fn steps(permits: &Arc<Semaphore>, given_up: mpsc::UnboundedSender<()>) -> Command {
        struct Guard(mpsc::UnboundedSender<()>);
        impl Drop for Guard {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let permits = permits.clone();
        Command::new("steps", "Takes steps.", move |_, args| {
            let (permits, guard) = (permits.clone(), Guard(given_up.clone()));
            async move {
                for done in 1..=3 {
                    permits.acquire().await.expect("open").forget();
                    let step = Step {
                        done,
                        total: 3,
                        unit: "steps",
                    };
                    args.progress().say(step);
                }
                std::mem::forget(guard);
                Ok(Value::Nothing)
            }
        })
    }

    #[tokio::test]
    async fn who_asks_for_it_hears_how_far_a_command_is_and_ends_it_by_going() {
        let node = Node::start().await;
        let permits = Arc::new(Semaphore::new(0));
        let (given_up, mut was_given_up) = mpsc::unbounded_channel();
        let command = steps(&permits, given_up);
        node.commands.register(command, "test").expect("free");
        let mut stream = node.dial().await;
        send(&mut stream, b"{\"command\":\"steps\",\"progress\":true}\n").await;
        assert_eq!(line(&mut stream).await, json!({"wait_ms": 30_000}));
        for done in 1..=2 {
            permits.add_permits(1);
            let step = json!({"progress": {"done": done, "total": 3, "unit": "steps"}});
            assert_eq!(line(&mut stream).await, step);
        }
        permits.add_permits(1);
        assert_eq!(
            line(&mut stream).await,
            json!({"text": "", "exposed": false})
        );

        // Who does not ask hears of no step.
        permits.add_permits(3);
        send(&mut stream, b"{\"command\":\"steps\"}\n").await;
        assert_eq!(line(&mut stream).await, json!({"wait_ms": 30_000}));
        assert_eq!(
            line(&mut stream).await,
            json!({"text": "", "exposed": false})
        );

        send(&mut stream, b"{\"command\":\"steps\",\"progress\":true}\n").await;
        assert_eq!(line(&mut stream).await, json!({"wait_ms": 30_000}));
        drop(stream);
        assert!(was_given_up.try_recv().is_err(), "nobody is missed yet");
        permits.add_permits(1);
        assert_eq!(was_given_up.recv().await, Some(()));
    }

    /// What was printed, and what is typed.
    #[derive(Default)]
    struct Page {
        out: String,
        err: String,
        typed: Option<&'static str>,
        stdin: &'static str,
        watches: bool,
        shown: Vec<(u64, u64, String)>,
    }

    impl Terminal for Page {
        fn out(&mut self, text: &str) {
            self.out.push_str(text);
        }

        fn err(&mut self, text: &str) {
            self.err.push_str(text);
        }

        fn line(&mut self) -> io::Result<Zeroizing<String>> {
            Ok(Zeroizing::new(self.stdin.to_owned()))
        }

        fn watches(&self) -> bool {
            self.watches
        }

        fn progress(&mut self, done: u64, total: u64, unit: &str) {
            self.shown.push((done, total, unit.to_owned()));
        }

        fn end_progress(&mut self) {
            if !self.shown.is_empty() {
                self.err.push_str(&format!("{:?}", self.shown));
            }
        }

        fn ask(&mut self, prompt: &str) -> Option<io::Result<Zeroizing<String>>> {
            self.err.push_str(prompt);
            self.typed.map(|typed| Ok(Zeroizing::new(typed.to_owned())))
        }
    }

    async fn natterctl(
        path: &std::path::Path,
        mut page: Page,
        args: &[&str],
    ) -> (i32, String, String) {
        let (path, args) = (
            path.to_owned(),
            args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>(),
        );
        let run = move || {
            let find = |_: &Place| Ok(path.clone());
            let code = client::run_on(&mut page, args.into_iter(), find);
            (code, page.out, page.err)
        };
        tokio::task::spawn_blocking(run).await.expect("no panic")
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn natterctl_tells_results_and_errors_by_its_exit_code() {
        let node = Node::start().await;
        let usage = "\nusage: enter USER PASSWORD\n";
        let warning = "natterctl: warning: a secret on the command line can be seen by other users and is kept by \
                       the shell; leave it out to be asked for it, or use --password-stdin\n";
        let expected: [(&[&str], i32, &str, String); 9] = [
            (&["echo", "a", "b"], 0, "a\nb\n", String::new()),
            (
                &["--json", "echo", "a"],
                0,
                "[\n  \"a\"\n]\n",
                String::new(),
            ),
            (
                &["echo", "--json", "--", "--a"],
                0,
                "[\n  \"--a\"\n]\n",
                String::new(),
            ),
            (
                &["help", "echo"],
                0,
                "echo WORDS…\n\nSays it again.\n\n  WORDS…  What.\n\ngives nothing; for role admin; the node; within 30 s\n",
                String::new(),
            ),
            (
                &["ecoh"],
                2,
                "",
                "natterctl: unknown command `ecoh` (did you mean `echo`?)\n".into(),
            ),
            (
                &["enter"],
                2,
                "",
                format!("natterctl: enter: USER, PASSWORD are missing{usage}"),
            ),
            (&["enter", "u", "hunter2"], 0, "welcome\n", warning.into()),
            (
                &["enter", "u", "hunter3"],
                1,
                "",
                "natterctl: wrong password\n".into(),
            ),
            (
                &["crash"],
                1,
                "",
                "natterctl: the command crashed: ouch\n".into(),
            ),
        ];
        for (args, code, out, err) in expected {
            let seen = natterctl(&node.path, Page::default(), args).await;
            assert_eq!(seen, (code, out.to_owned(), err), "{args:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_missing_secret_is_asked_for_or_read() {
        let node = Node::start().await;
        let typed = Page {
            typed: Some("hunter2"),
            ..Page::default()
        };
        let seen = natterctl(&node.path, typed, &["enter", "u"]).await;
        assert_eq!(seen, (0, "welcome\n".into(), "PASSWORD: ".into()));
        let nothing = Page {
            typed: Some(""),
            ..Page::default()
        };
        let seen = natterctl(&node.path, nothing, &["enter", "u"]).await;
        let told = "PASSWORD: natterctl: enter: PASSWORD is missing; nothing was typed\n";
        assert_eq!(seen, (2, String::new(), told.into()));
        let seen = natterctl(&node.path, Page::default(), &["enter", "u"]).await;
        let told = "PASSWORD: natterctl: enter: PASSWORD is missing; give it by --password-stdin\n";
        assert_eq!(seen, (2, String::new(), told.into()));
        let piped = Page {
            stdin: "hunter2",
            ..Page::default()
        };
        let seen = natterctl(&node.path, piped, &["enter", "u", "--password-stdin"]).await;
        assert_eq!(seen, (0, "welcome\n".into(), String::new()));
        let empty = Page::default();
        let seen = natterctl(&node.path, empty, &["enter", "u", "--password-stdin"]).await;
        let told = "natterctl: --password-stdin: standard input is empty\n";
        assert_eq!(seen, (2, String::new(), told.into()));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn natterctl_shows_steps_to_those_who_watch() {
        let node = Node::start().await;
        let permits = Arc::new(Semaphore::new(6));
        let (given_up, _was_given_up) = mpsc::unbounded_channel();
        let command = steps(&permits, given_up);
        node.commands.register(command, "test").expect("free");
        let watching = Page {
            watches: true,
            ..Page::default()
        };
        let (code, out, err) = natterctl(&node.path, watching, &["--json", "steps"]).await;
        assert_eq!((code, out.as_str()), (0, "null\n"));
        // Steps that nobody had time to hear are passed over.
        assert!(err.is_empty() || err.ends_with("\"steps\")]"), "{err}");
        let seen = natterctl(&node.path, Page::default(), &["steps"]).await;
        assert_eq!(seen, (0, String::new(), String::new()));
    }

    #[tokio::test]
    async fn without_a_node_natterctl_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("control");
        let seen = natterctl(&path, Page::default(), &["status"]).await;
        let told = format!(
            "natterctl: no node at {}: No such file or directory (os error 2)\n",
            path.display()
        );
        assert_eq!(seen, (3, String::new(), told));
    }
}
