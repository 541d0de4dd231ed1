//! MPI libraries: their functions and constants, in each of the three ABIs. All `unsafe` code is here.
//!
//! Handles (`MPI_Comm`, `MPI_Datatype`, `MPI_Request`) are integers in MPICH's own ABI and pointers in the
//! others; everything else has the same type in all.

use std::ffi::{OsStr, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;

use libloading::os::unix::{Library as Loaded, RTLD_GLOBAL, RTLD_NOW};

use crate::error::{Error, Result};
use crate::launcher::Family;
use crate::search::Candidate;

/// The functions that a job needs, on bytes and on all processes.
///
/// Lengths are those of the slices; counts and displacements are checked against them.
pub(crate) trait Calls: Send {
    /// `MPI_Init_thread`: the level of threads that the library provides, and whether that is enough to be
    /// called from one thread at a time.
    fn init(&self) -> Result<bool>;
    /// `MPI_Comm_rank` and `MPI_Comm_size`.
    fn rank_and_size(&self) -> Result<(usize, usize)>;
    /// `MPI_Iallgatherv`: `counts` bytes of each process, one after the other. `pause` is called again and
    /// again while it is not done, as in all operations.
    fn all_gather_v(&self, sent: &[u8], received: (&mut [u8], &[c_int]), pause: Pause) -> Result<()>;
    /// `MPI_Ialltoallv`: `counts` bytes for and from each process, one after the other.
    fn all_to_all_v(
        &self,
        sent: (&[u8], &[c_int]),
        received: (&mut [u8], &[c_int]),
        pause: Pause,
    ) -> Result<()>;
    /// `MPI_Abort`.
    fn abort(&self, code: i32);
    /// `MPI_Finalize`.
    fn finalize(&self) -> Result<()>;
}

/// Called while an operation is not done.
pub(crate) type Pause<'a> = &'a mut dyn FnMut();

/// A loaded library.
pub(crate) struct Library {
    pub(crate) path: String,
    /// What it says of itself: `Open MPI v5.0.11, …`.
    pub(crate) version: String,
    pub(crate) calls: Box<dyn Calls>,
}

/// A handle: an integer or a pointer.
trait Handle: Copy + Send + 'static {
    /// A request that is none yet, to be written by the library.
    const EMPTY: Self;
}

impl Handle for c_int {
    const EMPTY: Self = 0;
}

/// A pointer that only the library looks behind.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Opaque(*mut c_void);

// SAFETY: the pointer is never dereferenced here; it names an object of the library, which may be used from
// any thread once MPI_THREAD_SERIALIZED is provided.
unsafe impl Send for Opaque {}

impl Handle for Opaque {
    const EMPTY: Self = Self(ptr::null_mut());
}

type GetLibraryVersion = unsafe extern "C" fn(*mut c_char, *mut c_int) -> c_int;
type InitThread = unsafe extern "C" fn(*mut c_int, *mut *mut *mut c_char, c_int, *mut c_int) -> c_int;
type OfCommunicator<H> = unsafe extern "C" fn(H, *mut c_int) -> c_int;
type Iallgatherv<H> = unsafe extern "C" fn(
    *const c_void,
    c_int,
    H,
    *mut c_void,
    *const c_int,
    *const c_int,
    H,
    H,
    *mut H,
) -> c_int;
type Ialltoallv<H> = unsafe extern "C" fn(
    *const c_void,
    *const c_int,
    *const c_int,
    H,
    *mut c_void,
    *const c_int,
    *const c_int,
    H,
    H,
    *mut H,
) -> c_int;
type Test<H> = unsafe extern "C" fn(*mut H, *mut c_int, *mut c_void) -> c_int;
type Abort<H> = unsafe extern "C" fn(H, c_int) -> c_int;
type Finalize = unsafe extern "C" fn() -> c_int;

/// The functions of one library, and the constants of its ABI.
struct Functions<H> {
    path: String,
    world: H,
    byte: H,
    status_ignore: *mut c_void,
    serialized: c_int,
    init_thread: InitThread,
    comm_rank: OfCommunicator<H>,
    comm_size: OfCommunicator<H>,
    iallgatherv: Iallgatherv<H>,
    ialltoallv: Ialltoallv<H>,
    test: Test<H>,
    abort: Abort<H>,
    finalize: Finalize,
    /// Never unloaded: MPI libraries leave threads and exit handlers behind.
    _library: &'static Loaded,
}

// SAFETY: `status_ignore` is a constant that only the library compares with; functions and handles may be
// used from any thread, one at a time, once MPI_THREAD_SERIALIZED is provided, and they are behind `&mut` of
// the transport.
unsafe impl<H: Handle> Send for Functions<H> {}

/// The most characters of `MPI_Get_library_version`: 8,192 in Open MPI and MPICH.
const MOST_VERSION: usize = 1 << 16;

impl Library {
    /// The first library that can be loaded.
    pub(crate) fn load(candidates: &[Candidate], launcher: &str) -> Result<Self> {
        for candidate in candidates {
            let name: &OsStr = match candidate {
                Candidate::Named(path) | Candidate::File(path) => path.as_os_str(),
                Candidate::Name(name) => name.as_ref(),
            };
            let shown = Path::new(name).display().to_string();
            // SAFETY: loading runs the library's initialisers. It is the MPI library that the user or the
            // launcher has chosen, or the system's. Open MPI's plugins need its symbols to be global.
            match unsafe { Loaded::open(Some(name), RTLD_NOW | RTLD_GLOBAL) } {
                Ok(loaded) => return Self::of(Box::leak(Box::new(loaded)), shown),
                Err(error) if matches!(candidate, Candidate::Named(_)) => {
                    let reason = std::error::Error::source(&error).map(ToString::to_string);
                    let reason = match is_text(Path::new(name)) {
                        true => {
                            "it is a text for the linker, not a library: name the file with a number beside it, such as \
                             libmpi.so.12 (MPICH) or libmpi.so.40 (Open MPI)"
                        }
                        false => &reason.unwrap_or(error.to_string()),
                    };
                    return Err(Error::NotLoaded { path: shown, reason: reason.to_owned() });
                }
                Err(_) => {}
            }
        }
        let mut tried: Vec<String> = Vec::new();
        for candidate in candidates {
            tried.push(match candidate {
                Candidate::Named(path) | Candidate::File(path) => path.display().to_string(),
                Candidate::Name(name) => (*name).to_owned(),
            });
        }
        Err(Error::NoLibrary { launcher: launcher.to_owned(), tried: tried.join(", ") })
    }

    fn of(loaded: &'static Loaded, path: String) -> Result<Self> {
        let version = version(loaded, &path)?;
        let address = |name: &[u8]| -> Option<*mut c_void> {
            // SAFETY: the symbol is only taken as an address, whatever it is.
            unsafe { loaded.get::<*mut c_void>(name) }.ok().map(|symbol| symbol.into_raw())
        };
        let calls: Box<dyn Calls> = if is_standard(&path) {
            // The standard ABI: handles are small fixed pointers, and levels of threads are bits.
            let handle = |value: usize| Opaque(ptr::without_provenance_mut(value));
            Box::new(Functions::load(loaded, &path, (handle(0x101), handle(0x247)), ptr::null_mut(), 2048)?)
        } else if let (Some(world), Some(byte)) =
            (address(b"ompi_mpi_comm_world\0"), address(b"ompi_mpi_byte\0"))
        {
            Box::new(Functions::load(loaded, &path, (Opaque(world), Opaque(byte)), ptr::null_mut(), 2)?)
        } else {
            let (world, byte): (c_int, c_int) = (0x4400_0000, 0x4c00_010d);
            Box::new(Functions::load(loaded, &path, (world, byte), ptr::without_provenance_mut(1), 2)?)
        };
        Ok(Self { path, version, calls })
    }

    /// The family, by what the library says of itself.
    pub(crate) fn family(&self) -> Family {
        if self.version.contains("Open MPI") { Family::OpenMpi } else { Family::Mpich }
    }
}

/// Whether a file is a text, as `libmpi.so` is in some packages: it names the library, for the linker.
fn is_text(path: &Path) -> bool {
    const LONGEST: u64 = 4096;
    let is_short = std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() <= LONGEST);
    is_short && std::fs::read(path).is_ok_and(|bytes| bytes.is_ascii() && !bytes.contains(&0))
}

/// Whether a library has the standard ABI. MPICH's own library, too, has the functions that ask for it, but
/// not the standard's handles, and Open MPI's standard library has the symbols of its own one below it: the
/// name of the file tells them apart.
fn is_standard(path: &str) -> bool {
    let name = Path::new(path).canonicalize().unwrap_or_else(|_| path.into());
    name.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libmpi_abi"))
}

/// A function of a library.
///
/// # Safety
/// `F` must be the type of the function of that name in the library's ABI.
unsafe fn function<F: Copy>(library: &'static Loaded, path: &str, name: &'static str) -> Result<F> {
    let with_end = format!("{name}\0");
    // SAFETY: as the caller promises.
    let symbol = unsafe { library.get::<F>(with_end.as_bytes()) };
    symbol.map(|symbol| *symbol).map_err(|_| Error::NotMpi { path: path.to_owned(), function: name })
}

/// What a library says of itself, in one line; the function may be called before `MPI_Init`.
fn version(library: &'static Loaded, path: &str) -> Result<String> {
    // SAFETY: the type of MPI_Get_library_version, which has no handles, in every ABI.
    let get: GetLibraryVersion = unsafe { function(library, path, "MPI_Get_library_version")? };
    let mut text: Vec<u8> = vec![0; MOST_VERSION];
    let mut length: c_int = 0;
    // SAFETY: the buffer is longer than MPI_MAX_LIBRARY_VERSION_STRING of every ABI, and lives until the call
    // returns.
    let code = unsafe { get(text.as_mut_ptr().cast(), &mut length) };
    checked("MPI_Get_library_version", path, code)?;
    text.truncate(usize::try_from(length).unwrap_or(0).min(MOST_VERSION));
    let text = String::from_utf8_lossy(&text);
    let line = text.trim_end_matches('\0').lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    // MPICH writes `MPICH Version:      5.0.2`.
    let line = line.split(", package").next().unwrap_or_default().replace(" Version:", "");
    Ok(line.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn checked(function: &'static str, path: &str, code: c_int) -> Result<()> {
    if code == 0 { Ok(()) } else { Err(Error::Call { function, path: path.to_owned(), code }) }
}

/// Where each part begins.
///
/// # Panics
/// Where the counts are not those of this many bytes.
fn displacements(counts: &[c_int], bytes: usize) -> Vec<c_int> {
    let mut next: c_int = 0;
    let starts = counts.iter().map(|count| {
        let start = next;
        assert!(*count >= 0, "counts are lengths");
        next = next.checked_add(*count).expect("chunks are below 2 GiB");
        start
    });
    let starts = starts.collect();
    assert_eq!(usize::try_from(next).ok(), Some(bytes), "counts are those of the buffer");
    starts
}

/// The address of a buffer. That of an empty one may be 1, which is `MPI_IN_PLACE`: "take the other buffer".
fn start_of(bytes: &[u8]) -> *const c_void {
    static NOTHING: u8 = 0;
    if bytes.is_empty() { (&raw const NOTHING).cast() } else { bytes.as_ptr().cast() }
}

/// The same of a buffer that is written.
fn start_of_mut(bytes: &mut [u8]) -> *mut c_void {
    if bytes.is_empty() { start_of(bytes).cast_mut() } else { bytes.as_mut_ptr().cast() }
}

fn count(bytes: usize) -> c_int {
    c_int::try_from(bytes).expect("chunks are below 2 GiB")
}

impl<H: Handle> Functions<H> {
    fn load(
        library: &'static Loaded,
        path: &str,
        (world, byte): (H, H),
        status_ignore: *mut c_void,
        serialized: c_int,
    ) -> Result<Self> {
        // SAFETY: these are the types of the MPI standard, with this ABI's handles; they are the same in every
        // version since MPI 3.
        unsafe {
            Ok(Self {
                path: path.to_owned(),
                world,
                byte,
                status_ignore,
                serialized,
                init_thread: function(library, path, "MPI_Init_thread")?,
                comm_rank: function(library, path, "MPI_Comm_rank")?,
                comm_size: function(library, path, "MPI_Comm_size")?,
                iallgatherv: function(library, path, "MPI_Iallgatherv")?,
                ialltoallv: function(library, path, "MPI_Ialltoallv")?,
                test: function(library, path, "MPI_Test")?,
                abort: function(library, path, "MPI_Abort")?,
                finalize: function(library, path, "MPI_Finalize")?,
                _library: library,
            })
        }
    }

    fn checked(&self, function: &'static str, code: c_int) -> Result<()> {
        checked(function, &self.path, code)
    }
}

impl<H: Handle> Functions<H> {
    /// Returns once an operation is done; its buffers are the library's until then.
    fn wait(&self, mut request: H, pause: Pause) {
        loop {
            let mut done = 0;
            // SAFETY: a request of this library, and this ABI's MPI_STATUS_IGNORE.
            let code = unsafe { (self.test)(&mut request, &mut done, self.status_ignore) };
            if code != 0 {
                // By default MPI has ended the process already. Nobody else may use the buffers.
                self.abort(1);
                std::process::abort();
            }
            if done != 0 {
                return;
            }
            pause();
        }
    }
}

impl<H: Handle> Calls for Functions<H> {
    fn init(&self) -> Result<bool> {
        let mut provided = 0;
        // SAFETY: null arguments are allowed since MPI 2; `provided` lives until the call returns.
        let code =
            unsafe { (self.init_thread)(ptr::null_mut(), ptr::null_mut(), self.serialized, &mut provided) };
        self.checked("MPI_Init_thread", code)?;
        Ok(provided >= self.serialized)
    }

    fn rank_and_size(&self) -> Result<(usize, usize)> {
        let (mut rank, mut size) = (0, 0);
        // SAFETY: after `init`; both integers live until the calls return.
        let codes =
            unsafe { [(self.comm_rank)(self.world, &mut rank), (self.comm_size)(self.world, &mut size)] };
        self.checked("MPI_Comm_rank", codes[0])?;
        self.checked("MPI_Comm_size", codes[1])?;
        Ok((usize::try_from(rank).unwrap_or(0), usize::try_from(size).unwrap_or(0)))
    }

    fn all_gather_v(
        &self,
        sent: &[u8],
        (received, counts): (&mut [u8], &[c_int]),
        pause: Pause,
    ) -> Result<()> {
        let starts = displacements(counts, received.len());
        let mut request = H::EMPTY;
        // SAFETY: as `displacements` has checked, the parts lie in `received`; all buffers, and the request,
        // live until `wait` has returned, which it does only once the operation is done.
        let code = unsafe {
            (self.iallgatherv)(
                start_of(sent),
                count(sent.len()),
                self.byte,
                start_of_mut(received),
                counts.as_ptr(),
                starts.as_ptr(),
                self.byte,
                self.world,
                &mut request,
            )
        };
        self.checked("MPI_Iallgatherv", code)?;
        self.wait(request, pause);
        Ok(())
    }

    fn all_to_all_v(
        &self,
        (sent, sent_counts): (&[u8], &[c_int]),
        (received, received_counts): (&mut [u8], &[c_int]),
        pause: Pause,
    ) -> Result<()> {
        let sent_starts = displacements(sent_counts, sent.len());
        let received_starts = displacements(received_counts, received.len());
        let mut request = H::EMPTY;
        // SAFETY: as `displacements` has checked, the parts lie in the buffers, which, as the request, live
        // until `wait` has returned.
        let code = unsafe {
            (self.ialltoallv)(
                start_of(sent),
                sent_counts.as_ptr(),
                sent_starts.as_ptr(),
                self.byte,
                start_of_mut(received),
                received_counts.as_ptr(),
                received_starts.as_ptr(),
                self.byte,
                self.world,
                &mut request,
            )
        };
        self.checked("MPI_Ialltoallv", code)?;
        self.wait(request, pause);
        Ok(())
    }

    fn abort(&self, code: i32) {
        // SAFETY: between `init` and `finalize`; it usually does not return.
        unsafe { (self.abort)(self.world, code) };
    }

    fn finalize(&self) -> Result<()> {
        // SAFETY: called once, after `init`, when no operation is pending.
        let code = unsafe { (self.finalize)() };
        self.checked("MPI_Finalize", code)
    }
}
