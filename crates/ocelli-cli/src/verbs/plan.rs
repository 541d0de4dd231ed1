//! `ocelli plan`

use std::path::PathBuf;

use clap::{Args, Command};
use ocelli::plan::{Limit, Link, Plan as Planned, PlanRow, Route, USUAL_MICRO_BATCH, Work};
use ocelli::{Arch, RunEnv, WeightStore};
use serde_json::json;

use crate::errors::Failure;
use crate::flags::{CacheFlags, ComputeFlags};
use crate::output::{self, eprintln, println, shown};
use crate::terminal;
use crate::text::{bytes, count, counted, duration, table, wrapped};
use crate::values::{bit_rate, latency, whole};
use crate::verbs::pull::fetched;
use crate::verbs::train::SettingFlags;

/// Predict how long training takes on several machines
///
/// Reads the photos as ocelli train does, measures here what the parts of the run take, and computes from that and
/// from the bytes that each step exchanges what 1, 2, 4 … machines like this one take, one process each. Nothing
/// is trained, and no other machine is needed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli plan photos --network 10G
  ocelli plan photos --recipe lesson --ranks 16 --network 1G --latency 0.2ms
--help shows all options.")]
pub struct Plan {
    /// Folder of photos with one folder per class, or a table of labels
    #[arg(required_unless_present = "config")]
    data: Option<PathBuf>,
    /// The most processes
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = whole::<1, 4096>)]
    ranks: usize,
    /// Rate of each machine's network in bits per second, such as 1G or 100M
    #[arg(long, value_name = "RATE", default_value = "10G", value_parser = bit_rate)]
    network: f64,
    /// Time from sending a message until it is received, such as 0.2ms: half of what ping prints
    #[arg(long, value_name = "TIME", default_value = "0.1ms", value_parser = latency)]
    latency: f64,
    /// Processes joined over TCP, by --join, instead of MPI: all bytes pass process 0
    #[arg(long)]
    tcp: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    settings: SettingFlags,
    #[command(flatten)]
    compute: ComputeFlags,
    #[command(flatten)]
    cache: CacheFlags,
}

/// The complete command: what takes no other time by its value is left out of the short help.
pub fn complete(plan: Command) -> Command {
    let flags = ["labels", "time", "lr", "group_lr_ratio", "metric"];
    flags.into_iter().fold(plan, |plan, flag| plan.mut_arg(flag, |flag| flag.hide_short_help(true)))
}

impl Plan {
    pub fn run(&self) -> Result<(), Failure> {
        self.settings.backbone.no_auto("plan")?;
        let threads = self.compute.threads.start()?;
        let cache = self.cache.folder()?;
        let settings = self.settings.settings(self.data.as_deref(), self.compute.precision)?;
        if settings.recipe.time_limit.is_some() {
            let message = "--time fits a run to a time, and this says how long a run takes: leave it out, and give the \
                           epochs instead (--unfrozen-epochs)";
            return Err(Failure::Error(message.to_owned()));
        }
        let env = RunEnv {
            cache: Some(cache.clone()),
            device: self.compute.device,
            threads,
            hash_progress: if self.json { Default::default() } else { terminal::hash_progress() },
            ..RunEnv::default()
        };
        let begins = || {
            if !self.json {
                eprintln!("measuring what the parts of this run take here");
            }
        };
        let planned = match Planned::measure(&settings, &env, begins) {
            Err(ocelli::Error::NoWeights { .. }) => {
                let arch: Arch = settings.arch.parse()?;
                fetched(&WeightStore::with_cache(&cache), arch, self.json)?;
                Planned::measure(&settings, &env, begins)?
            }
            planned => planned?,
        };
        let route = if self.tcp { Route::Tcp } else { Route::Mpi };
        let link = Link { route, bits_per_second: self.network, latency: self.latency };
        match self.json {
            true => output::json(&self.object(&planned, &link)),
            false => self.print(&planned, &link),
        }
        Ok(())
    }

    fn object(&self, planned: &Planned, link: &Link) -> serde_json::Value {
        let (pays, limit) = planned.pays(self.ranks, link);
        json!({
            "network": link,
            "measured": planned,
            "processes": planned.rows(self.ranks, link),
            "pays_up_to": pays,
            "limit": limit,
        })
    }

    fn print(&self, planned: &Planned, link: &Link) {
        let [train, valid] = planned.images;
        let Planned { arch, size, threads, batch, micro_batch, .. } = planned;
        println!("photos      {} to train on, {} to validate", count(train), count(valid));
        println!("backbone    {arch} at {size} px, in batches of {batch}");
        println!(
            "measured    {} here: a photo takes {} to load, {} through the backbone",
            counted(*threads, "thread"),
            milliseconds(planned.load),
            milliseconds(planned.forward)
        );
        for work in &planned.work {
            Self::print_step(work);
        }
        let name = if link.route == Route::Tcp { "TCP, by way of process 0" } else { "MPI" };
        println!(
            "network     {}, {} from machine to machine, {name}\n",
            rate(link.bits_per_second),
            milliseconds(link.latency)
        );
        let rows: Vec<Vec<String>> = planned.rows(self.ranks, link).iter().map(row).collect();
        println!("{}", table(&["processes", "time", "speed-up", "efficiency", "between processes"], &rows));
        for line in wrapped(&verdict(planned, self.ranks, link), 100) {
            println!("{}", shown(line));
        }
        let given = self.settings.has_micro_batch();
        let pieces = match planned.work.iter().any(|work| matches!(work, Work::Steps(_))) && !given {
            true => format!(
                " Layers of the backbone are trained in pieces of {micro_batch} images, as several processes need: \
                 --micro-batch {USUAL_MICRO_BATCH}."
            ),
            false => String::new(),
        };
        let assumed = format!(
            "Assumed: machines like this one, with a process each, in a network that nothing else uses; all layers are \
             trained wherever the recipe leaves that open.{pieces} Left out: reading the photos' digests at the start, \
             checkpoints, the report."
        );
        println!();
        wrapped(&assumed, 100).iter().for_each(|line| println!("{line}"));
    }

    /// What a training step of the backbone's layers takes, and moves.
    fn print_step(work: &Work) {
        let Work::Steps(steps) = work else { return };
        let pieces = steps.batch.div_ceil(steps.micro_batch);
        println!(
            "            {}: {} for each of {} of a step, {} for head and optimizer; {} of gradients, {} to pack",
            steps.name,
            milliseconds(steps.rates.piece),
            counted(pieces, "piece"),
            milliseconds(steps.rates.head + steps.rates.optimizer),
            bytes(steps.gradients as u64),
            milliseconds(steps.rates.pack + steps.rates.unpack),
        );
    }
}

fn row(row: &PlanRow) -> Vec<String> {
    let PlanRow { processes, seconds, speedup, efficiency, .. } = row;
    vec![
        count(*processes),
        duration(seconds.total()),
        format!("{speedup:.2}"),
        format!("{:.0} %", 100.0 * efficiency),
        format!("{:.0} %", 100.0 * seconds.exchange / seconds.total()),
    ]
}

/// Where more processes stop paying, and why.
fn verdict(planned: &Planned, most: usize, link: &Link) -> String {
    let (pays, limit) = planned.pays(most, link);
    let Some(limit) = limit else {
        return format!("It pays up to {}, and may beyond.", counted(pays, "process"));
    };
    let reason = match limit {
        Limit::Exchange => "what they exchange takes longer than what is shared",
        Limit::Same => "what every process does itself takes longest, such as training the head",
        Limit::Pieces => "there are too few pieces of a batch, or batches, to share out",
    };
    let kept = match pays {
        1 => "It does not pay: 2 processes".to_owned(),
        _ => format!("It pays up to {}: twice as many", counted(pays, "process")),
    };
    let (now, twice) = (planned.seconds(pays, link).total(), planned.seconds(2 * pays, link).total());
    match 100.0 * (1.0 - twice / now) {
        saved if saved < 0.0 => format!("{kept} take {:.0} % longer, since {reason}.", -saved),
        saved => format!("{kept} save {saved:.0} % of the time, less than 20 %, since {reason}."),
    }
}

/// `3.1 ms`, `0.05 ms`, `1,200 ms`
fn milliseconds(seconds: f64) -> String {
    let milliseconds = 1e3 * seconds;
    match milliseconds {
        ..0.995 => format!("{milliseconds:.2} ms"),
        ..99.5 => format!("{milliseconds:.1} ms"),
        _ => format!("{} ms", count(milliseconds.round() as usize)),
    }
}

/// `10 Gbit/s`
fn rate(bits: f64) -> String {
    match bits {
        ..1e6 => format!("{} kbit/s", bits / 1e3),
        ..1e9 => format!("{} Mbit/s", bits / 1e6),
        _ => format!("{} Gbit/s", bits / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_times_are_read_and_printed() {
        for (text, expected) in
            [("10G", "10 Gbit/s"), ("2.5g", "2.5 Gbit/s"), ("100M", "100 Mbit/s"), ("56K", "56 kbit/s")]
        {
            assert_eq!(rate(bit_rate(text).unwrap()), expected, "{text}");
        }
        for (text, expected) in
            [("0.2ms", "0.20 ms"), ("50us", "0.05 ms"), ("1s", "1,000 ms"), ("2 ms", "2.0 ms")]
        {
            assert_eq!(milliseconds(latency(text).unwrap()), expected, "{text}");
        }
        for text in ["", "G", "-1G", "0", "10X", "nan", "inf", "1e300"] {
            assert!(bit_rate(text).is_err(), "{text}");
        }
        for text in ["", "1", "ms", "-1ms", "nan ms", "11s", "1h"] {
            assert!(latency(text).is_err(), "{text}");
        }
    }
}
