//! The way of one request: choose, send, try elsewhere if that is safe, and stream the answer back.

use std::{error::Error as StdError, sync::Arc};

use hyper::{Request, Response, StatusCode, body::Incoming, header::HeaderValue, http::request};
use model::Code;
use tokio::time::Instant;
use tower::BoxError;

use super::{
    Shared,
    alarm::Alarm,
    answer::{self, AnswerBody, Relayed},
    body::{BodyError, Invitation, RequestBody},
    check,
    endpoint::{Full, Held, describe},
    head,
    live::{Live, LiveRevision, Tried},
    millis_since, upgrade,
    upstream::Upstream,
};
use crate::{
    count::Tally,
    route::{RequestFacts, mix},
};

/// A request and what is known of it besides.
pub(crate) struct Asked {
    pub(crate) request: Request<Incoming>,
    pub(crate) client: HeaderValue,
    /// Drawn for this request alone.
    pub(crate) random: u64,
    pub(crate) began: Instant,
}

/// Why there is no answer of an instance.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Nobody could be connected to.
    Unreachable(String),
    /// Too many connections are being opened.
    Overloaded,
    /// We have no connection left for it.
    Full,
    /// The instance broke off before it answered, or answered nonsense.
    Broken(String),
    /// The request's time is over.
    Late,
    /// The client broke off.
    Client,
    /// The client sends more than is allowed.
    TooLarge(String),
}

impl Trouble {
    /// It is the service's error rather than the client's or ours.
    pub(crate) fn is_ours(&self) -> bool {
        match self {
            Trouble::Unreachable(_) | Trouble::Overloaded | Trouble::Broken(_) | Trouble::Late => true,
            Trouble::Full | Trouble::Client | Trouble::TooLarge(_) => false,
        }
    }

    pub(crate) fn answer(&self, revision: &LiveRevision) -> Response<AnswerBody> {
        let name = &revision.name;
        match self {
            Trouble::Unreachable(why) => {
                let reason = format!("no instance of revision {name} could be reached: {why}");
                answer::own(StatusCode::BAD_GATEWAY, Code::Unavailable, &reason)
            }
            Trouble::Overloaded => {
                let reason = format!("too many connections to revision {name} are being opened");
                answer::own(StatusCode::SERVICE_UNAVAILABLE, Code::Overloaded, &reason)
            }
            Trouble::Full => {
                let why = "all connections that the data plane may open to instances are taken";
                answer::own(StatusCode::SERVICE_UNAVAILABLE, Code::Overloaded, why)
            }
            Trouble::Broken(why) => {
                let reason = format!("revision {name} did not answer: {why}");
                answer::own(StatusCode::BAD_GATEWAY, Code::Unavailable, &reason)
            }
            Trouble::Late => {
                let reason = format!("revision {name} did not answer in time");
                answer::own(StatusCode::GATEWAY_TIMEOUT, Code::Timeout, &reason)
            }
            Trouble::Client => answer::own(StatusCode::BAD_REQUEST, Code::Invalid, "the request broke off"),
            Trouble::TooLarge(why) => answer::too_large(why),
        }
    }
}

/// Answers a request. One that asks who answers here is told the table, and the instance if one answered.
pub(crate) async fn forward(
    plane: Arc<Shared>,
    live: Arc<Live>,
    asked: Asked,
    deadline: Instant,
    alarm: &mut Alarm,
) -> Response<AnswerBody> {
    let route = asked.request.headers().contains_key(head::DOOR).then(|| live.route.clone());
    let mut answer = carry(plane, live, asked, deadline, alarm).await;
    if let Some(route) = route {
        answer.headers_mut().insert(head::ROUTE, route);
    }
    answer
}

async fn carry(
    plane: Arc<Shared>,
    live: Arc<Live>,
    asked: Asked,
    deadline: Instant,
    alarm: &mut Alarm,
) -> Response<AnswerBody> {
    let Asked { request, client, random, began } = asked;
    if let Some(refused) = check::refuse(&request, &plane.settings) {
        return refused;
    }
    let at_the_door = request.headers().contains_key(head::DOOR);
    let choice = match live.router.choose(RequestFacts::new(request.headers()), random) {
        Ok(choice) => choice,
        Err(why) => {
            if !at_the_door {
                live.counts.unroutable();
            }
            return answer::own(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, &why.to_string());
        }
    };
    let Some(revision) = live.revisions.get(choice.revision) else {
        return answer::own(
            StatusCode::INTERNAL_SERVER_ERROR,
            Code::Internal,
            "the route has no such revision",
        );
    };
    let mut tally = if at_the_door { Tally::nowhere(began) } else { Tally::new(&revision.counts, began) };
    let cookie = live.router.sticky().zip(choice.set_cookie);

    let (mut parts, incoming) = request.into_parts();
    let Ok(wish) = upgrade::Wish::of(&plane, &mut parts) else {
        let why = "too many connections are open";
        return answer::own(StatusCode::SERVICE_UNAVAILABLE, Code::Overloaded, why);
    };
    let id = head::prepare(&mut parts, &client, random);
    let request = outgoing(parts, incoming, wish.as_ref(), plane.settings.max_body);
    let sent = Sender {
        plane: &plane,
        revision,
        deadline,
        alarm,
        began,
        draw: random,
        tried: Tried::default(),
        retries: 0,
    };
    let sent = sent.send(request).await.and_then(|answer| admissible(answer, &wish, &plane));
    let mut answer = match (sent, wish) {
        (Ok((answer, upstream, held)), Some(wish)) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
            wish.grant(&plane, answer, upstream, (held, tally))
        }
        (Ok(answer), _) => relayed(answer, tally, deadline, at_the_door),
        (Err(trouble), _) => {
            if trouble.is_ours() {
                tally.failed();
            }
            trouble.answer(revision)
        }
    };
    head::finish(answer.headers_mut(), &revision.header, id, cookie);
    answer
}

/// The request as an instance gets it.
fn outgoing(
    mut head: request::Parts,
    incoming: Incoming,
    wish: Option<&upgrade::Wish>,
    max_body: u64,
) -> Request<RequestBody> {
    if let Some(wish) = wish {
        wish.ask(&mut head.headers);
    }
    let invitation = head::expects_continue(&head.headers).then(Invitation::default);
    let body = RequestBody::of(incoming, max_body, invitation.as_ref());
    head::frame(&mut head, &body);
    let mut request = Request::from_parts(head, body);
    if let Some(invitation) = invitation {
        hyper::ext::on_informational(&mut request, move |said| {
            if said.status() == StatusCode::CONTINUE {
                invitation.given();
            }
        });
    }
    request
}

/// An instance's answer as the client gets it; named when the client asked at the door.
fn relayed(answer: Answer, mut tally: Tally, deadline: Instant, named: bool) -> Response<AnswerBody> {
    let (answer, upstream, held) = answer;
    if answer.status().is_server_error() {
        tally.failed();
    }
    let name = named.then(|| HeaderValue::try_from(held.endpoint().is.instance.as_str()));
    let mut answer = answer
        .map(|incoming| AnswerBody::relayed(Relayed::new(incoming, Some(upstream), held, tally, deadline)));
    head::strip(answer.headers_mut());
    if let Some(Ok(name)) = name {
        answer.headers_mut().insert(head::INSTANCE, name);
    }
    answer
}

/// An answer that can be passed on.
fn admissible(answer: Answer, wish: &Option<upgrade::Wish>, plane: &Shared) -> Result<Answer, Trouble> {
    let most = plane.settings.max_head;
    if check::answer_size(&answer.0) > most {
        return Err(too_large(most));
    }
    if answer.0.status() == StatusCode::SWITCHING_PROTOCOLS && wish.is_none() {
        return Err(Trouble::Broken("it switched protocols without being asked to".to_owned()));
    }
    Ok(answer)
}

fn too_large(most: usize) -> Trouble {
    Trouble::Broken(format!("the head of its answer is too large, {most} bytes are allowed"))
}

/// One request on its way to an instance, or to the next.
struct Sender<'a> {
    plane: &'a Shared,
    revision: &'a LiveRevision,
    deadline: Instant,
    alarm: &'a mut Alarm,
    began: Instant,
    draw: u64,
    tried: Tried,
    /// Retries that were taken out of the budget.
    retries: u32,
}

type Answer = (Response<Incoming>, Box<Upstream>, Held);

/// What it takes to send a request without a body again.
struct Again(request::Parts);

impl Again {
    /// Copied before it is sent, because it may be needed after.
    fn of(message: &Request<RequestBody>) -> Option<Again> {
        if !matches!(message.body(), RequestBody::Empty) || !head::is_idempotent(message.method()) {
            return None;
        }
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method.clone_from(message.method());
        parts.uri.clone_from(message.uri());
        parts.headers.clone_from(message.headers());
        Some(Again(parts))
    }

    fn message(self) -> Request<RequestBody> {
        Request::from_parts(self.0, RequestBody::Empty)
    }
}

impl Sender<'_> {
    async fn send(mut self, mut message: Request<RequestBody>) -> Result<Answer, Trouble> {
        // A connection that was kept may have been closed meanwhile; that says nothing about the instance and costs
        // it nothing, so the next try is free and on a new connection.
        let mut may_reuse = true;
        let now_ms = millis_since(self.plane.epoch, self.began);
        loop {
            self.draw = mix(self.draw);
            let Some(at) = self.revision.pick(&self.tried, now_ms, self.draw) else {
                return Err(Trouble::Unreachable("it has none".to_owned()));
            };
            let endpoint = &self.revision.endpoints[at];
            let held = Held::new(endpoint);
            let Some(mut upstream) = self.connection(at, may_reuse).await? else { continue };
            let reused = upstream.reused;
            let again = Again::of(&message);
            let mut error = match self.alarm.within(self.deadline, upstream.exchange(message)).await {
                Some(Ok(answer)) => {
                    if answer.status().is_server_error() {
                        self.revision.failed(endpoint, Instant::now());
                    } else {
                        self.revision.succeeded(endpoint);
                    }
                    return Ok((answer, upstream, held));
                }
                Some(Err(error)) => error,
                None => {
                    self.revision.failed(endpoint, Instant::now());
                    return Err(Trouble::Late);
                }
            };
            let unsent = error.take_message();
            let trouble = broken(error.error(), self.plane.settings.max_head);
            let next = match unsent {
                Some(unsent) => Some(unsent),
                // An answer that is not HTTP is an answer: asking again would get the same.
                None if error.error().is_parse() => None,
                None => again.map(Again::message),
            };
            if !trouble.is_ours() {
                return Err(trouble);
            }
            let stale = reused && may_reuse;
            if !stale {
                self.revision.failed(endpoint, Instant::now());
            }
            match next {
                Some(next) if stale || self.may_retry(at) => {
                    may_reuse = false;
                    message = next;
                }
                Some(_) | None => return Err(trouble),
            }
        }
    }

    /// A connection to this instance; none when another one is to be tried.
    async fn connection(&mut self, at: usize, may_reuse: bool) -> Result<Option<Box<Upstream>>, Trouble> {
        let endpoint = &self.revision.endpoints[at];
        if may_reuse && let Some(idle) = endpoint.idle_connection().await {
            return Ok(Some(idle));
        }
        match self.alarm.within(self.deadline, endpoint.new_connection()).await {
            Some(Ok(upstream)) => Ok(Some(upstream)),
            Some(Err(error)) => {
                // Nothing was sent, so any request may go elsewhere.
                let trouble = self.not_connected(at, &error);
                if self.may_retry(at) { Ok(None) } else { Err(trouble) }
            }
            None => {
                self.revision.failed(endpoint, Instant::now());
                Err(Trouble::Late)
            }
        }
    }

    fn not_connected(&self, at: usize, error: &BoxError) -> Trouble {
        if error.is::<tower::load_shed::error::Overloaded>() {
            return Trouble::Overloaded;
        }
        if error.is::<Full>() {
            return Trouble::Full;
        }
        self.revision.failed(&self.revision.endpoints[at], Instant::now());
        Trouble::Unreachable(describe(error))
    }

    fn may_retry(&mut self, at: usize) -> bool {
        let now = Instant::now();
        if self.retries >= self.plane.settings.retries
            || now >= self.deadline
            || !self.revision.may_retry(now)
        {
            return false;
        }
        self.tried.add(self.revision.endpoints[at].id);
        self.retries += 1;
        self.revision.counts.retried();
        true
    }
}

/// Whose fault it is that an exchange broke. `most` is the largest head of an answer.
fn broken(error: &hyper::Error, most: usize) -> Trouble {
    if error.is_parse_too_large() {
        return too_large(most);
    }
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(error) = cause {
        match error.downcast_ref::<BodyError>() {
            Some(BodyError::TooLarge(_)) => return Trouble::TooLarge(error.to_string()),
            Some(BodyError::Client(_)) => return Trouble::Client,
            Some(BodyError::Upstream(_) | BodyError::Late) | None => cause = error.source(),
        }
    }
    Trouble::Broken(error.to_string())
}
