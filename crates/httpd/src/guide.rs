//! From Cowboy to httpd: every name of the one and what it is in the other.
//!
//! # Routing
//!
//! | Cowboy | httpd |
//! | --- | --- |
//! | `cowboy_router:compile/1` | [`Dispatch::compile`](crate::Dispatch::compile); errors are values with rule and byte |
//! | `{HostMatch, Constraints, Paths}` | [`Host::new`](crate::Host::new), [`constrain`](crate::Host::constrain), [`path`](crate::Host::path) |
//! | `'_'` | [`Host::any`](crate::Host::any), [`Path::any`](crate::Path::any) |
//! | `{PathMatch, Constraints, Handler, State}` | [`Path::to`](crate::Path::to): the handler value is the initial state |
//! | `{Name, int}`, `nonempty`, fun | [`field`](crate::field), [`int`](crate::Field::int), [`nonempty`](crate::Field::nonempty), [`check`](crate::Field::check) |
//! | `forward`, `reverse`, `format_error` | [`Constraint`](crate::routing::Constraint) |
//! | `cowboy_constraints:reverse/2` | [`Dispatch::build_path`](crate::Dispatch::build_path) |
//! | `"*"`, `:name`, `:_`, `[optional]`, `[...]` | the same, in [`Host::new`](crate::Host::new) and [`Path::new`](crate::Path::new) |
//! | a constraint's function, `from_fun` | [`Constraint`](crate::routing::Constraint), [`check_fn`](crate::routing::check_fn) |
//! | `cowboy_router` of 1.0: `{Name, function, F}`, `{Module, Opts}` | as a constraint, and as the handler's value |
//! | `cowboy:get_env/2` | [`Httpd::table`](crate::Httpd::table) |
//! | tables that are put together by hand | [`Routes`](crate::Routes): groups that come and go under their owner's name |
//! | `cowboy:set_env(_, dispatch, _)`, `persistent_term` | [`Httpd::set_routes`](crate::Httpd::set_routes): each request after it sees the new table |
//!
//! What Cowboy compiles to nonsense is refused: `[...]` that is not last or glued to text, names without a name, escapes
//! and dot segments in patterns, alternatives that are the same, constraints where nothing is bound. Host literals match
//! in any case. A malformed host is 400, not 500. `reverse` goes through constraints from the last to the first. An IPv6
//! address is always one label.
//!
//! # Handlers
//!
//! | Cowboy | httpd |
//! | --- | --- |
//! | `init(Req, State)` | [`Handler::init`](crate::Handler::init); `self` is the state, cloned of the route's for each request |
//! | `{ok, Req, State}` | [`Outcome::Done`](crate::Outcome::Done) |
//! | `{cowboy_loop, …}`, `info/3`, `hibernate` | [`Outcome::looping`](crate::Outcome::looping), [`Loop`](crate::Loop), [`Next`](crate::Next) |
//! | `{cowboy_rest, …}` | [`Outcome::rest`](crate::Outcome::rest), [`Rest`](crate::Rest) |
//! | `{cowboy_websocket, …}` | [`Outcome::websocket`](crate::Outcome::websocket), [`WebSocket`](crate::WebSocket) |
//! | `{Module, …}`, `upgrade/4,5` | [`Outcome::switch`](crate::Outcome::switch), [`HandlerType`](crate::HandlerType) |
//! | `{stop, Req, State}`, a timeout as third or fourth | [`Next::Stop`](crate::Next::Stop), [`Next::Timeout`](crate::Next::Timeout) |
//! | `handle/2` and `{shutdown, …}` of 1.0 | `init`, and [`Outcome::Done`](crate::Outcome::Done) |
//! | `{upgrade, protocol, Module}` of 1.0 | [`Outcome::switch`](crate::Outcome::switch) |
//! | `{normal \| stop \| remote \| timeout \| {crash, …} \| {error, …}, …}` of `terminate/3` | [`Reason`](crate::Reason): `Normal Stop Remote IdleTimeout Panic BadFrame Disconnected`, and `Error TimedOut Shutdown`, which are ours |
//! | `terminate/3` | [`Handler::terminate`](crate::Handler::terminate), always and once; [`Reason`](crate::Reason) |
//! | a message to the request's process | [`Mailbox`](crate::Mailbox), [`Sender`](crate::Sender) |
//! | request errors that are thrown | [`Error`](crate::Error), by `?` |
//! | `cowboy_static` | [`Static`](crate::Static) |
//!
//! A REST handler's callbacks keep their names in [`Rest`](crate::Rest), with these differences:
//!
//! | Cowboy | httpd |
//! | --- | --- |
//! | `content_types_provided` and a callback for each | the same, and [`Rest::provide`](crate::Rest::provide), told by [`Chosen`](crate::Chosen) which was chosen |
//! | `content_types_accepted` and a callback for each | the same, and [`Rest::accept`](crate::Rest::accept), told the place in the list; [`Accepted`](crate::Accepted) |
//! | `ranges_provided` and a callback for each, `auto` | the same, and [`Rest::provide_range`](crate::Rest::provide_range); `bytes` are cut by themselves |
//! | `generate_etag` | [`ETag`](crate::ETag) |
//! | `range_satisfiable` | [`Satisfiable`](crate::Satisfiable) |
//! | `{true, Uri}` of an acceptor | none: it says whether something is new there, or the answer stands there |
//! | `range_satisfiable`'s `{false, Text}` | none: the size, if it is known |
//! | `generate_etag last_modified expires` | asked for once, where a condition or the reply needs them |
//! | `{stop, …}`, `{{switch_handler, …}, …}` | [`Halt::Stop`](crate::Halt::Stop), [`Halt::Switch`](crate::Halt::Switch), from every callback |
//! | `media_type`, `language`, `charset` in the request | [`Chosen`](crate::Chosen) |
//!
//! And so do a WebSocket's:
//!
//! | Cowboy | httpd |
//! | --- | --- |
//! | `websocket_init websocket_handle websocket_info` | [`start`](crate::WebSocket::start), [`handle`](crate::WebSocket::handle), [`info`](crate::WebSocket::info) |
//! | frames: `text binary ping pong close` | [`Frame`](crate::Frame), [`Commands::send`](crate::Commands::send), [`Commands::close`](crate::Commands::close) |
//! | `{active, Bool}` | [`Commands::pause`](crate::Commands::pause) |
//! | `{set_options, #{idle_timeout}}` | [`Commands::idle_timeout`](crate::Commands::idle_timeout) |
//! | `{deflate, Bool}`, `compress`, `deflate_opts` | none (decision 0011) |
//! | `{shutdown_reason, R}`, `hibernate` | none; [`Flow::Hibernate`](crate::Flow::Hibernate) |
//! | `idle_timeout max_frame_size` | [`WsOptions`](crate::WsOptions): `idle_timeout max_frame`, and `max_message` for all frames together |
//! | `validate_utf8` | always |
//! | `req_filter` | none: `terminate` sees the request whole |
//! | `active_n dynamic_buffer data_delivery` | none |
//! | `sec-websocket-protocol`, chosen in `init` | [`WsOptions::protocols`](crate::WsOptions), or in `init` before it |
//!
//! And of `cowboy_static`:
//!
//! | Cowboy | httpd, of [`Static`](crate::Static) |
//! | --- | --- |
//! | `{dir, …}`, `{file, …}` | `dir`, `file` |
//! | `{priv_dir, …}`, `{priv_file, …}` | `embedded`: files within the program |
//! | `{etag, …}` | of size and date, or of the content where it is embedded |
//! | a symbolic link that leads out of the directory | as no file |
//! | `{mimetypes, …}`, `{charset, …}` | by the name's ending, texts as UTF-8; [`Static::header`](crate::Static::header) for what else a reply shall say |
//! | none | `index`, `precompressed` |
//!
//! A reply that breaks off is never ended as if it were whole. A handler that panics is told of it. A loop hears
//! [`LoopInfo::Draining`](crate::LoopInfo::Draining) when the server stops.
//!
//! # Requests and replies (`cowboy_req`)
//!
//! | Cowboy | httpd, of [`Request`](crate::Request) |
//! | --- | --- |
//! | `method version scheme host port path qs uri peer sock cert` | `method version scheme host port path qs uri peer local tls` |
//! | `header headers parse_header` | `header headers typed_header`; of several lines `header` gives the first, `headers` all |
//! | `parse_qs match_qs parse_cookies match_cookies` | the same; of a name that comes twice `match_…` takes the first |
//! | `binding bindings host_info path_info` | `binding binding_bytes binding_int binding_value bindings host_info path_info` |
//! | `has_body body_length read_body` | the same; [`ReadOpts`](crate::ReadOpts), [`Piece`](crate::Piece) |
//! | `read_urlencoded_body` | `urlencoded`; and `json`, `body` |
//! | `read_part read_part_body` | `multipart`: [`Multipart`](crate::Multipart), [`Part`](crate::Part) |
//! | `set_resp_header set_resp_cookie set_resp_body` | `set_header set_cookie set_body`; `Expires` is said only to remove a cookie: all know `Max-Age` |
//! | `reply stream_reply stream_body stream_trailers stream_events` | `reply stream send finish finish_with send_event` |
//! | `delete_resp_header resp_headers resp_header has_resp_header` | `delete_header reply_headers` |
//! | `has_resp_body` | none: `set_body` is overwritten |
//! | `parse_header(<<"…">>)` for one it does not know | `header`, and a function of one's own |
//! | `filter_cookies` | none: take them by name |
//! | `sendfile` bodies | [`Static`](crate::Static), [`FileSource`](crate::FileSource): read in pieces |
//! | `inform push` | none: hyper has no interim replies but 100, and no push |
//! | `cast`, `set_options` | none: a handler has what it needs |
//!
//! # Around them
//!
//! | Cowboy | httpd |
//! | --- | --- |
//! | `cowboy:start_clear start_tls stop_listener` | [`Httpd`](crate::Httpd) under a supervisor, `net::listener_child` |
//! | `middlewares`, `env` | [`Options::middlewares`](crate::Options), [`Middleware`](crate::Middleware), [`Request::env`](crate::Request::env) |
//! | `stream_handlers` | [`Options::streams`](crate::Options), [`StreamHandler`](crate::StreamHandler) |
//! | `cowboy_compress_h`, `cowboy_decompress_h` | [`Compress`](crate::Compress), which knows brotli too, [`Decompress`](crate::Decompress) |
//! | `cowboy_metrics_h`, `cowboy_tracer_h` | [`Metrics`](crate::Metrics), [`AccessLog`](crate::AccessLog) |
//! | `early_error/5` | none: what is refused before there is a request is answered by its status alone |
//! | `ranch` options, `proxy_header` | `net::ListenerLimits`, `net::Gate` |
//! | `max_headers max_header_name_length max_header_value_length` | [`Limits`](crate::Limits): `headers header_name_bytes header_value_bytes`, and `head_bytes` for all |
//! | `max_method_length max_request_line_length max_empty_lines` | `method_bytes target_bytes empty_lines` |
//! | `max_keepalive max_connections max_concurrent_streams` | `requests connections streams` |
//! | `request_timeout idle_timeout inactivity_timeout` | `head_within idle body_within send_within` |
//! | `linger_timeout shutdown_timeout max_skip_body_length` | `linger drain skip_body_bytes` |
//! | `chunked sendfile hibernate active_n` and other knobs of buffers | none |
//! | `max_received_frame_rate max_reset_stream_rate` and other rates of HTTP/2 | what `h2` counts, seen in the tests |
//! | `enable_connect_protocol` | none: a WebSocket over HTTP/2 is 501 |
//!
//! # Where RFCs say otherwise
//!
//! `q=0` refuses in every header, and an empty header wishes nothing; of the ranges that speak of a type, or a language,
//! the most specific counts; a range without parameters takes types with some,
//! one with some takes types that have them all; `*` is any language; charsets are chosen for texts alone, their names in
//! any case. Without an entity tag `if-none-match` holds nothing but `*`; `if-modified-since` is for GET and HEAD; a date of
//! change that is yet to come is now. Byte ranges are cut at the end of the body, and are for GET; ranges that ask for more
//! than the body, all together, get it whole; a `range` without a unit is none; `if-range` takes dates. Where there is no
//! body nothing is said of one: no type, no language, no coding.
//!
//! Of the codings that are taken the one wished most is chosen, none that is wished less than `identity`. A reply's length is
//! its body's, whatever its headers say; a stream's is what they say, and what is beyond it is not sent.
//!
//! A version of the WebSocket protocol other than 13 is 426, a key that is no key 400. There is no permessage-deflate:
//! decision 0011 says why.
