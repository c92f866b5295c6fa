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
//! | `terminate/3` | [`Handler::terminate`](crate::Handler::terminate), always and once; [`Reason`](crate::Reason) |
//! | a message to the request's process | [`Mailbox`](crate::Mailbox), [`Sender`](crate::Sender) |
//! | request errors that are thrown | [`Error`](crate::Error), by `?` |
//! | `cowboy_static` | [`Static`](crate::Static) |
//!
//! A reply that breaks off is never ended as if it were whole. A handler that panics is told of it. A loop hears
//! [`LoopInfo::Draining`](crate::LoopInfo::Draining) when the server stops.
//!
//! # Requests and replies (`cowboy_req`)
//!
//! | Cowboy | httpd, of [`Request`](crate::Request) |
//! | --- | --- |
//! | `method version scheme host port path qs uri peer sock cert` | `method version scheme host port path qs uri peer local tls` |
//! | `header headers parse_header` | `header headers typed_header` |
//! | `parse_qs match_qs parse_cookies match_cookies` | the same |
//! | `binding bindings host_info path_info` | `binding binding_bytes binding_int binding_value bindings host_info path_info` |
//! | `has_body body_length read_body` | the same; [`ReadOpts`](crate::ReadOpts), [`Piece`](crate::Piece) |
//! | `read_urlencoded_body` | `urlencoded`; and `json`, `body` |
//! | `read_part read_part_body` | `multipart`: [`Multipart`](crate::Multipart), [`Part`](crate::Part) |
//! | `set_resp_header set_resp_cookie set_resp_body` | `set_header set_cookie set_body` |
//! | `reply stream_reply stream_body stream_trailers stream_events` | `reply stream send finish finish_with send_event` |
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
//! | options of the listener | [`Limits`](crate::Limits) |
//!
//! # REST and WebSocket, where RFCs say otherwise
//!
//! `q=0` refuses in every header; a range without parameters takes types with some; `*` is any language; without an
//! entity tag `if-none-match` holds nothing; `if-modified-since` is for GET and HEAD; byte ranges are cut at the end of
//! the body, are for GET, and `if-range` takes dates. A version of the WebSocket protocol other than 13 is 426, a key
//! that is no key 400. There is no permessage-deflate: decision 0011 says why.
