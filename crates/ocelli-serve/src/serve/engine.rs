//! Queues and threads: jobs in, outcomes out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use ocelli::interpret::TargetClass;
use ocelli::{Model, Prediction, RgbImage, Sample};
use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::options::Error;
use crate::refusal::Refusal;
use crate::serve::metrics::Metrics;

/// The most images that a thread computes at once: more take memory, and are not faster.
const BATCH: usize = 8;

/// An image, as a client has sent it.
pub(crate) enum Source {
    /// The bytes of a file.
    File(Bytes),
    /// Decoded.
    Pixels(RgbImage),
    /// Normalised: `[size, size, 3]`
    Values(Vec<f32>),
}

/// What a client wants to know about an image.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Want {
    Prediction,
    Features,
    HeatMap(TargetClass),
}

/// What was computed about an image.
#[derive(Debug)]
pub(crate) enum Answer {
    Prediction(Prediction),
    Features(Vec<f32>),
    /// The photo as the network sees it with the heat map, as PNG.
    HeatMap(Vec<u8>),
}

/// Why nothing was computed.
#[derive(Debug)]
pub(crate) enum Failure {
    Library(ocelli::Error),
    /// A defect of Ocelli.
    Panicked,
}

pub(crate) type Outcome = Result<Answer, Failure>;

/// An image to be computed.
struct Job {
    model: Arc<Model>,
    image: Source,
    want: Want,
    reply: Reply,
}

/// Where an outcome goes, and the image's place in the queue.
struct Reply {
    to: oneshot::Sender<Outcome>,
    place: OwnedSemaphorePermit,
}

impl Reply {
    fn send(self, outcome: Outcome) {
        // Free before the client can ask again.
        drop(self.place);
        // A client that is gone needs none.
        let _ = self.to.send(outcome);
    }
}

/// A decoded image that waits for the network.
struct Ready {
    model: Arc<Model>,
    input: Input,
    reply: Reply,
}

enum Input {
    Predict(Sample),
    Embed(Sample),
    /// With the image as the network sees it: whole photos would take much memory while they wait.
    Explain(Sample, RgbImage, TargetClass),
}

/// The threads, and the queue before them.
pub(crate) struct Engine {
    jobs: Sender<Job>,
    places: Arc<Semaphore>,
    all: usize,
}

impl Engine {
    /// Starts the threads, which end when the engine is dropped and all jobs are done.
    pub(crate) fn start(queue: usize, threads: usize, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let (jobs, of_decoders) = channel();
        let (ready, of_network) = channel();
        let of_decoders = Arc::new(Mutex::new(of_decoders));
        let network = Arc::new(Network {
            ready: Mutex::new(of_network),
            waiting: AtomicUsize::new(0),
            computing: AtomicUsize::new(0),
            threads,
            all: pool("network", threads)?,
            metrics,
        });
        for _ in 0..threads {
            let (jobs, ready, network) = (of_decoders.clone(), ready.clone(), network.clone());
            spawn("decoding", move || decode(&jobs, &ready, &network.waiting))?;
        }
        for _ in 0..threads {
            let network = network.clone();
            // The kernels within stay on this thread. It ends after the pool is dropped, with its work.
            pool("worker", 1)?.spawn(move || network.work());
        }
        Ok(Self { jobs, places: Arc::new(Semaphore::new(queue)), all: queue })
    }

    /// The number of images that wait or are computed.
    pub(crate) fn waiting(&self) -> usize {
        self.all - self.places.available_permits()
    }

    /// The outcomes for images, in their order; or, where the queue has not enough free places for all of them, none.
    pub(crate) async fn run(
        &self,
        model: &Arc<Model>,
        images: Vec<Source>,
        want: &Want,
    ) -> Result<Vec<Outcome>, Refusal> {
        let count = images.len() as u32;
        let mut places = self.places.clone().try_acquire_many_owned(count).map_err(|_| {
            Refusal::busy(format!("the queue of {} images is full; send the request again later", self.all))
        })?;
        let replies: Vec<oneshot::Receiver<Outcome>> = images
            .into_iter()
            .map(|image| {
                let (to, reply) = oneshot::channel();
                let place = places.split(1).expect("there is one for each image");
                let reply_to = Reply { to, place };
                // The threads end after the engine.
                let _ =
                    self.jobs.send(Job { model: model.clone(), image, want: want.clone(), reply: reply_to });
                reply
            })
            .collect();
        let mut outcomes = Vec::with_capacity(replies.len());
        for reply in replies {
            outcomes.push(reply.await.unwrap_or(Err(Failure::Panicked)));
        }
        Ok(outcomes)
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map(drop).map_err(|error| Error::Start(format!("a thread: {}", ocelli::io_reason(&error))))
}

/// Threads among which the kernels of a network share their work.
fn pool(name: &'static str, threads: usize) -> Result<ThreadPool, Error> {
    let builder = ThreadPoolBuilder::new().num_threads(threads).thread_name(move |_| name.to_owned());
    builder.build().map_err(|error| Error::Start(format!("a thread: {error}")))
}

/// Work on what a client has sent must not end the thread.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Failure::Panicked)
}

/// A decoding thread.
fn decode(jobs: &Mutex<Receiver<Job>>, ready: &Sender<Ready>, waiting: &AtomicUsize) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { model, image, want, reply }) = job else { return };
        if reply.to.is_closed() {
            continue;
        }
        let decoded = guarded(|| {
            let decoded = match image {
                Source::File(bytes) => model.decode(&bytes)?,
                Source::Pixels(image) => image,
                // Of which only predictions are asked.
                Source::Values(values) => return Ok(Input::Predict(model.sample_of_values(values)?)),
            };
            Ok(match want {
                Want::Prediction => Input::Predict(model.sample(&decoded)?),
                Want::Features => Input::Embed(model.sample(&decoded)?),
                Want::HeatMap(class) => {
                    let framed = model.config().preprocessing.frame(&decoded)?;
                    Input::Explain(model.sample(&decoded)?, framed, class)
                }
            })
        });
        match decoded.and_then(|decoded: ocelli::Result<Input>| decoded.map_err(Failure::Library)) {
            Ok(input) => {
                waiting.fetch_add(1, Ordering::SeqCst);
                let _ = ready.send(Ready { model, input, reply });
            }
            Err(failure) => reply.send(Err(failure)),
        }
    }
}

/// The threads that compute, one for each core.
///
/// Where images wait, each thread computes a batch of its own: threads that share one network wait for each other at
/// every layer. Where cores would be idle, they share.
struct Network {
    ready: Mutex<Receiver<Ready>>,
    /// Decoded images that no thread has taken.
    waiting: AtomicUsize,
    /// Threads that compute.
    computing: AtomicUsize,
    threads: usize,
    /// All cores.
    all: ThreadPool,
    metrics: Arc<Metrics>,
}

impl Network {
    /// The next images: this thread's share of those that wait. It does not wait for more than one.
    fn take(&self) -> Option<Vec<Ready>> {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let first = ready.recv().ok()?;
        let share = self.waiting.load(Ordering::SeqCst).div_ceil(self.threads).clamp(1, BATCH);
        let mut taken = vec![first];
        taken.extend(ready.try_iter().take(share - 1));
        self.waiting.fetch_sub(taken.len(), Ordering::SeqCst);
        Some(taken)
    }

    /// A computing thread: what it takes for the same model and the same answer is one batch.
    fn work(&self) {
        while let Some(mut taken) = self.take() {
            taken.retain(|ready| !ready.reply.to.is_closed());
            while !taken.is_empty() {
                let first = &taken[0];
                let (model, kind) = (first.model.clone(), std::mem::discriminant(&first.input));
                let is_of_batch = |ready: &mut Ready| {
                    Arc::ptr_eq(&ready.model, &model) && std::mem::discriminant(&ready.input) == kind
                };
                let batch: Vec<Ready> = taken.extract_if(.., is_of_batch).collect();
                self.metrics.batch(batch.len());
                let computing = self.computing.fetch_add(1, Ordering::SeqCst) + 1;
                match 2 * computing <= self.threads {
                    true => self.all.install(|| compute_batch(&model, batch)),
                    false => compute_batch(&model, batch),
                }
                self.computing.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }
}

fn compute_batch(model: &Model, batch: Vec<Ready>) {
    let mut replies = Vec::with_capacity(batch.len());
    let (mut predict, mut embed, mut explain) = (Vec::new(), Vec::new(), Vec::new());
    for Ready { input, reply, .. } in batch {
        replies.push(reply);
        match input {
            Input::Predict(sample) => predict.push(sample),
            Input::Embed(sample) => embed.push(sample),
            Input::Explain(sample, image, class) => explain.push((sample, image, class)),
        }
    }
    // One of the three is not empty.
    let computed = guarded(|| {
        let predictions = model.predict_samples(&predict).into_iter().map(|row| row.map(Answer::Prediction));
        let features = model.embed_samples(&embed).into_iter().map(|row| row.map(Answer::Features));
        let pictures = explain.into_iter().map(|(sample, image, class)| {
            let explanation = model.explain_sample(&sample, image, &class)?;
            Ok(Answer::HeatMap(explanation.heat.over(&explanation.image).to_png()))
        });
        predictions.chain(features).chain(pictures).collect::<Vec<ocelli::Result<Answer>>>()
    });
    match computed {
        Ok(answers) => {
            for (reply, answer) in replies.into_iter().zip(answers) {
                reply.send(answer.map_err(Failure::Library));
            }
        }
        Err(_) => replies.into_iter().for_each(|reply| reply.send(Err(Failure::Panicked))),
    }
}
