//! Tables, rankings, calibration and label errors against scikit-learn, SciPy and cleanlab, and slow definitions.
//!
//! Probabilities are a formula of the image and the class, so that both sides have the same.

use ocelli::interpret::{DigestsById, Neighbours, Ranking};
use ocelli::{Error, Interpretation, PredictionParts, Predictions, Task};
use ocelli_data::Target;

const CLASSES: usize = 4;

/// What class an image has, and the logits that speak for it.
fn class_of(image: usize) -> usize {
    (image * 7 + image / 3) % CLASSES
}

fn noise(image: usize, class: usize) -> f64 {
    3.0 * (12.9898 * (image * CLASSES + class) as f64 + 1.0).sin()
}

fn named(task: Task, rows: Vec<(Target, Vec<f64>)>) -> Interpretation {
    let images = rows.len();
    let mut predictions = PredictionParts {
        task,
        classes: CLASSES,
        items: (0..images).collect(),
        targets: Vec::new(),
        probabilities: Vec::new(),
        losses: Vec::new(),
        thresholds: vec![0.5; CLASSES],
    };
    for (target, probabilities) in rows {
        let loss = match &target {
            Target::Class(class) => -probabilities[*class].ln(),
            _ => {
                let term = |(class, p): (usize, &f64)| {
                    if target.classes().contains(&class) { -p.ln() } else { -(1.0 - p).ln() }
                };
                probabilities.iter().enumerate().map(term).sum::<f64>() / CLASSES as f64
            }
        };
        predictions.losses.push(loss);
        predictions.targets.push(target);
        predictions.probabilities.extend(probabilities.iter().map(|&p| p as f32));
    }
    Interpretation {
        classes: ["ant", "bee", "cat", "dog"].map(str::to_owned).to_vec(),
        ids: (0..images).map(|image| format!("{image}.jpg")).collect(),
        paths: (0..images).map(|image| format!("photos/{image}.jpg").into()).collect(),
        predictions: Predictions::from_parts(predictions),
    }
}

fn softmax(logits: [f64; CLASSES]) -> Vec<f64> {
    let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
    logits.iter().map(|logit| logit.exp() / sum).collect()
}

/// 60 images with one class each.
fn single() -> Interpretation {
    let row = |image| {
        let class = class_of(image);
        let logits = std::array::from_fn(|c| noise(image, c) + if c == class { 2.5 } else { 0.0 });
        (Target::Class(class), softmax(logits))
    };
    named(Task::SingleLabel, (0..60).map(row).collect())
}

/// 60 images with any number of classes.
fn several() -> Interpretation {
    let row = |image: usize| {
        let has = |class: usize| (78.233 * (image * CLASSES + class) as f64 + 2.0).sin() > 0.2;
        let probability = |class| {
            let logit = noise(image, class) + if has(class) { 2.0 } else { -1.0 };
            1.0 / (1.0 + (-logit).exp())
        };
        let classes: Vec<usize> = (0..CLASSES).filter(|&class| has(class)).collect();
        (Target::Classes(classes), (0..CLASSES).map(probability).collect())
    };
    named(Task::MultiLabel, (0..60).map(row).collect())
}

fn near(found: f64, wanted: f64, within: f64) {
    assert!((found - wanted).abs() < within, "{found} where {wanted} is wanted");
}

#[test]
fn the_confusion_matrix_is_scikit_learns() {
    let matrix = single().confusion_matrix().unwrap();
    assert_eq!(matrix.counts, [[15, 0, 0, 5], [0, 10, 0, 0], [0, 0, 20, 0], [4, 0, 0, 6]]);
    assert_eq!(matrix.normalised()[0], [0.75, 0.0, 0.0, 0.25]);
    let confused = matrix.most_confused(1);
    let pairs: Vec<_> =
        confused.iter().map(|c| (c.truth.as_str(), c.predicted.as_str(), c.count, c.of)).collect();
    assert_eq!(pairs, [("ant", "dog", 5, 20), ("dog", "ant", 4, 10)]);
    assert_eq!(matrix.most_confused(5).len(), 1);
    for minimum in [0, 1, 5, 6] {
        assert_eq!(
            single().most_confused(minimum).unwrap(),
            matrix.most_confused(minimum),
            "without the matrix"
        );
    }
    assert!(several().most_confused(1).is_err());
    let order = matrix.clustered();
    let place = |class: usize| order.iter().position(|&c| c == class).unwrap();
    assert_eq!(
        place(0).abs_diff(place(3)),
        1,
        "ants and dogs, which are confused, stand side by side: {order:?}"
    );
    assert!(several().confusion_matrix().is_err(), "images with several classes have none");
}

#[test]
fn clustering_keeps_every_class_and_brings_blocks_together() {
    // Classes c and c + 10 are confused with each other and with nothing else.
    let classes = 20;
    let count = |a: usize, b: usize| {
        if a == b {
            10
        } else if a % 10 == b % 10 {
            3
        } else {
            0
        }
    };
    let matrix = ocelli::interpret::ConfusionMatrix {
        classes: (0..classes).map(|class| format!("class {class}")).collect(),
        counts: (0..classes).map(|a| (0..classes).map(|b| count(a, b)).collect()).collect(),
    };
    let order = matrix.clustered();
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..classes).collect::<Vec<_>>());
    for pair in order.chunks(2) {
        assert_eq!(pair[0] % 10, pair[1] % 10, "{order:?}");
    }
}

#[test]
fn precision_recall_and_f1_are_scikit_learns() {
    let check =
        |found: &Interpretation, precision: [f64; 4], recall: [f64; 4], f1: [f64; 4], support: [usize; 4]| {
            let table = found.class_table();
            for (class, row) in table.rows.iter().enumerate() {
                near(row.precision.unwrap().value(), precision[class], 1e-6);
                near(row.recall.unwrap().value(), recall[class], 1e-6);
                near(row.f1.unwrap(), f1[class], 1e-6);
                assert_eq!(row.support, support[class]);
            }
            table.means
        };
    let means = check(
        &single(),
        [0.789474, 1.0, 1.0, 0.545455],
        [0.75, 1.0, 1.0, 0.6],
        [0.769231, 1.0, 1.0, 0.571429],
        [20, 10, 20, 10],
    );
    near(means.precision, 0.833732057, 1e-9);
    near(means.recall, 0.8375, 1e-9);
    near(means.f1, 0.835164835, 1e-9);
    check(
        &several(),
        [0.606061, 0.586207, 0.59375, 0.583333],
        [0.769231, 0.653846, 0.703704, 0.84],
        [0.677966, 0.618182, 0.644068, 0.688525],
        [26, 26, 27, 25],
    );
}

#[test]
fn rankings_are_those_of_sorting_everything() {
    let found = single();
    for (class, name) in found.classes.clone().iter().enumerate() {
        let p = |place: usize| found.predictions.row(place)[class];
        let of_class: Vec<usize> = (0..60).filter(|&place| class_of(place) == class).collect();
        let places = |order| -> Vec<usize> {
            found.ranked(order, name, 100).unwrap().iter().map(|ranked| ranked.index).collect()
        };
        let (right, wrong) = (places(Ranking::MostCorrect), places(Ranking::MostIncorrect));
        assert_eq!(right.len() + wrong.len(), of_class.len());
        assert!(
            right.is_sorted_by(|&a, &b| p(a) >= p(b)) && right.iter().all(|&place| found.is_right(place))
        );
        assert!(
            wrong.is_sorted_by(|&a, &b| p(a) <= p(b)) && wrong.iter().all(|&place| !found.is_right(place))
        );
        let uncertain = places(Ranking::MostUncertain);
        let gap = |place: usize| {
            let mut row = found.predictions.row(place).to_vec();
            row.sort_by(f32::total_cmp);
            row[3] - row[2]
        };
        assert_eq!(uncertain.len(), of_class.len());
        assert!(uncertain.is_sorted_by(|&a, &b| gap(a) <= gap(b)));
    }
    let top = found.top_losses(7);
    assert_eq!(top.len(), 7);
    let highest = found.predictions.losses().iter().copied().fold(0.0, f64::max);
    assert!(top[0].loss == highest && top.is_sorted_by(|a, b| a.loss >= b.loss));
    assert!(found.most_correct("elk", 1).is_err(), "no such class");
}

#[test]
fn calibration_is_that_of_its_definitions() {
    let found = single();
    let calibration = found.calibration();
    near(calibration.plain.expected_error, 0.195351050, 1e-6);
    near(calibration.plain.log_loss, 0.457767903, 1e-6);
    near(calibration.plain.brier, 0.231449573, 1e-6);
    // SciPy's minimize_scalar on the log loss.
    let temperature = calibration.temperature.unwrap();
    near(temperature, 0.460263068, 1e-5);
    // On the images that it was fitted on it looks better than it is.
    near(found.predictions.with_temperature(temperature).loss(), 0.336965638, 1e-6);
    // The same five folds with SciPy, each image with the temperature of the other folds.
    let better = calibration.calibrated.unwrap();
    near(better.log_loss, 0.343130907, 1e-6);
    near(better.brier, 0.207153176, 1e-6);
    assert_eq!(found.predictions.validated_temperature(), Some(temperature));
    assert!(calibration.sentence.contains("surer") && calibration.sentence.contains("falls from 0.4578 to"));
    assert_eq!(better.bins.iter().map(|bin| bin.count).sum::<usize>(), 60);
    near(several().calibration().temperature.unwrap(), 1.778456272, 1e-5);
}

#[test]
fn a_temperature_that_helps_nobody_else_is_not_kept() {
    // Probabilities that mean what they say, but for chance: of 0.8 in a row of 40 images, 31 or 32 are right. A
    // temperature that is fitted on them follows the chance.
    let row = |image: usize| {
        let said = image % CLASSES;
        let right = image % 5 != (image / 5) % 2 || image.is_multiple_of(11);
        let class = if right { said } else { (said + 1) % CLASSES };
        let other = 0.2 / (CLASSES - 1) as f64;
        (Target::Class(class), (0..CLASSES).map(|c| if c == said { 0.8 } else { other }).collect())
    };
    let mut kept = 0;
    for images in 30..70 {
        let found = named(Task::SingleLabel, (0..images).map(row).collect());
        let calibration = found.calibration();
        let fitted = found.predictions.temperature().unwrap();
        // On the images that it was fitted on, every temperature is at least as good as none.
        assert!(found.predictions.with_temperature(fitted).loss() <= calibration.plain.log_loss + 1e-9);
        assert_eq!(calibration.temperature, found.predictions.validated_temperature());
        assert_eq!(calibration.calibrated.is_some(), calibration.temperature.is_some());
        kept += usize::from(calibration.temperature.is_some());
        if let Some(judged) = &calibration.calibrated {
            assert!(judged.log_loss < calibration.plain.log_loss);
        } else {
            assert!(
                calibration.sentence.starts_with("The temperature is not used"),
                "{}",
                calibration.sentence
            );
            assert!(calibration.sentence.contains("the log loss rises from"), "{}", calibration.sentence);
        }
    }
    assert!(kept < 20, "{kept} of 40 sets of images whose probabilities are right");
}

#[test]
fn the_sentence_says_of_each_measure_whether_it_became_better() {
    for found in [single(), several()] {
        let calibration = found.calibration();
        let (plain, judged) = (calibration.plain, calibration.calibrated.unwrap());
        for (name, before, after) in [
            ("log loss", plain.log_loss, judged.log_loss),
            ("expected error", plain.expected_error, judged.expected_error),
            ("Brier score", plain.brier, judged.brier),
        ] {
            let word = if after < before { "falls" } else { "rises" };
            let told = format!("the {name} {word} from {before:.4} to {after:.4}");
            assert!(calibration.sentence.contains(&told), "{told}: {}", calibration.sentence);
        }
    }
}

#[test]
fn a_class_may_have_the_name_of_a_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("predictions.csv");
    let mut found = single();
    found.classes = ["id", "label", "probability_id", "loss"].map(str::to_owned).to_vec();
    found.write_csv(&path).unwrap();
    let header = std::fs::read_to_string(&path).unwrap().lines().next().unwrap().to_owned();
    let columns: std::collections::BTreeSet<&str> = header.split(',').collect();
    assert_eq!(columns.len(), 4 + CLASSES, "{header}");
    let read = Interpretation::read_csv(&path, "photos").unwrap();
    assert_eq!((read.classes, read.predictions), (found.classes, found.predictions));
}

#[test]
fn a_class_may_have_the_separator_in_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("predictions.csv");
    // With the separator between them, the first two could be either.
    for names in [["a", "b", "a|b", "=d"], ["|", "||", "[\"a\"]", "\"|"]] {
        for mut found in [single(), several()] {
            found.classes = names.map(str::to_owned).to_vec();
            found.write_csv(&path).unwrap();
            let read = Interpretation::read_csv(&path, "photos").unwrap();
            assert_eq!((read.classes, read.predictions), (found.classes, found.predictions));
        }
    }
    let header = "id,labels,decisions,loss,probability_a,probability_a|b\n";
    std::fs::write(&path, format!("{header}1.jpg,a|a|b,a,0.1,0.9,0.1\n")).unwrap();
    let error = Interpretation::read_csv(&path, "").unwrap_err().to_string();
    assert!(error.contains("row 2") && error.contains("a list in JSON"), "{error}");
}

#[test]
fn a_temperature_changes_no_decision_and_undoes_its_inverse() {
    for found in [single(), several()] {
        let with_temperature = found.predictions.with_temperature(2.5);
        for place in 0..found.len() {
            assert_eq!(with_temperature.predicted_labels(place), found.predictions.predicted_labels(place));
        }
        let back = with_temperature.with_temperature(0.4);
        for (a, b) in back.probabilities().iter().zip(found.predictions.probabilities()) {
            near(f64::from(*a), f64::from(*b), 1e-5);
        }
    }
}

#[test]
fn nothing_is_calibrated_where_everything_is_right() {
    let row = |image| {
        let logits = std::array::from_fn(|class| if class == class_of(image) { 5.0 } else { 0.0 });
        (Target::Class(class_of(image)), softmax(logits))
    };
    let calibration = named(Task::SingleLabel, (0..20).map(row).collect()).calibration();
    assert_eq!(calibration.temperature, None);
    assert!(calibration.calibrated.is_none());
}

#[test]
fn threshold_curves_are_scikit_learns() {
    let curves = several().threshold_curves();
    assert_eq!(curves.len(), 1 + CLASSES);
    let at = |class: usize, threshold: f64| {
        let points = &curves[class].points;
        *points.iter().find(|point| (point.threshold - threshold).abs() < 1e-9).unwrap()
    };
    near(at(2, 0.26).precision, 0.634146, 1e-6);
    near(at(2, 0.26).recall, 1.0, 1e-6);
    near(at(2, 0.26).f1, 0.776119, 1e-6);
    near(at(2, 0.5).f1, 0.618182, 1e-6);
    near(at(0, 0.26).f2, 0.882852, 1e-6);
    near(at(0, 0.74).f2, 0.620155, 1e-6);
    for curve in &curves {
        let best = curve.points.iter().map(|point| point.f1).fold(0.0, f64::max);
        let at_best = curve.points.iter().find(|point| point.threshold == curve.best_f1).unwrap();
        assert_eq!(at_best.f1, best);
        assert!(curve.points.is_sorted_by(|a, b| a.recall >= b.recall), "a higher threshold finds no more");
    }
}

#[test]
fn label_errors_are_cleanlabs() {
    let given = |image: usize| (class_of(image) + usize::from(image.is_multiple_of(9))) % CLASSES;
    let row = |image| {
        let class = class_of(image);
        let logits = std::array::from_fn(|c| noise(image, c) + if c == class { 4.0 } else { 0.0 });
        (Target::Class(given(image)), softmax(logits))
    };
    let found = named(Task::SingleLabel, (0..80).map(row).collect()).label_errors();
    // cleanlab.filter.find_label_issues(filter_by="confident_learning")
    let mut likely: Vec<usize> = found.suspects[..found.likely].iter().map(|suspect| suspect.index).collect();
    likely.sort_unstable();
    assert_eq!(likely, [0, 54, 63, 72]);
    assert!(found.suspects[..found.likely].is_sorted_by(|a, b| a.score <= b.score));
    assert_eq!(found.suspects.len(), 9, "labels less probable than another class");
}

#[test]
fn predictions_at_chance_say_nothing_about_labels() {
    // Probabilities that do not depend on the class, and disagree with three labels of four.
    let row = |image| (Target::Class(class_of(image)), softmax(std::array::from_fn(|c| noise(image, c))));
    let chance = named(Task::SingleLabel, (0..60).map(row).collect()).label_errors();
    assert!(!chance.better_than_chance && chance.suspects.is_empty() && chance.likely == 0);
    assert_eq!(chance.images, 60);
    assert!(single().label_errors().better_than_chance && several().label_errors().better_than_chance);
}

#[test]
fn a_wrong_label_among_several_is_found() {
    let mut found = several();
    let mut parts = found.predictions.into_parts();
    // The network is sure of what two images have; of one the label says otherwise.
    for (place, labelled) in [(10, vec![0, 2]), (20, vec![0, 1, 2])] {
        parts.targets[place] = Target::Classes(labelled);
        parts.probabilities[place * CLASSES..][..CLASSES].copy_from_slice(&[0.99, 0.001, 0.99, 0.02]);
    }
    found.predictions = Predictions::from_parts(parts);
    let errors = found.label_errors();
    let first = &errors.suspects[0];
    assert_eq!((first.index, first.likely), (20, true));
    assert_eq!(
        (&first.given[..], &first.suggested[..]),
        (&["ant", "bee", "cat"].map(str::to_owned)[..], &["ant", "cat"].map(str::to_owned)[..])
    );
    assert!(errors.suspects.iter().all(|suspect| suspect.index != 10));
}

#[test]
fn a_table_of_predictions_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("predictions.csv");
    for found in [single(), several()] {
        found.write_csv(&path).unwrap();
        let read = Interpretation::read_csv(&path, "photos").unwrap();
        assert_eq!(read.predictions, found.predictions, "to the bit");
        assert_eq!((read.ids, read.paths, read.classes), (found.ids, found.paths, found.classes));
    }
    let refused = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Interpretation::read_csv(&path, "").unwrap_err().to_string()
    };
    let header = "id,label,decision,loss,probability_ant,probability_bee\n";
    let error = refused(&format!("{header}1.jpg,cow,ant,0.1,0.9,0.1\n"));
    assert!(error.contains("row 2") && error.contains("cow"), "{error}");
    for numbers in ["NaN,0.9,0.1", "0.1,NaN,0.1", "0.1,0.9,inf"] {
        let error = refused(&format!("{header}1.jpg,ant,ant,{numbers}\n"));
        assert!(error.contains("row 2") && error.contains("finite number"), "{error}");
    }
    let error = refused("id,label,decision,loss,ant,bee\n1.jpg,ant,ant,0.1,0.9,0.1\n");
    assert!(error.contains("\"ant\"") && error.contains("probability_CLASS"), "{error}");
}

#[test]
fn two_models_are_compared_on_the_images_that_both_have_seen() {
    let first = single();
    let mut second = single();
    // The second model is right about every ant, and wrong about two cats.
    let decide = |model: &mut Interpretation, place: usize, class: usize| {
        let mut parts = model.predictions.clone().into_parts();
        let row = &mut parts.probabilities[place * CLASSES..][..CLASSES];
        row.fill(0.0);
        row[class] = 1.0;
        model.predictions = Predictions::from_parts(parts);
    };
    let ants: Vec<usize> = (0..60).filter(|&place| class_of(place) == 0).collect();
    ants.iter().for_each(|&place| decide(&mut second, place, 0));
    let cats: Vec<usize> = (0..60).filter(|&place| class_of(place) == 2).take(2).collect();
    cats.iter().for_each(|&place| decide(&mut second, place, 1));
    let comparison = first.compare(&second).unwrap();
    assert_eq!((comparison.wrong_to_right.len(), comparison.right_to_wrong.len()), (5, 2));
    assert_eq!((comparison.both_right, comparison.both_wrong), (49, 4));
    assert_eq!((comparison.first.count, comparison.second.count), (51, 54));
    let recall = |model: &Interpretation, class: usize| {
        let of_class = || (0..60).filter(move |&place| class_of(place) == class);
        let found = of_class().filter(|&place| model.predictions.predicted_labels(place) == [class]).count();
        found as f64 / of_class().count() as f64
    };
    let mean = |model| (0..CLASSES).map(|class| recall(model, class)).sum::<f64>() / CLASSES as f64;
    let [first_balanced, second_balanced] = comparison.balanced_accuracy.unwrap();
    near(first_balanced, mean(&first), 1e-12);
    near(second_balanced, mean(&second), 1e-12);
    assert!(second_balanced > first_balanced);
    // scipy.stats.binomtest(2, 7).pvalue
    near(comparison.p_value, 0.453125, 1e-12);
    assert_eq!(comparison.right_to_wrong[0].second, "bee");

    // Images of the same name that are other files are no pairs.
    let digests = |other: usize| -> DigestsById {
        let digest = |place: usize| if place < other { [1; 32] } else { [0; 32] };
        first.ids.iter().enumerate().map(|(place, id)| (id.clone(), digest(place))).collect()
    };
    let some = first.compare_files(&second, [&digests(0), &digests(10)]).unwrap();
    assert_eq!((some.other_files, some.first.total, some.only_first, some.only_second), (10, 50, 0, 0));
    let none = first.compare_files(&second, [&digests(0), &digests(60)]).unwrap_err();
    assert!(matches!(none, Error::OtherImages { images: 60 }), "{none}");
    let unknown = first.compare_files(&second, [&digests(60), &DigestsById::new()]).unwrap();
    assert_eq!(unknown, comparison, "digests of one alone say nothing");

    second.ids[0] = "other.jpg".to_owned();
    let fewer = first.compare(&second).unwrap();
    assert_eq!((fewer.only_first, fewer.only_second, fewer.first.total), (1, 1, 59));
    second.classes[0] = "wasp".to_owned();
    assert!(first.compare(&second).is_err());
}

#[test]
fn neighbours_find_what_is_nearly_the_same_and_what_is_like_nothing() {
    // Five groups of features around directions of their own; image 7 is nearly image 3, image 50 is far from all.
    let (images, length) = (120, 40);
    // Without a period, unlike a sine: from -1 to 1 by the bits of a product (Weyl's sequence, mixed once).
    let noise = |at: usize| {
        let mixed = (at as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    let mut features: Vec<f32> = (0..images * length)
        .map(|at| {
            let (image, feature) = (at / length, at % length);
            let centre = (1.7 * ((image % 5 + 1) * (feature + 3)) as f64).sin() * 3.0;
            (centre + noise(at)) as f32
        })
        .collect();
    let third = features[3 * length..4 * length].to_vec();
    let seventh = &mut features[7 * length..8 * length];
    seventh.iter_mut().zip(&third).enumerate().for_each(|(at, (to, from))| *to = from + 0.001 * at as f32);
    for (at, value) in features[50 * length..51 * length].iter_mut().enumerate() {
        *value = if at % 2 == 0 { 9.0 } else { -9.0 };
    }
    let found = Neighbours::of(&features, images, 5);
    assert_eq!((found.pairs[0].first, found.pairs[0].second), (3, 7));
    assert!(found.pairs[0].likeness > 0.999);
    assert_eq!(found.outliers[0].index, 50);
    assert_eq!(found.outliers.len(), 5);
}
