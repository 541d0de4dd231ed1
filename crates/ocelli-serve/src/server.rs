//! Sockets: connections within limits, and an end without a lost request.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tower_service::Service;

use crate::event::Event;
use crate::guard::Guard;
use crate::options::{Error, ListenOptions};
use crate::site::{Client, Observe, Site, Stopping};
use crate::stream::Stream;

/// How often it is looked whether the server is to end.
const TICK: Duration = Duration::from_millis(200);
/// How long it is waited for room.
const ROOM: Duration = Duration::from_millis(50);
/// A client that has had no request in work for so long may be sent away for another one.
const IDLE: Duration = Duration::from_millis(250);
/// The most headers of a request, and the most bytes of them together.
const HEADERS: usize = 64;
const HEADER_BYTES: usize = 16 << 10;

/// A server that listens, and answers once it [runs](Self::run).
pub struct Server {
    runtime: Runtime,
    listener: TcpListener,
    address: SocketAddr,
    site: Site,
    guard: Guard,
    observe: Observe,
    max_connections: usize,
    client_timeout: Duration,
}

impl Server {
    /// Listens, to answer with this site. `observe` is told what happens, and must not block for long.
    ///
    /// # Errors
    /// Where the address cannot be listened at.
    pub fn bind(
        site: impl Into<Site>,
        options: &ListenOptions,
        observe: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let start = |error: &std::io::Error| Error::Start(ocelli::io_reason(error));
        let runtime =
            Builder::new_current_thread().enable_io().enable_time().build().map_err(|error| start(&error))?;
        let address = SocketAddr::new(options.host, options.port);
        let refused = |source| Error::Listen { address, source };
        let listener = runtime.block_on(TcpListener::bind(address)).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let site = site.into();
        let (guard, observe) = (Guard::new(options, site.open), Arc::new(observe));
        let (max_connections, client_timeout) = (options.max_connections, options.client_timeout);
        Ok(Self { runtime, listener, address, site, guard, observe, max_connections, client_timeout })
    }

    /// Where the server listens: `http://127.0.0.1:8000`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers until `stop` is set; then no connection is taken any more, and requests that have begun are finished.
    ///
    /// # Errors
    /// Where a thread cannot be started.
    pub fn run(self, stop: Arc<AtomicBool>) -> Result<(), Error> {
        let Self { runtime, listener, mut site, guard, observe, max_connections, client_timeout, .. } = self;
        if let Some(work) = site.work.take() {
            let (stop, observe) = (stop.clone(), observe.clone());
            let thread = std::thread::Builder::new().name("site".to_owned());
            let thread = thread.spawn(move || work(&stop, &observe));
            thread.map_err(|error| Error::Start(ocelli::io_reason(&error)))?;
        }
        let connections = Connections {
            stopping: site.stopping.clone(),
            router: site.router(guard, observe.clone()),
            places: Arc::new(Semaphore::new(max_connections)),
            all: max_connections,
            waiting: Arc::default(),
            timeout: client_timeout,
        };
        runtime.block_on(connections.accept(listener, &stop, &observe));
        Ok(())
    }
}

/// All connections.
struct Connections {
    router: Router,
    places: Arc<Semaphore>,
    all: usize,
    waiting: Arc<Mutex<Waiting>>,
    timeout: Duration,
    stopping: Stopping,
}

/// The connections whose clients have no request in work, by when they began to wait for one.
type Waiting = BTreeMap<(Instant, u64), Arc<Notify>>;

/// A connection's place among all.
struct Place {
    waiting: Arc<Mutex<Waiting>>,
    key: Mutex<(Instant, u64)>,
    /// Told where others need the place.
    leave: Arc<Notify>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn new(waiting: Arc<Mutex<Waiting>>, number: u64, permit: OwnedSemaphorePermit) -> Self {
        let key = Mutex::new((Instant::now(), number));
        let place = Self { waiting, key, leave: Arc::default(), _permit: permit };
        place.waits();
        place
    }

    /// The client has no request in work.
    fn waits(&self) {
        let mut key = locked(&self.key);
        key.0 = Instant::now();
        locked(&self.waiting).insert(*key, self.leave.clone());
    }

    /// The client has a request in work.
    fn works(&self) {
        locked(&self.waiting).remove(&*locked(&self.key));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.works();
    }
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Connections {
    async fn accept(&self, listener: TcpListener, stop: &AtomicBool, observe: &Observe) {
        let mut number = 0;
        while !stop.load(Ordering::SeqCst) {
            match timeout(TICK, listener.accept()).await {
                Ok(Ok((stream, client))) => {
                    let Some(permit) = self.permit(stop).await else { break };
                    number += 1;
                    self.serve(stream, client, Place::new(self.waiting.clone(), number, permit));
                }
                // Such as no more files that can be open.
                Ok(Err(_)) => {
                    self.make_room();
                    sleep(ROOM).await;
                }
                Err(_) => {}
            }
        }
        self.stopping.set();
        drop(listener);
        // A body, and then an answer, may each take the time that clients have.
        let all = timeout(2 * self.timeout, self.places.acquire_many(self.all as u32)).await;
        if all.is_err() {
            observe(Event::CutOff(self.all - self.places.available_permits()));
        }
    }

    /// The right to a connection, for which others may have to leave; the system's queue holds those that come meanwhile.
    async fn permit(&self, stop: &AtomicBool) -> Option<OwnedSemaphorePermit> {
        while !stop.load(Ordering::SeqCst) {
            if let Ok(permit) = self.places.clone().try_acquire_owned() {
                return Some(permit);
            }
            self.make_room();
            if let Ok(Ok(permit)) = timeout(ROOM, self.places.clone().acquire_owned()).await {
                return Some(permit);
            }
        }
        None
    }

    /// Sends away the client that has waited longest without a request.
    fn make_room(&self) {
        let mut waiting = locked(&self.waiting);
        if let Some(first) = waiting.first_entry().filter(|first| first.key().0.elapsed() >= IDLE) {
            first.remove().notify_one();
        }
    }

    fn serve(&self, stream: TcpStream, client: SocketAddr, place: Place) {
        let _ = stream.set_nodelay(true);
        let stream = TokioIo::new(Stream::new(stream, self.timeout));
        let (router, place) = (self.router.clone(), Arc::new(place));
        let leave = place.leave.clone();
        let service = service_fn(move |mut request| {
            let (mut router, place) = (router.clone(), place.clone());
            async move {
                place.works();
                axum::http::Request::extensions_mut(&mut request).insert(Client(client));
                let Ok(response) = router.call(request).await;
                place.waits();
                Ok::<_, Infallible>(response)
            }
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.timeout)
            .max_headers(HEADERS)
            .max_buf_size(HEADER_BYTES)
            // A client that has said all may still listen.
            .half_close(true);
        let connection = builder.serve_connection(stream, service);
        let stopping = self.stopping.clone();
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            let mut stop = pin!(stopping.wait());
            let mut leave = pin!(leave.notified());
            let mut asked = false;
            // What a client does wrong is its own matter.
            let _ = poll_fn(|context| {
                if !asked
                    && (stop.as_mut().poll(context).is_ready() || leave.as_mut().poll(context).is_ready())
                {
                    asked = true;
                    connection.as_mut().graceful_shutdown();
                }
                connection.as_mut().poll(context)
            })
            .await;
        });
    }
}
