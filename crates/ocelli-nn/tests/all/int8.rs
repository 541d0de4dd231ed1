//! Features in 8-bit integers, beside those in f32.

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::{Arch, Error, Int8Features, Network, Ranges, TensorFile};

use crate::common::{images, with_formula_weights};

fn tensor(values: &[f32], [height, width]: [usize; 2]) -> Tensor<4> {
    let count = values.len() / (3 * height * width);
    Tensor::from_data(TensorData::new(values.to_vec(), [count, 3, height, width]), &Device::flex())
}

fn values(features: Tensor<2>) -> Vec<f32> {
    features.into_data().try_into_vec().unwrap()
}

/// The correlation of two lists of numbers.
fn correlation(a: &[f32], b: &[f32]) -> f64 {
    let mean =
        |values: &[f32]| values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let product = |x: &[f32], of_x: f64, y: &[f32], of_y: f64| {
        x.iter().zip(y).map(|(x, y)| (f64::from(*x) - of_x) * (f64::from(*y) - of_y)).sum::<f64>()
    };
    let spread = product(a, mean_a, a, mean_a) * product(b, mean_b, b, mean_b);
    product(a, mean_a, b, mean_b) / spread.sqrt()
}

/// Convolutional networks of every family, with sides that are not even; transformers are refused.
#[test]
fn features_in_integers_are_near_those_in_floats() {
    for &arch in Arch::ALL {
        // Of the large ones, one with factorised convolutions and one without shortcuts.
        let is_large = arch.info().multiply_adds > 5_000;
        if is_large && ![Arch::InceptionV4, Arch::Vgg16Bn].contains(&arch) {
            continue;
        }
        let smallest = arch.info().smallest.max(32);
        let size = [smallest + 1, smallest];
        let network = with_formula_weights(arch.untrained(3, 5, 1, &Device::flex()));
        let images = tensor(&images(3, [3, size[0], size[1]]), size);
        let ranges = network.ranges(images.clone()).unwrap();
        let features = match Int8Features::new(&network, ranges, size) {
            Ok(features) => features,
            Err(Error::NotInt8 { operation }) => {
                println!("{arch}: {operation}");
                let name = arch.to_string();
                assert!(name.starts_with("convnext") || name.starts_with("vit"), "{arch}: {operation}");
                continue;
            }
            Err(error) => panic!("{arch}: {error}"),
        };
        let expected = values(network.infer_features(images.clone()));
        let found = values(features.infer(images.clone()).unwrap());
        assert_eq!(found.len(), expected.len(), "{arch}");
        let correlation = correlation(&found, &expected);
        println!("{arch}: {correlation:.5}");
        // These weights are made up; what bytes lose with them differs by network.
        assert!(correlation > 0.95, "{arch}: {correlation}");
        // Each image by itself, and images of another size.
        let alone = values(features.infer(images.clone().narrow(0, 1, 1)).unwrap());
        assert_eq!(alone, found[found.len() / 3..][..alone.len()], "{arch}");
        let smaller = images.narrow(2, 0, smallest).narrow(3, 0, smallest);
        let smaller = features.infer(smaller).unwrap();
        assert_eq!(smaller.dims(), [3, found.len() / 3], "{arch}");
    }
}

/// With published weights, whose values are what a photo's are.
#[test]
fn features_of_published_weights() {
    let weights = TensorFile::parse(ocelli_lite0::WEIGHTS, "the built-in weights").unwrap();
    let network: Network = Arch::EfficientNetLite0.published(&weights, 1000, &Device::flex()).unwrap();
    let images = tensor(&images(4, [3, 96, 96]), [96, 96]);
    let features = Int8Features::new(&network, network.ranges(images.clone()).unwrap(), [96, 96]).unwrap();
    let expected = values(network.infer_features(images.clone()));
    let found = values(features.infer(images).unwrap());
    let correlation = correlation(&found, &expected);
    println!("{correlation:.5}");
    assert!(correlation > 0.97, "{correlation}");
}

#[test]
fn values_without_end_are_refused() {
    let network = with_formula_weights(Arch::ResNet18.untrained(3, 5, 1, &Device::flex()));
    let mut some = images(1, [3, 32, 32]);
    some[7] = f32::INFINITY;
    let ranges = network.ranges(tensor(&some, [32, 32])).unwrap();
    let error = Int8Features::new(&network, ranges, [32, 32]).unwrap_err();
    assert!(matches!(&error, Error::NoRange { value, .. } if value == "images"), "{error}");
    some[7] = f32::NAN;
    let mut ranges = network.ranges(tensor(&images(1, [3, 32, 32]), [32, 32])).unwrap();
    ranges.merge(&network.ranges(tensor(&some, [32, 32])).unwrap());
    let error = Int8Features::new(&network, ranges, [32, 32]).unwrap_err();
    assert!(matches!(&error, Error::NoRange { .. }), "{error}");
}

#[test]
fn ranges_of_another_network_are_refused() {
    let network = |arch: Arch| with_formula_weights(arch.untrained(3, 5, 1, &Device::flex()));
    let images = tensor(&images(2, [3, 32, 32]), [32, 32]);
    let ranges = network(Arch::ResNet34).ranges(images.clone()).unwrap();
    for (arch, ranges) in [(Arch::ResNet18, ranges), (Arch::ResNet18, Ranges::default())] {
        let error = Int8Features::new(&network(arch), ranges, [32, 32]).unwrap_err();
        assert!(matches!(&error, Error::OtherRanges { .. }), "{error}");
    }
    let network = network(Arch::ResNet18);
    let features = Int8Features::new(&network, network.ranges(images.clone()).unwrap(), [32, 32]).unwrap();
    assert_eq!(features.infer(images.clone()).unwrap().dims(), network.infer_features(images).dims());
}
