//! Schedules against fastai 0.7's printed values and their own definitions.

use ocelli::plot::{Chart, Panel};
use ocelli::schedule::{LinearOneCycle, LrPhase, LrPhases, OneCycle, Shape, SlantedTriangular, StepDecay};
use ocelli::{Epochs, LearningRates, Schedule, Sgdr};

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
        let seen = 0.01 * schedule.at(step, 360).lr_factor;
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
        assert_eq!(schedule.at(step, 1).lr_factor, 1.0);
    }
}

/// The factors of a schedule at some steps of its 100 an epoch.
fn assert_factors(schedule: impl Into<Schedule>, wanted: &[(usize, f64)]) {
    let schedule = schedule.into();
    for &(step, wanted) in wanted {
        let seen = schedule.at(step, 100).lr_factor;
        assert!((seen - wanted).abs() <= 1e-6 * wanted, "{seen} is not {wanted} at step {step}");
    }
}

fn assert_momentum(schedule: impl Into<Schedule>, wanted: &[(usize, f64)]) {
    let schedule = schedule.into();
    for &(step, wanted) in wanted {
        let seen = schedule.at(step, 100).momentum.expect("this schedule sets the momentum");
        assert!((seen - wanted).abs() < 1e-9, "momentum {seen} is not {wanted} at step {step}");
    }
}

/// fastai 0.7's `CircularLR` with `use_clr=(20, 10, 0.95, 0.85)`, 100 batches: up over ten.
#[test]
fn slanted_triangles_are_fastais() {
    let schedule = SlantedTriangular::cycles(1).momentum(0.95, 0.85);
    let down_by_89_of_90 = (1.0 + 19.0 / 90.0) / 20.0;
    assert_factors(schedule, &[(0, 0.05), (5, 0.525), (10, 1.0), (55, 0.525), (99, down_by_89_of_90)]);
    assert_momentum(schedule, &[(0, 0.95), (5, 0.9), (10, 0.85), (55, 0.9)]);
    // A cycle shorter than `cut_div`, where fastai divides by zero: one step up.
    let short: Schedule = SlantedTriangular::cycles(1).into();
    let factors: Vec<f64> = (0..5).map(|step| short.at(step, 5).lr_factor).collect();
    assert_eq!((factors[0], factors[1]), (0.05, 1.0));
    assert!(factors[1..].windows(2).all(|pair| pair[0] > pair[1]), "{factors:?}");
}

/// fastai 0.7's `CircularLR_beta` with `use_clr_beta=(10, 10, 0.95, 0.85)`, 100 batches: up 45, down 45, out 10.
#[test]
fn linear_one_cycles_are_fastais() {
    let schedule = LinearOneCycle::epochs(1);
    assert_factors(schedule, &[(0, 0.1), (45, 1.0), (90, 0.1), (95, 0.0505), (99, 0.0109)]);
    assert_momentum(schedule, &[(0, 0.95), (45, 0.85), (90, 0.95), (95, 0.95), (99, 0.95)]);
}

#[test]
fn triangles_repeat_and_grow() {
    let triangles = SlantedTriangular::triangular(2).mult(2);
    assert_factors(triangles, &[(0, 0.25), (25, 0.625), (50, 1.0), (75, 0.625), (100, 0.25), (200, 1.0)]);
}

#[test]
fn the_rate_decays_in_steps() {
    let steps = StepDecay::epochs(7).every(3).factor(0.5);
    assert_factors(steps, &[(0, 1.0), (299, 1.0), (300, 0.5), (599, 0.5), (600, 0.25), (699, 0.25)]);
    assert_eq!(Schedule::from(steps).epochs(), 7);
}

/// `combined_cos(0.25, 1/25, 1, 1e-5)` of fastai 2 at the share of steps that are over.
#[test]
fn cosine_one_cycles_are_fastai_2s() {
    let schedule = OneCycle::epochs(4);
    let half = |low: f64, high: f64| (low + high) / 2.0;
    let last = 1e-5 + (1.0 - 1e-5) / 2.0 * (1.0 + (std::f64::consts::PI * 299.0 / 300.0).cos());
    assert_factors(
        schedule,
        &[(0, 0.04), (50, half(0.04, 1.0)), (100, 1.0), (250, half(1e-5, 1.0)), (399, last)],
    );
    assert_momentum(schedule, &[(0, 0.95), (50, 0.9), (100, 0.85), (250, 0.9)]);
    // The head's epoch of fastai 2's `fine_tune`: up almost to the end.
    assert_factors(OneCycle::epochs(1).pct_start(0.99), &[(0, 0.04), (99, 1.0)]);
}

#[test]
fn phases_follow_each_other() {
    let schedule = LrPhases::of([
        LrPhase::linear(0.5, 0.0, 1.0).momentum(0.95, 0.85),
        LrPhase::constant(1.0, 1.0),
        LrPhase::cosine(1.0, 1.0, 0.0),
        LrPhase::linear(0.5, 0.1, 0.001).shape(Shape::Exponential),
    ]);
    let root = 0.1 * 0.01f64.sqrt();
    let wanted = [(0, 0.0), (25, 0.5), (50, 1.0), (149, 1.0), (200, 0.5), (250, 0.1), (275, root)];
    assert_factors(schedule.clone(), &wanted);
    assert_momentum(schedule.clone(), &[(0, 0.95), (25, 0.9)]);
    assert_eq!(Schedule::from(schedule.clone()).at(60, 100).momentum, None);
    assert_eq!(Schedule::from(schedule).epochs(), 3);
    let cubic = LrPhases::of([LrPhase::linear(1.0, 1.0, 0.0).shape(Shape::Polynomial { power: 3.0 })]);
    assert_factors(cubic, &[(0, 1.0), (50, 0.125)]);
}

/// The one-cycle policy put together by hand is the one that is built in.
#[test]
fn phases_can_make_a_one_cycle() {
    let by_hand: Schedule = LrPhases::of([
        LrPhase::cosine(1.0, 1.0 / 25.0, 1.0).momentum(0.95, 0.85),
        LrPhase::cosine(3.0, 1.0, 1e-5).momentum(0.85, 0.95),
    ])
    .into();
    let built_in: Schedule = OneCycle::epochs(4).into();
    for step in 0..400 {
        let (one, other) = (by_hand.at(step, 100), built_in.at(step, 100));
        assert!((one.lr_factor - other.lr_factor).abs() < 1e-9, "{step}");
        assert!((one.momentum.unwrap() - other.momentum.unwrap()).abs() < 1e-9, "{step}");
    }
}

/// Whatever the schedule, a training of very few batches goes somewhere.
#[test]
fn every_schedule_trains_with_one_batch_an_epoch() {
    let schedules: [Schedule; 8] = [
        Epochs(1).into(),
        Sgdr::cycles(1).into(),
        StepDecay::epochs(1).into(),
        SlantedTriangular::cycles(1).into(),
        SlantedTriangular::triangular(1).into(),
        LinearOneCycle::epochs(1).into(),
        OneCycle::epochs(1).into(),
        LrPhases::of([LrPhase::constant(1.0, 1.0)]).into(),
    ];
    for schedule in schedules {
        assert_eq!(schedule.at(0, 1).lr_factor, 1.0, "{schedule:?}");
    }
}

#[test]
fn cycles_end_where_their_snapshots_are_taken() {
    let ends = |schedule: Schedule| schedule.cycle_ends().collect::<Vec<_>>();
    assert_eq!(ends(Sgdr::cycles(3).mult(2).into()), [1, 3, 7]);
    assert_eq!(ends(Sgdr::cycles(2).len(2).into()), [2, 4]);
    assert_eq!(ends(Epochs(5).into()), [5]);
}

/// A plotted line has a point a step, the same that training sees.
#[test]
fn plots_show_every_step() {
    let schedule: Schedule = OneCycle::epochs(2).into();
    let figure = schedule.plot([1e-4, 1e-3, 1e-2], 50);
    assert_eq!(figure.panels.len(), 2, "learning rate and momentum");
    let Panel::Chart(Chart { lines, .. }) = &figure.panels[0] else { panic!("rates are a chart") };
    assert_eq!(lines.len(), 3, "a line a layer group");
    for (group, peak) in [1e-4, 1e-3, 1e-2].iter().enumerate() {
        assert_eq!(lines[group].points.len(), 100);
        for (step, &(epoch, rate)) in lines[group].points.iter().enumerate() {
            assert_eq!((epoch, rate), (step as f64 / 50.0, peak * schedule.at(step, 50).lr_factor));
        }
    }
    let svg = figure.to_svg();
    assert!(svg.contains("early layers") && svg.contains("momentum"), "{svg}");
    let png = figure.to_png();
    let decoded = ocelli::Decoder::default().decode(&png).unwrap();
    let coloured = decoded
        .pixels()
        .as_chunks::<3>()
        .0
        .iter()
        .filter(|[r, g, b]| r.abs_diff(*g) > 60 || g.abs_diff(*b) > 60);
    assert!(coloured.count() > 500, "lines are drawn in colour");
}

#[test]
fn rates_spread_geometrically() {
    let LearningRates(rates) = (1e-4, 1e-2).into();
    for (seen, wanted) in rates.iter().zip([1e-4, 1e-3, 1e-2]) {
        assert!((seen / wanted - 1.0).abs() < 1e-12);
    }
}
