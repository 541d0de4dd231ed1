//! Whether, and by what, a process was started as one of several.

use std::fmt;

/// A family of MPI libraries, which start and call each other in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Open MPI, and launchers of its own runtime (PRRTE).
    OpenMpi,
    /// MPICH and what descends from it: Intel MPI, Cray MPICH, MVAPICH.
    Mpich,
}

impl fmt::Display for Family {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(match self {
            Self::OpenMpi => "Open MPI",
            Self::Mpich => "MPICH",
        })
    }
}

/// What has started this process as one of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    /// Its name, for messages: "Open MPI's mpirun".
    pub name: &'static str,
    /// The library that it belongs to, where that is known: Slurm starts all.
    pub family: Option<Family>,
    /// The rank, where the environment says it.
    pub rank: Option<usize>,
    /// The number of processes, where the environment says it.
    pub size: Option<usize>,
    /// The number of processes on this machine, where the environment says it.
    pub local_size: Option<usize>,
}

impl Launcher {
    /// What has started this process as one of several; `None` where nothing has.
    pub fn detect() -> Option<Self> {
        Self::of(|name| std::env::var(name).ok())
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let number = |name: &str| variable(name)?.trim().parse::<usize>().ok();
        let new = |name, family, [rank, size, local_size]: [&str; 3]| Self {
            name,
            family,
            rank: number(rank),
            size: number(size),
            local_size: number(local_size),
        };
        // Open MPI's mpirun, also inside a job of Slurm.
        if variable("OMPI_COMM_WORLD_SIZE").is_some() {
            let names = ["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"];
            return Some(new("Open MPI's mpirun", Some(Family::OpenMpi), names));
        }
        // MPICH's mpiexec (Hydra), also inside a job of Slurm, where it uses srun itself.
        let is_step = number("SLURM_STEP_NUM_TASKS").is_some() && variable("SLURM_PROCID").is_some();
        if variable("PMI_SIZE").is_some() && (variable("MPI_LOCALNRANKS").is_some() || !is_step) {
            let names = ["PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS"];
            return Some(new("MPICH's mpiexec", Some(Family::Mpich), names));
        }
        // A batch script, and a shell inside an allocation, are no step of several tasks.
        if is_step && number("SLURM_STEP_NUM_TASKS") > Some(1) {
            let names = ["SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_TASKS_PER_NODE"];
            return Some(new("Slurm's srun", None, names));
        }
        variable("PMIX_RANK")
            .map(|_| new("a PMIx launcher", None, ["PMIX_RANK", "PMIX_SIZE", "PMIX_LOCAL_SIZE"]))
    }

    /// Whether it has started several processes, as far as the environment says.
    pub fn is_several(&self) -> bool {
        self.size.is_none_or(|size| size > 1)
    }
}

impl fmt::Display for Launcher {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Option<Launcher> {
        let found =
            |name: &str| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned());
        Launcher::of(found)
    }

    #[test]
    fn launchers_are_known_by_what_they_set() {
        assert_eq!(of(&[("PATH", "/bin")]), None);
        let open_mpi = [
            ("OMPI_COMM_WORLD_RANK", "1"),
            ("OMPI_COMM_WORLD_SIZE", "4"),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", "2"),
        ];
        let found = of(&open_mpi).unwrap();
        assert_eq!(
            (found.family, found.rank, found.size, found.local_size),
            (Some(Family::OpenMpi), Some(1), Some(4), Some(2))
        );
        let mpich = [("PMI_RANK", "0"), ("PMI_SIZE", "3"), ("MPI_LOCALNRANKS", "3")];
        let found = of(&mpich).unwrap();
        assert_eq!((found.family, found.size, found.local_size), (Some(Family::Mpich), Some(3), Some(3)));
        let found = of(&[("PMIX_RANK", "0")]).unwrap();
        assert_eq!((found.family, found.size, found.is_several()), (None, None, true));
    }

    #[test]
    fn a_batch_script_is_not_a_step() {
        let allocation = [("SLURM_JOB_ID", "7"), ("SLURM_NTASKS", "4"), ("SLURM_JOB_NAME", "train")];
        assert_eq!(of(&allocation), None, "a shell of salloc");
        let batch = [&allocation[..], &[("SLURM_PROCID", "0")]].concat();
        assert_eq!(of(&batch), None, "a script of sbatch");
        let step = [("SLURM_PROCID", "3"), ("SLURM_STEP_NUM_TASKS", "4"), ("PMI_SIZE", "4")];
        let found = of(&[&allocation[..], &step].concat()).unwrap();
        assert_eq!(
            (found.name, found.family, found.rank, found.size),
            ("Slurm's srun", None, Some(3), Some(4))
        );
        let hydra =
            [("PMI_SIZE", "4"), ("PMI_RANK", "2"), ("MPI_LOCALNRANKS", "2"), ("SLURM_STEP_NUM_TASKS", "2")];
        let mpiexec = [&batch[..], &hydra].concat();
        assert_eq!(
            of(&mpiexec).unwrap().family,
            Some(Family::Mpich),
            "MPICH's mpiexec in a script of sbatch"
        );
        let mpirun = [&batch[..], &[("OMPI_COMM_WORLD_SIZE", "4")]].concat();
        assert_eq!(
            of(&mpirun).unwrap().family,
            Some(Family::OpenMpi),
            "Open MPI's mpirun in a script of sbatch"
        );
    }
}
