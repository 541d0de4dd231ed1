//! Metrics against scikit-learn's values on the same made-up predictions, and against what they mean.

use ocelli::{CustomMetric, Direction, Metric, PredictionParts, Predictions, Target, Task};

/// Numbers from 0 to 999 (a linear congruential generator).
fn numbers(count: usize) -> Vec<usize> {
    let mut x = 12345u64;
    let mut next = || {
        x = (x * 1_103_515_245 + 12345) % (1 << 31);
        ((x >> 8) % 1000) as usize
    };
    (0..count).map(|_| next()).collect()
}

fn predictions(task: Task, classes: usize, targets: Vec<Target>, probabilities: Vec<f32>) -> Predictions {
    let images = targets.len();
    let losses = (0..images)
        .map(|image| {
            let row = &probabilities[image * classes..][..classes];
            -f64::from(*targets[image].classes().first().map_or(&1.0, |&class| &row[class])).ln()
        })
        .collect();
    let thresholds = vec![0.5; classes];
    let items = (0..images).collect();
    let parts = PredictionParts { task, classes, items, targets, probabilities, losses, thresholds };
    Predictions::from_parts(parts)
}

/// 60 images of 4 classes.
fn single() -> Predictions {
    let (images, classes) = (60, 4);
    let drawn = numbers(images * classes + images);
    let targets: Vec<usize> = drawn[images * classes..].iter().map(|number| number % classes).collect();
    let mut probabilities = Vec::new();
    for image in 0..images {
        let raw = (0..classes).map(|class| {
            let more = if class == targets[image] && image % 3 != 0 { 6 } else { 0 };
            (drawn[image * classes + class] % 20 + 1 + more) as f64
        });
        let raw: Vec<f64> = raw.collect();
        let sum: f64 = raw.iter().sum();
        probabilities.extend(raw.iter().map(|value| (value / sum) as f32));
    }
    let targets = targets.into_iter().map(Target::Class).collect();
    predictions(Task::SingleLabel, classes, targets, probabilities)
}

/// 50 images of any number of 5 classes.
fn several() -> Predictions {
    let (images, classes) = (50, 5);
    let drawn = numbers(images * classes * 2);
    let has = |image: usize, class: usize| drawn[image * classes + class] % 10 < 3;
    let targets = (0..images)
        .map(|image| Target::Classes((0..classes).filter(|&class| has(image, class)).collect()))
        .collect();
    let probabilities = (0..images * classes)
        .map(|place| {
            let (image, class) = (place / classes, place % classes);
            let more = if has(image, class) && image % 4 != 0 { 0.3 } else { 0.0 };
            ((drawn[images * classes + place] % 70) as f64 / 100.0 + more) as f32
        })
        .collect();
    predictions(Task::MultiLabel, classes, targets, probabilities)
}

fn assert_near(found: f64, wanted: f64, what: &str) {
    assert!((found - wanted).abs() < 1e-6, "{what}: {found}, wanted {wanted}");
}

#[test]
fn metrics_of_one_label_an_image_are_scikit_learns() {
    let predictions = single();
    for (name, wanted) in [
        ("accuracy", 0.5),
        ("error-rate", 0.5),
        ("top-1", 0.5),
        ("top-2", 0.766_666_666_7),
        ("top-4", 1.0),
        ("balanced-accuracy", 0.491_064_491_1),
        ("precision", 0.5),
        ("f2", 0.5),
        ("precision-macro", 0.518_686_868_7),
        ("recall-macro", 0.491_064_491_1),
        ("f2-macro", 0.488_816_738_8),
        ("log-loss", 1.153_143_831_3),
        ("auroc", 0.762_532_086_2),
    ] {
        assert_near(predictions.value(name.parse().unwrap()), wanted, name);
    }
    let classes = predictions.per_class();
    let wanted = [
        (0.6, 0.545_454_545_5, 0.571_428_571_4, 0.814_471_243_0),
        (0.444_444_444_4, 0.666_666_666_7, 0.533_333_333_3, 0.760_582_010_6),
        (0.363_636_363_6, 0.307_692_307_7, 0.333_333_333_3, 0.721_767_594_1),
        (0.666_666_666_7, 0.444_444_444_4, 0.533_333_333_3, 0.753_306_878_3),
    ];
    for (class, (precision, recall, f1, auroc)) in classes.iter().zip(wanted) {
        assert_near(class.precision, precision, "precision");
        assert_near(class.recall, recall, "recall");
        assert_near(class.f1, f1, "f1");
        assert_near(class.auroc, auroc, "auroc");
    }
    assert_eq!(classes.iter().map(|class| class.support).sum::<usize>(), 60);
}

#[test]
fn metrics_of_several_labels_an_image_are_scikit_learns() {
    let predictions = several();
    for (name, wanted) in [
        ("accuracy", 0.14),
        ("label-accuracy", 0.668),
        ("precision", 0.442_105_263_2),
        ("recall", 0.583_333_333_3),
        ("f2", 0.548_302_872_1),
        ("f1", 0.502_994_012_0),
        ("precision-macro", 0.452_990_196_1),
        ("recall-macro", 0.593_333_333_3),
        ("f2-macro", 0.544_561_403_5),
        ("precision-samples", 0.413_333_333_3),
        ("recall-samples", 0.505),
        ("f2-samples", 0.456_655_274_6),
        ("f1-samples", 0.421_809_523_8),
        ("auroc", 0.733_876_566_4),
        // The mean of sklearn.metrics.balanced_accuracy_score over the labels.
        ("balanced-accuracy", 0.650_726_817_0),
    ] {
        assert_near(predictions.value(name.parse().unwrap()), wanted, name);
    }
}

#[test]
fn thresholds_are_the_best_there_are() {
    let mut predictions = several();
    let metric: Metric = "f2-samples".parse().unwrap();
    let threshold = predictions.best_threshold(metric);
    assert_eq!(threshold, 0.27, "as a search with scikit-learn finds");
    predictions.set_thresholds(vec![threshold; 5]);
    assert_near(predictions.value(metric), 0.598_974_171_3, "F2 at the one threshold");
    // The best that a search over all probabilities with scikit-learn finds, for each class.
    predictions.set_thresholds(predictions.best_thresholds(2.0));
    assert_near(
        predictions.value("f2-macro".parse().unwrap()),
        0.729_819_050_3,
        "F2 at thresholds of their own",
    );
}

#[test]
fn intervals_hold_the_value_and_shrink_with_more_images() {
    let predictions = single();
    let mut fourfold = predictions.clone().into_parts();
    for _ in 0..3 {
        fourfold.items.extend(predictions.items());
        fourfold.targets.extend(predictions.targets().iter().cloned());
        fourfold.probabilities.extend(predictions.probabilities());
        fourfold.losses.extend(predictions.losses());
    }
    let fourfold = Predictions::from_parts(fourfold);
    for name in
        ["accuracy", "error-rate", "top-2", "log-loss", "f1-macro", "recall", "balanced-accuracy", "auroc"]
    {
        let metric: Metric = name.parse().unwrap();
        let measured = predictions.estimate(metric);
        let (low, high) = measured.interval;
        assert!(low < measured.value && measured.value < high, "{name}: {measured:?}");
        let (closer_low, closer_high) = fourfold.estimate(metric).interval;
        let ratio = (closer_high - closer_low) / (high - low);
        assert!((0.4..0.6).contains(&ratio), "{name}: half as wide with four times the images, not {ratio}");
    }
    // Wilson's interval for 30 of 60, from the formula in a pocket calculator.
    let (low, high) = predictions.estimate(Metric::Accuracy).interval;
    assert_near(low, 0.377_350_2, "low");
    assert_near(high, 0.622_649_8, "high");
}

#[test]
fn names_directions_and_what_is_not_defined() {
    for name in ["accuracy", "top-5", "log-loss", "f1", "f0.5-macro", "recall-samples", "auroc"] {
        assert_eq!(name.parse::<Metric>().unwrap().to_string(), name);
    }
    for name in ["", "top-0", "f0", "f-1", "acc", "auroc-macro", "top-5-samples", "precision-weighted"] {
        assert!(name.parse::<Metric>().unwrap_err().to_string().contains("error-rate"), "{name}");
    }
    assert_eq!(Metric::LogLoss.direction(), Direction::Lower);
    assert_eq!(Metric::Auroc.direction(), Direction::Higher);
    assert!(Metric::LogLoss.is_better(0.1, 0.2) && !Metric::LogLoss.is_better(f64::NAN, 0.2));
    assert!(Metric::Accuracy.is_better(0.1, f64::NAN) && !Metric::Accuracy.is_better(0.1, 0.1));

    let nothing = predictions(Task::SingleLabel, 2, vec![], vec![]);
    for name in ["accuracy", "log-loss", "f1", "f1-samples", "auroc"] {
        let measured = nothing.estimate(name.parse().unwrap());
        assert!(measured.value.is_nan(), "{name} of nothing: {measured:?}");
    }
    // A class that no image has: its area is not defined, and the mean is over the others.
    let targets = vec![Target::Class(0), Target::Class(1)];
    let three = predictions(Task::SingleLabel, 3, targets, vec![0.6, 0.3, 0.1, 0.2, 0.7, 0.1]);
    assert_eq!(three.value(Metric::Auroc), 1.0);
    assert_eq!(three.value(Metric::BalancedAccuracy), 1.0);
    assert!(three.per_class()[2].auroc.is_nan());
}

/// Cohen's kappa, written as in scikit-learn's guide: agreement beyond what chance gives.
fn kappa(predictions: &Predictions) -> f64 {
    let images = predictions.len() as f64;
    let classes = predictions.classes();
    let (mut truths, mut labels, mut agree) = (vec![0.0; classes], vec![0.0; classes], 0.0);
    for (index, target) in predictions.targets().iter().enumerate() {
        let (truth, label) = (target.classes()[0], predictions.predicted_labels(index)[0]);
        truths[truth] += 1.0;
        labels[label] += 1.0;
        agree += f64::from(u8::from(truth == label));
    }
    let expected: f64 = truths.iter().zip(&labels).map(|(a, b)| a * b / images / images).sum();
    (agree / images - expected) / (1.0 - expected)
}

#[test]
fn a_metric_of_ones_own_is_a_metric_as_every_other() {
    assert!("cohen-kappa".parse::<Metric>().is_err());
    let metric = CustomMetric::new("cohen-kappa", Direction::Higher, kappa).register().unwrap();
    assert_eq!("cohen-kappa".parse::<Metric>().unwrap(), metric);
    assert_eq!(serde_json::from_str::<Metric>(&serde_json::to_string(&metric).unwrap()).unwrap(), metric);
    assert!(metric.is_better(0.6, 0.5));
    let predictions = single();
    let estimate = predictions.estimate(metric);
    assert_eq!(estimate.value, kappa(&predictions));
    assert!(estimate.interval.0 < estimate.value && estimate.value < estimate.interval.1, "{estimate:?}");
    // The spread of kappa is that of the accuracy, stretched by what chance leaves.
    let accuracy = predictions.estimate(Metric::Accuracy);
    let stretch = (1.0 - estimate.value) / (1.0 - accuracy.value);
    let width = |(low, high): (f64, f64)| high - low;
    let ratio = width(estimate.interval) / width(accuracy.interval) / stretch;
    assert!((0.8..1.25).contains(&ratio), "{ratio}");
    for name in ["accuracy", "f2", "top-5", "", "My metric"] {
        assert!(CustomMetric::new(name, Direction::Lower, kappa).register().is_err(), "{name}");
    }
}

#[test]
fn balanced_accuracy_of_several_labels_counts_images_with_and_without_each() {
    let of = |rows: &[([bool; 3], [bool; 3])]| {
        let targets =
            rows.iter().map(|(has, _)| Target::Classes((0..3).filter(|&class| has[class]).collect()));
        let probabilities = rows.iter().flat_map(|(_, said)| said.map(|said| if said { 0.9 } else { 0.1 }));
        predictions(Task::MultiLabel, 3, targets.collect(), probabilities.collect())
    };
    let (yes, no) = (true, false);
    // All images have the third label, so that only two count.
    let rows = [
        ([yes, no, yes], [yes, yes, yes]),
        ([yes, no, yes], [no, no, yes]),
        ([no, yes, yes], [no, yes, no]),
        ([no, no, yes], [no, no, yes]),
        ([no, no, yes], [yes, yes, yes]),
    ];
    // (1/2 + 2/3) / 2, and (1 + 2/4) / 2.
    let found = of(&rows).estimate(Metric::BalancedAccuracy);
    assert_near(found.value, ((0.5 + 2.0 / 3.0) / 2.0 + 0.75) / 2.0, "by hand");
    assert!(found.interval.0 < found.value && found.value < found.interval.1, "{found:?}");
    for same in [[yes; 3], [no; 3]] {
        let constant = of(&rows.map(|(has, _)| (has, same)));
        assert_eq!(constant.value(Metric::BalancedAccuracy), 0.5, "the same for every image");
    }
    let perfect = of(&rows.map(|(has, _)| (has, has))).estimate(Metric::BalancedAccuracy);
    assert!(perfect.value == 1.0 && perfect.interval.0 < 0.9, "{perfect:?}");
    let undefined = of(&[([yes, no, yes], [yes, no, yes])]).value(Metric::BalancedAccuracy);
    assert!(undefined.is_nan(), "every label has only one side");
}
