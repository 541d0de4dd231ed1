//! One process's end of a job.

use crate::error::Result;

/// One process's end of a job of several processes. All of them call the same operations in the same order;
/// each blocks until the others have called it too. After an error the job is over.
pub trait Transport: Send {
    /// The number of this process, from 0.
    fn rank(&self) -> usize;

    /// The number of processes.
    fn size(&self) -> usize;

    /// What carries the bytes, for people: `TCP`, or the version of an MPI library.
    fn name(&self) -> String;

    /// The bytes of every process, in the order of ranks. Lengths may differ.
    ///
    /// # Errors
    /// Where a process is lost or has ended the job.
    fn all_gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>>;

    /// Sends one part to each process, `parts[rank]`, and returns what each has sent here. Lengths may differ.
    ///
    /// # Errors
    /// As [`all_gather`](Self::all_gather).
    ///
    /// # Panics
    /// Where there is not one part per process.
    fn all_to_all(&mut self, parts: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>>;

    /// The bytes of the process `root`; those of the others are ignored.
    ///
    /// # Errors
    /// As [`all_gather`](Self::all_gather).
    ///
    /// # Panics
    /// Where there is no such process.
    fn broadcast(&mut self, root: usize, bytes: &[u8]) -> Result<Vec<u8>> {
        assert!(root < self.size(), "a process of the job");
        let own = if self.rank() == root { bytes } else { &[] };
        Ok(self.all_gather(own)?.swap_remove(root))
    }

    /// Waits until all processes are here.
    ///
    /// # Errors
    /// As [`all_gather`](Self::all_gather).
    fn barrier(&mut self) -> Result<()> {
        self.all_gather(&[]).map(|_| ())
    }

    /// Whether the job has failed meanwhile, as far as it can be noticed without waiting.
    ///
    /// # Errors
    /// Where a process is lost or has ended the job.
    fn check(&mut self) -> Result<()>;

    /// Ends the job: the operations of all other processes fail with this message. Some transports end all
    /// processes at once, this one too.
    fn abort(&mut self, message: &str);

    /// Leaves the job, once all processes do. An operation afterwards is an error of the caller.
    ///
    /// # Errors
    /// As [`all_gather`](Self::all_gather).
    fn finish(&mut self) -> Result<()>;
}
