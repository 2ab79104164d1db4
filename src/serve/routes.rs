//! What lies where: the routes, who may use them, and the way of a request through them.

use super::ServeOptions;
use super::access::{ApiKey, require_json};
use super::admission::{Admission, Connection, Phase};
use super::answer::{Form, unix_seconds};
use super::api_error::ApiError;
use super::batch::Inbox;
use super::encoding::Encoding;
use super::metrics::{CLIENT_LEFT, CONTENT_TYPE, Gauges, Metrics};
use super::names::Names;
use super::places::{Place, Places};
use super::request::{Asked, Draft, Kind, Limits};
use super::sequence::{Event, Job};
use super::{body, stream};
use crate::inference::{Engine, GenerationOptions, SamplingOptions};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The page to try the model with.
const PAGE: &str = include_str!("page.html");
/// Nothing but what the page itself brings, and nobody may frame it.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; \
                           base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const ROUTES: [&str; 6] = ["/", "/health", "/metrics", "/v1/models", "/v1/completions", "/v1/chat/completions"];
/// Routes that need no key.
const OPEN_ROUTES: [&str; 2] = ["/", "/health"];

/// What every handler knows.
#[derive(Debug)]
pub(super) struct App {
    engine: Arc<Engine>,
    limits: Limits,
    inbox: Inbox,
    places: Places,
    encoding: Encoding,
    admission: Arc<Admission>,
    metrics: Arc<Metrics>,
    names: Names,
    key: Option<ApiKey>,
    max_body_bytes: usize,
    started: u64,
    is_stopping: AtomicBool,
}

type Shared = State<Arc<App>>;

impl App {
    pub fn new(engine: Arc<Engine>, inbox: Inbox, metrics: Arc<Metrics>, admission: Arc<Admission>, options: &ServeOptions) -> Self {
        let limits = Limits::new(&engine, options);
        Self {
            places: Places::new(limits.places),
            encoding: Encoding::new(),
            admission,
            names: Names::new(&options.host_names),
            key: options.api_key.as_deref().map(ApiKey::new),
            max_body_bytes: options.max_body_bytes,
            started: unix_seconds(),
            is_stopping: AtomicBool::new(false),
            engine,
            limits,
            inbox,
            metrics,
        }
    }

    /// From now on nothing new is taken on.
    pub fn refuse_more(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    /// Whether no text is computed or waits.
    pub fn is_idle(&self) -> bool {
        self.places.num_taken() == 0
    }

    fn refuse_if_stopping(&self) -> Result<(), ApiError> {
        match (self.is_stopping.load(Ordering::Acquire), self.inbox.is_alive()) {
            (true, _) => Err(ApiError::stopping()),
            (false, false) => Err(ApiError::no_model()),
            (false, true) => Ok(()),
        }
    }

    fn refuse_strangers(&self, request: &Request) -> Result<(), ApiError> {
        self.names.check(request.headers(), request.uri())?;
        match &self.key {
            Some(key) if !OPEN_ROUTES.contains(&request.uri().path()) => key.check(request.headers()),
            _ => Ok(()),
        }
    }

    async fn encode(self: &Arc<Self>, draft: Draft) -> Result<Asked, ApiError> {
        let (app, num_bytes) = (Arc::clone(self), draft.num_bytes());
        let encode = move |is_wanted: &dyn Fn() -> bool| draft.encode(&app.engine, &app.limits, is_wanted);
        self.encoding.run(num_bytes, encode).await.ok_or_else(ApiError::no_model)?
    }

    /// Hands the texts of a request to the model, each with its place.
    fn send(&self, asked: &Asked, places: Vec<Place>, arrived: Instant) -> Result<UnboundedReceiver<Event>, ApiError> {
        let (events, receiver) = unbounded_channel();
        for (choice, place) in places.into_iter().enumerate() {
            let prompt = Arc::clone(&asked.prompts[choice / asked.num_choices]);
            let seed = asked.options.sampling.seed.wrapping_add((choice % asked.num_choices) as u64);
            // The last token is never read, so it needs no room.
            let room = self.limits.context + 1 - prompt.len();
            let options = GenerationOptions {
                sampling: SamplingOptions { seed, ..asked.options.sampling },
                max_new_tokens: asked.options.max_new_tokens.min(room),
                ..asked.options.clone()
            };
            self.inbox.send(Job { prompt, options, choice, events: events.clone(), arrived, place })?;
        }
        Ok(receiver)
    }
}

/// All routes.
pub(super) fn router(app: Arc<App>) -> Router {
    let page_headers = [(header::CONTENT_SECURITY_POLICY, PAGE_POLICY), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Router::new()
        .route("/", get(move || async move { (page_headers, Html(PAGE)) }))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/v1/models", get(models))
        .route("/v1/models/{*name}", get(model))
        .route("/v1/completions", post(|state: Shared, request: Request| answer(Kind::Completion, state, request)))
        .route("/v1/chat/completions", post(|state: Shared, request: Request| answer(Kind::Chat, state, request)))
        .fallback(|| async { ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path is not for this method")
        })
        .layer(from_fn_with_state(Arc::clone(&app), guard))
        .with_state(app)
}

/// Counts a request when it is over, however that comes.
struct Counted<'a> {
    metrics: &'a Metrics,
    route: &'static str,
    status: u16,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.metrics.count_request(self.route, self.status);
    }
}

/// Around every route: the name, the key, and the count.
async fn guard(State(app): Shared, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let route = ROUTES.into_iter().find(|route| *route == path).unwrap_or("other");
    let mut counted = Counted { metrics: &app.metrics, route, status: CLIENT_LEFT };
    let response = match app.refuse_strangers(&request) {
        Err(error) => error.into_response(),
        Ok(()) => next.run(request).await,
    };
    counted.status = response.status().as_u16();
    response
}

async fn health(State(app): Shared) -> Result<Response, ApiError> {
    app.refuse_if_stopping().map_err(|error| error.status(StatusCode::SERVICE_UNAVAILABLE))?;
    Ok(Json(json!({"status": "ok"})).into_response())
}

async fn metrics(State(app): Shared) -> Response {
    let gauges = Gauges { taken_places: app.places.num_taken(), places: app.places.count(), connections: app.admission.counts() };
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], app.metrics.text(gauges)).into_response()
}

async fn models(State(app): Shared) -> Response {
    Json(json!({"object": "list", "data": [app.model()]})).into_response()
}

async fn model(State(app): Shared, axum::extract::Path(name): axum::extract::Path<String>) -> Result<Response, ApiError> {
    match name == app.limits.model_name {
        true => Ok(Json(app.model()).into_response()),
        false => Err(app.limits.no_such_model(&name)),
    }
}

impl App {
    fn model(&self) -> serde_json::Value {
        let Limits { model_name, context, .. } = &self.limits;
        let has_chat_template = self.engine.template.is_some();
        json!({
            "id": model_name, "object": "model", "created": self.started, "owned_by": "bitnet",
            "context_length": context, "has_chat_template": has_chat_template,
        })
    }
}

/// Both APIs that continue texts.
async fn answer(kind: Kind, State(app): Shared, request: Request) -> Result<Response, ApiError> {
    let arrived = Instant::now();
    app.refuse_if_stopping()?;
    require_json(request.headers())?;
    let connection = request.extensions().get::<Connection>().cloned();
    let body = body::read(request.into_body(), app.max_body_bytes).await?;
    connection.iter().for_each(|connection| connection.enter(Phase::Working));
    // The place comes first: who gets none has cost nothing but reading, and there are no more texts to encode than places.
    let draft = Draft::read(kind, &body, &app.engine, &app.limits)?;
    let places = app.places.take(draft.num_texts()).ok_or_else(|| ApiError::too_many(app.places.count()))?;
    drop(body);
    let asked = app.encode(draft).await?;
    app.refuse_if_stopping()?;
    let events = app.send(&asked, places, arrived)?;
    let form = Form::new(&asked, &app.limits.model_name);
    match asked.is_stream {
        true => Ok(stream::streamed(&asked, form, Arc::clone(&app.engine), events)),
        false => stream::whole(&asked, &form, &app.engine, events).await,
    }
}
