//! The arithmetic of `plan`, by examples that were worked out by hand.

use ocelli::plan::{Limit, Link, Pass, Plan, Route, StepRates, Steps, Work};

/// A network of 8 Mbit/s, which is 1 µs a byte, with 1 ms from machine to machine.
const SLOW: Link = Link { route: Route::Mpi, bits_per_second: 8e6, latency: 1e-3 };
const BY_TCP: Link = Link { route: Route::Tcp, ..SLOW };

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{found} instead of {expected}");
}

#[test]
fn operations_take_their_messages_and_their_bytes() {
    for link in [SLOW, BY_TCP] {
        near(link.all_gather(1, 1e9, 0.0), 0.0);
        near(link.all_to_all(1, 1e9, 0.0), 0.0);
    }
    // Lengths in 1 message, a part of 1,000 bytes in another.
    near(SLOW.all_gather(2, 1000.0, 0.0), 0.003);
    // Lengths in 2 messages, the parts in 2; 3 others' parts arrive.
    near(SLOW.all_gather(4, 1000.0, 0.0), 0.004 + 0.003);
    // Round the ring: 2 messages for lengths, then 3 of a million bytes.
    near(SLOW.all_gather(4, 1e6, 0.0), 0.005 + 3.0);
    // Each sends a quarter of its 4,000 bytes to each of the 3 others.
    near(SLOW.all_to_all(4, 4000.0, 0.0), 0.002 + 0.003 + 0.003);
    // A byte that is handled for 1 µs, too, takes twice as long.
    near(SLOW.all_gather(2, 1000.0, 1e-6), 0.004);
    // Both ends send at once.
    near(BY_TCP.all_gather(2, 1000.0, 0.0), 0.002);
    near(BY_TCP.all_to_all(2, 1000.0, 0.0), 0.0015);
    // Process 0 receives 3 parts, and sends 3 to each of 3.
    near(BY_TCP.all_gather(4, 1000.0, 0.0), 0.002 + 0.012);
    // Process 0 receives 3 of the 4 parts of each of 3, and sends as many.
    near(BY_TCP.all_to_all(4, 4000.0, 0.0), 0.002 + 0.018);
}

#[test]
fn a_pass_is_shared_in_whole_batches() {
    let pass = Work::Pass(Pass {
        name: "features".to_owned(),
        times: 2.0,
        images: 1000,
        batch: 64,
        image: 0.01,
        row: 100.0,
        handling: 0.0,
    });
    // 16 batches, of which the last has 40 images.
    let alone = pass.seconds(1, &SLOW);
    near(alone.shared, 20.0);
    near(alone.total(), 20.0);
    // 4 batches of 64 images each, in one exchange of 25,600 bytes: 2 + 2 messages, 76,800 bytes arrive.
    let four = pass.seconds(4, &SLOW);
    near(four.shared, 2.0 * 2.56);
    near(four.exchange, 2.0 * (0.004 + 0.0768));
    // 8 batches: two exchanges of 4.
    near(pass.seconds(2, &SLOW).exchange, 2.0 * 2.0 * (0.002 + 0.0256));
    // No process has less than a batch.
    near(pass.seconds(16, &SLOW).shared, 2.0 * 0.64);
    near(pass.seconds(1000, &SLOW).shared, 2.0 * 0.64);
}

fn steps(load: f64, loads_all: bool) -> Work {
    let rates = StepRates {
        load,
        frozen: 0.0,
        piece: 0.1,
        early: 0.04,
        head: 0.02,
        optimizer: 0.03,
        pack: 0.004,
        unpack: 0.006,
        add: 0.002,
        handling: 0.0,
    };
    Work::Steps(Steps {
        name: "all layers".to_owned(),
        steps: 10.0,
        batch: 64,
        micro_batch: 8,
        loads_all,
        row: 10.0,
        gradients: 1e6,
        late: 0.6,
        rates,
    })
}

#[test]
fn a_step_is_shared_in_pieces() {
    let alone = steps(0.001, false).seconds(1, &SLOW);
    // 64 images are loaded, in 8 pieces, with 7 additions; then head and optimizer.
    near(alone.shared, 10.0 * (0.064 + 0.8 + 0.014 + 0.03));
    near(alone.same, 10.0 * 0.02);
    near(alone.exchange, 0.0);
    // 16 images in 2 pieces, which are one node of the tree, by one addition.
    let four = steps(0.001, false).seconds(4, &SLOW);
    near(four.shared, 10.0 * (0.016 + 0.2 + 0.002 + 0.0075));
    near(four.same, alone.same);
    // Three quarters of a node are packed, and a quarter of the weights; a quarter of three nodes is read and added up with its
    // own, and three quarters of the weights are read.
    let turned = 1.0 * 0.004 + 1.5 * 0.006 + 0.75 * 0.002;
    // Whether all images are there, and the norm; features of 16; a node's million bytes to all, of which six tenths travel while
    // the early layers' gradients of two pieces are computed; a quarter of the weights from each.
    let travelling = 2.0 * (0.004 + 3e-6) + (0.004 + 3.0 * 160e-6) + (0.005 + 0.4 * 0.75) + (0.005 + 0.75);
    let late = 0.005 + 0.6 * 0.75 - 2.0 * 0.04;
    near(four.exchange, 10.0 * (turned + travelling - 0.016 + late));
    // Images that are mixed are loaded by every process.
    let mixed = steps(0.001, true).seconds(4, &SLOW);
    near(mixed.shared, 10.0 * (0.2 + 0.002 + 0.0075));
    near(mixed.same, 10.0 * (0.064 + 0.02));
    near(mixed.exchange, 10.0 * (turned + travelling - 0.064 + late));
    // 3 processes have 3, 3 and 2 pieces: nodes {0, 1} and {2}; {3} and {4, 5}; {6, 7}.
    let three = steps(0.0, false).seconds(3, &SLOW);
    near(three.shared, 10.0 * (0.3 + 0.002 + 0.01));
    let turned = 5.0 / 3.0 * 0.004 + (3.0 / 3.0 + 2.0 / 3.0) * 0.006 + 4.0 / 3.0 * 0.002;
    let travelling =
        2.0 * (0.004 + 2e-6) + (0.004 + 2.0 * 240e-6) + (0.004 + 0.4 * 2.0 * 2.0 / 3.0) + (0.004 + 2.0 / 3.0);
    let late = 0.004 + 0.6 * 2.0 * 2.0 / 3.0 - 3.0 * 0.04;
    near(three.exchange, 10.0 * (turned + travelling + late));
    // Photos are loaded while bytes travel; where that takes longer, nobody waits for the network.
    let loading = steps(1.0, false).seconds(2, &SLOW);
    // Nor where the early layers take longer than the late gradients' way: 4 pieces of 0.04 s, and 0.6 MB.
    let late = 0.002 + 0.6 * 0.5 - 4.0 * 0.04;
    near(loading.exchange - 10.0 * late, 10.0 * (1.0 * 0.004 + 1.0 * 0.006 + 0.5 * 0.002));
    // More processes than pieces: some have none.
    near(steps(0.0, false).seconds(16, &SLOW).shared, 10.0 * (0.1 + 0.03 / 16.0));
}

fn plan(work: Vec<Work>) -> Plan {
    Plan {
        images: [1000, 0],
        arch: "resnet18".to_owned(),
        size: 64,
        batch: 64,
        micro_batch: 8,
        threads: 1,
        load: 0.001,
        forward: 0.01,
        handling: 0.0,
        work,
    }
}

#[test]
fn more_processes_pay_as_long_as_they_save_a_fifth() {
    let fast = Link { bits_per_second: 1e12, latency: 0.0, ..SLOW };
    // Nothing but shared work: half of it, and half again, down to a batch for each.
    let pass = |image| {
        Work::Pass(Pass {
            name: "features".to_owned(),
            times: 1.0,
            images: 64 * 16,
            batch: 64,
            image,
            row: 100.0,
            handling: 0.0,
        })
    };
    assert_eq!(plan(vec![pass(0.01)]).pays(1024, &fast), (16, Some(Limit::Pieces)));
    assert_eq!(plan(vec![pass(0.01)]).pays(8, &fast), (8, None));
    // 10.24 s to share and 5.12 s that are not: 15.36, 10.24, 7.68, 6.4 s; the last saves a sixth.
    let same = Work::Same { name: "head".to_owned(), seconds: 5.12 };
    let mixed = plan(vec![pass(0.01), same]);
    near(mixed.seconds(2, &fast).total(), 10.24 + 4.0 * 64.0 * 100.0 * 8e-12 * 2.0);
    assert_eq!(mixed.pays(1024, &fast), (4, Some(Limit::Same)));
    let rows = mixed.rows(12, &fast);
    assert_eq!(rows.iter().map(|row| row.processes).collect::<Vec<_>>(), [1, 2, 4, 8, 12]);
    near(rows[0].efficiency, 1.0);
    assert!((rows[2].speedup - 2.0).abs() < 1e-3 && (rows[2].efficiency - 0.5).abs() < 1e-3, "{:?}", rows[2]);
    // A network that takes longer than the work.
    assert_eq!(plan(vec![steps(0.0, false)]).pays(1024, &SLOW), (1, Some(Limit::Exchange)));
    assert_eq!(plan(vec![steps(0.0, false)]).rows(1, &SLOW).len(), 1);
}
