//! Every operation under an MPI launcher, checked: `mpirun -n 3 target/release/examples/collectives`.
//! `kill` and `fail` let the last process die, or end the job with a message.

use ocelli_distributed::{Transport, tree};
use ocelli_mpi::Mpi;

/// Bytes that one process has for another, of very different lengths.
fn bytes(from: usize, to: usize) -> Vec<u8> {
    let length = [0, 1, 999, 70_000, 200_000][(3 * from + 2 * to) % 5];
    (0..length).map(|at| (at * 31 + from * 7 + to) as u8).collect()
}

/// The gradient of one piece: floats whose sum depends on the order.
fn piece(number: usize) -> Vec<f32> {
    (0..20_000).map(|at| ((at * 2_654_435_761 + number * 40_503) % 1_000_003) as f32 * 1e-3 - 500.0).collect()
}

fn add(mut first: Vec<f32>, second: Vec<f32>) -> Vec<f32> {
    first.iter_mut().zip(second).for_each(|(sum, term)| *sum += term);
    first
}

/// The sum of 24 pieces by the fixed tree, and how many vectors this process has sent.
fn sum(transport: &mut dyn Transport) -> ocelli_distributed::Result<(Vec<f32>, usize)> {
    const PIECES: usize = 24;
    let (rank, size) = (transport.rank(), transport.size());
    let nodes_of = |rank| tree::nodes_within(&tree::leaves_of(rank, size, PIECES), PIECES);
    let mut sent = Vec::new();
    for node in nodes_of(rank) {
        let mut leaf = |node: &std::ops::Range<usize>| (node.len() == 1).then(|| piece(node.start));
        let value = tree::sum(node, &mut leaf, &mut add).expect("all leaves are known");
        sent.extend(value.iter().flat_map(|value| value.to_le_bytes()));
    }
    let number = nodes_of(rank).len();
    let received = transport.all_gather(&sent)?.concat();
    let values: Vec<f32> = received.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
    let nodes: Vec<_> = (0..size).flat_map(nodes_of).collect();
    let length = values.len() / nodes.len();
    let mut known = |node: &std::ops::Range<usize>| {
        let at = nodes.iter().position(|known| known == node)?;
        Some(values[at * length..][..length].to_vec())
    };
    Ok((tree::sum(0..PIECES, &mut known, &mut add).expect("all nodes are known"), number))
}

fn run(mut transport: Mpi, task: Option<&str>) -> Result<(), Box<dyn std::error::Error>> {
    let (rank, size) = (transport.rank(), transport.size());
    for most in [usize::MAX, 77_777] {
        transport = transport.with_chunks(most);
        let gathered = transport.all_gather(&bytes(rank, 0))?;
        assert!(gathered == (0..size).map(|from| bytes(from, 0)).collect::<Vec<_>>());
        let received = transport.all_to_all((0..size).map(|to| bytes(rank, to)).collect())?;
        assert!(received == (0..size).map(|from| bytes(from, rank)).collect::<Vec<_>>());
        for root in 0..size {
            assert!(transport.broadcast(root, &bytes(rank, 9))? == bytes(root, 9));
        }
        transport.barrier()?;
    }
    if rank == size - 1 {
        match task {
            Some("kill") => std::process::abort(),
            Some("fail") => transport.abort("photos/7.jpg is not readable"),
            _ => {}
        }
    }
    let (sum, sent) = sum(&mut transport)?;
    let bytes: Vec<u8> = sum.iter().flat_map(|value| value.to_le_bytes()).collect();
    let most = transport.all_gather(&[sent as u8])?.concat().into_iter().max().unwrap_or(0);
    if rank == 0 {
        let hash = &blake3::hash(&bytes).to_hex()[..16];
        println!("{size} processes, {}, sum {hash}, at most {most} vectors sent", transport.name());
    }
    transport.finish()?;
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let task = std::env::args().nth(1);
    match Mpi::join() {
        Ok(transport) => run(transport, task.as_deref()),
        Err(error) => {
            eprintln!("error: {error}");
            std::process::exit(1);
        }
    }
}
