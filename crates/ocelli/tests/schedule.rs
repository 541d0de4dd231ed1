//! Schedules against fastai 0.7's printed values and their own definitions.

use ocelli::{LearningRates, Schedule, Sgdr};

/// fastai 0.7's `CosAnneal` at learning rate 0.01, 360 batches an epoch, `cycle_mult` 2.
#[test]
fn cosine_restarts_are_fastais() {
    let schedule: Schedule = Sgdr::cycles(3).len(1).mult(2).into();
    assert_eq!(schedule.epochs(), 7);
    let golden = [
        (0, 1e-4),
        (17, 1e-4),
        (18, 0.0099384),
        (90, 0.0085355),
        (180, 0.005),
        (270, 0.0014645),
        (359, 1.904e-7),
        (360, 0.01),
        (720, 0.005),
        (1079, 4.76e-8),
        (1080, 0.01),
        (2519, 1.19e-8),
    ];
    for (step, wanted) in golden {
        let seen = 0.01 * schedule.at(step, 360).factor;
        assert!((seen - wanted).abs() < 1e-3 * wanted, "{seen} is not {wanted} at step {step}");
    }
}

#[test]
fn epochs_are_counted_as_the_lesson_does() {
    let epochs = |cycles, len, mult| Schedule::from(Sgdr::cycles(cycles).len(len).mult(mult)).epochs();
    assert_eq!([epochs(3, 1, 2), epochs(2, 1, 3), epochs(3, 2, 1), epochs(2, 2, 2)], [7, 4, 6, 6]);
}

#[test]
fn cycles_of_one_step_train() {
    let schedule: Schedule = Sgdr::cycles(3).into();
    for step in 0..3 {
        assert_eq!(schedule.at(step, 1).factor, 1.0);
    }
}

#[test]
fn one_cycle_rises_and_falls_between_fastai_2s_ends() {
    let schedule = Schedule::OneCycle { epochs: 4 };
    let points: Vec<_> = (0..400).map(|step| schedule.at(step, 100)).collect();
    assert!((points[0].factor - 1.0 / 25.0).abs() < 1e-12);
    assert!((points[399].factor - 1e-5).abs() < 1e-12);
    assert!((points[0].momentum.unwrap() - 0.95).abs() < 1e-12);
    assert!((points[399].momentum.unwrap() - 0.95).abs() < 1e-12);
    let top = (0..400).max_by(|&a, &b| points[a].factor.total_cmp(&points[b].factor)).unwrap();
    assert!((98..=101).contains(&top), "the top is at a quarter, here {top}");
    assert!((points[top].momentum.unwrap() - 0.85).abs() < 1e-3);
    assert!(points.windows(2).take(top).all(|pair| pair[0].factor <= pair[1].factor));
    assert!(points.windows(2).skip(top).all(|pair| pair[0].factor >= pair[1].factor));
}

#[test]
fn rates_spread_geometrically() {
    let LearningRates(rates) = LearningRates::spread(1e-4, 1e-2);
    for (seen, wanted) in rates.iter().zip([1e-4, 1e-3, 1e-2]) {
        assert!((seen / wanted - 1.0).abs() < 1e-12);
    }
}
