//! What every family of networks promises, on weights that are drawn: no file is needed.

use std::collections::BTreeSet;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor};
use ocelli_nn::{Arch, Backbone, Classifier, Network, ParamKind, Pass, Publisher, Statistics, TensorFile};
use rand_distr::{StandardNormal, Uniform};

use super::random::random;

/// One network of each family and kind of block, and an image that it finds awkward: odd sides, as small as can be.
const FAMILIES: [(Arch, [usize; 2]); 14] = [
    (Arch::ResNet18, [45, 39]),
    (Arch::ResNet50, [33, 41]),
    (Arch::ResNext50_32x4d, [33, 33]),
    (Arch::Vgg16Bn, [33, 47]),
    (Arch::DenseNet121, [39, 33]),
    (Arch::InceptionV4, [75, 83]),
    (Arch::InceptionResNetV2, [83, 75]),
    (Arch::MobileNetV2, [33, 45]),
    (Arch::MobileNetV3Large, [45, 33]),
    (Arch::EfficientNetB0, [35, 43]),
    (Arch::EfficientNetLite0, [43, 35]),
    (Arch::ConvNextAtto, [37, 45]),
    (Arch::ConvNextTiny, [45, 37]),
    (Arch::VitTinyPatch16, [53, 39]),
];

fn images(channels: usize, [height, width]: [usize; 2]) -> Tensor<4> {
    random([2, channels, height, width], StandardNormal, 5, &Device::flex())
}

/// Weights that are drawn, with norms that are not the identity and scales that let branches through.
fn network(arch: Arch) -> Network {
    struct Stir {
        seed: u64,
    }
    impl ModuleMapper for Stir {
        fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
            self.seed += 1;
            parameter.map(|tensor| {
                if tensor.shape().num_elements() > 4096 {
                    return tensor;
                }
                let range = Uniform::new(0.05, 0.15).expect("a range");
                let noise = random(tensor.dims(), range, self.seed, &tensor.device().inner());
                (tensor.inner() + noise).autodiff()
            })
        }
    }
    arch.untrained(3, 4, 1, &Device::flex()).map(&mut Stir { seed: 11 }).train_groups_from(0)
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// The names of the parameters that a gradient has reached.
fn reached(network: &Network, gradients: &Gradients) -> BTreeSet<String> {
    struct Reached<'a>(&'a Network, &'a Gradients, BTreeSet<String>);
    impl ModuleVisitor for Reached<'_> {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            let name = self.0.name(parameter.id);
            if let Some(gradient) = parameter.val().grad(self.1) {
                let gradient = numbers(gradient);
                assert!(gradient.iter().all(|x| x.is_finite()), "{name}: a gradient that is no number");
                if gradient.iter().any(|x| *x != 0.0) {
                    self.2.insert(name.to_owned());
                }
            }
        }
    }
    let mut reached = Reached(network, gradients, BTreeSet::new());
    network.visit(&mut reached);
    reached.2
}

/// The names of the parameters of a stage that are to be trained.
fn trained(network: &Network, stage: usize) -> BTreeSet<String> {
    struct Trained<'a>(&'a Network, usize, BTreeSet<String>);
    impl ModuleVisitor for Trained<'_> {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            let (name, role) = (self.0.name(parameter.id), self.0.role(parameter.id, D));
            let in_body = role.group < 2 && self.0.backbone().stage_of(name) == self.1;
            if in_body && role.kind != ParamKind::RunningStat {
                self.2.insert(name.to_owned());
            }
        }
    }
    let mut trained = Trained(network, stage, BTreeSet::new());
    network.visit(&mut trained);
    trained.2
}

/// Stage by stage: the frozen pass computes what the training pass does on running statistics, and the gradient
/// reaches all parameters that the stage says are its, and no others.
fn check_stages(arch: Arch, size: [usize; 2]) {
    let network = network(arch);
    let body = network.backbone();
    let mut maps = images(3, size);
    let mut seen = BTreeSet::new();
    for stage in 0..body.stages() {
        let pass = Pass::train(Statistics::Running, 0);
        let output = body.forward_stage(stage, maps.clone().autodiff(), &pass);
        maps = body.forward_stage(stage, maps, &Pass::Infer);
        assert!(!maps.is_autodiff(), "{arch}, stage {stage}: inference goes without autodiff");
        let (frozen, training) = (numbers(maps.clone()), numbers(output.clone()));
        let spread = training.iter().fold(1e-3f32, |most, x| most.max(x.abs()));
        for (frozen, training) in frozen.iter().zip(&training) {
            let difference = (frozen - training).abs() / spread;
            assert!(difference < 1e-4, "{arch}, stage {stage}: {frozen} frozen, {training} in training");
        }
        // Not the plain sum, whose gradient a norm takes away.
        let weights = random(output.dims(), StandardNormal, stage as u64, &Device::flex());
        let reached = reached(&network, &(output * weights).sum().backward());
        assert_eq!(reached, trained(&network, stage), "{arch}, stage {stage}");
        seen.extend(reached);
        // Drawn weights let some networks grow from stage to stage.
        maps = maps.div_scalar(spread);
    }
    let [early, late, _] = network.parameters();
    assert!(early > 0 && late > 0, "{arch}: {early} early parameters, {late} late ones");
    assert_eq!(maps.dims()[1], body.channels(), "{arch}");
    assert_eq!(numbers(network.infer_head(network.pool(maps))).len(), 2 * network.head().classes());
    let names = network.to_tensors();
    let of_body = names.names().filter(|name| !name.starts_with("head.") && !name.contains("running_"));
    assert_eq!(seen.len(), of_body.count(), "{arch}: every tensor of the body is trained by some stage");
}

#[test]
fn stages_of_residual_networks() {
    FAMILIES[..3].iter().for_each(|&(arch, size)| check_stages(arch, size));
}

#[test]
fn stages_of_vgg_and_densenet() {
    FAMILIES[3..5].iter().for_each(|&(arch, size)| check_stages(arch, size));
}

#[test]
fn stages_of_inceptions() {
    FAMILIES[5..7].iter().for_each(|&(arch, size)| check_stages(arch, size));
}

#[test]
fn stages_of_small_networks() {
    FAMILIES[7..11].iter().for_each(|&(arch, size)| check_stages(arch, size));
}

#[test]
fn stages_of_convnext_and_vision_transformer() {
    FAMILIES[11..].iter().for_each(|&(arch, size)| check_stages(arch, size));
}

#[test]
fn layer_groups_are_those_of_fastai() {
    let groups = |arch: Arch, classes| arch.untrained(3, classes, 0, &Device::flex()).parameters();
    // fastai 0.7, counted there: early layers, late layers, head of 2 classes, head of 120.
    for (arch, early, late, two, many) in [
        (Arch::ResNet18, 683_072, 10_493_440, 528_898, 589_432),
        (Arch::ResNet34, 1_347_904, 19_936_768, 528_898, 589_432),
        (Arch::ResNet50, 1_444_928, 22_063_104, 2_107_906, 2_168_440),
        (Arch::Vgg16Bn, 1_737_792, 12_985_344, 528_898, 589_432),
    ] {
        assert_eq!(groups(arch, 2), [early, late, two], "{arch}");
        assert_eq!(groups(arch, 120)[2], many, "{arch}");
    }
    assert_eq!(groups(Arch::DenseNet121, 2)[..2], [1_297_536, 5_656_320]);
}

#[test]
fn heads_take_what_fastais_take() {
    for (arch, features) in [
        (Arch::ResNet34, 1024),
        (Arch::ResNet101, 4096),
        (Arch::ResNext50_32x4d, 4096),
        (Arch::WideResNet50_2, 4096),
        (Arch::Vgg19Bn, 1024),
        (Arch::DenseNet121, 2048),
        (Arch::DenseNet161, 4416),
        (Arch::DenseNet169, 3328),
        (Arch::DenseNet201, 3840),
        (Arch::InceptionV4, 3072),
        (Arch::InceptionResNetV2, 3072),
    ] {
        let network = arch.untrained(3, 2, 0, &Device::flex());
        assert_eq!(network.to_tensors().get("head.2.weight").unwrap().shape, [features], "{arch}");
    }
}

#[test]
fn the_registry_says_what_networks_are() {
    for (arch, _) in FAMILIES {
        let (info, network) = (arch.info(), network(arch));
        let body = network.backbone();
        assert_eq!(
            body.stage_of(&format!("{}.weight", info.late)),
            body.group_boundary(),
            "{arch}: {}",
            info.late
        );
        let smallest = network.infer(images(3, [info.smallest; 2]));
        assert!(numbers(smallest).iter().all(|x| x.is_finite()), "{arch} at {} px", info.smallest);
    }
}

#[test]
fn first_convolutions_fit_images_of_other_channels() {
    for arch in [Arch::ResNet18, Arch::MobileNetV2, Arch::ConvNextAtto, Arch::VitTinyPatch16] {
        let weights = network(arch).to_tensors();
        let transfer = |channels| arch.transfer_channels(&weights, channels, 4, 7, &Device::flex()).unwrap();
        let grey = images(1, [64, 64]);
        let colours = numbers(transfer(3).infer(grey.clone().repeat_dim(1, 3)));
        for channels in [1, 2, 4, 6] {
            let logits = numbers(transfer(channels).infer(grey.clone().repeat_dim(1, channels)));
            let spread = colours.iter().fold(0f32, |most, x| most.max(x.abs()));
            for (seen, wanted) in logits.iter().zip(&colours) {
                // Of 2 or 4 channels, some colours count for more than others.
                let same = (seen - wanted).abs() < 1e-4 * spread;
                assert!(same || channels % 3 != 0 && channels > 1, "{arch}, {channels} channels");
            }
        }
    }
}

#[test]
fn weights_of_another_size_are_listed() {
    let weights = Arch::ResNet34.untrained(3, 2, 0, &Device::flex()).to_tensors();
    let error = Arch::ResNet18.transfer(&weights, 2, 0, &Device::flex()).unwrap_err().to_string();
    assert!(error.contains("resnet18") && error.contains("layer1.2") && error.contains("more"), "{error}");
    assert_eq!(Arch::ResNet34.dropped_tensors(&weights).len(), 12, "the head is set aside");
    assert!(Arch::ResNet34.transfer(&weights, 2, 0, &Device::flex()).is_ok());

    let network = Arch::ResNet18.untrained(3, 2, 0, &Device::flex());
    let mut other = network.to_tensors();
    other.insert("head.8.bias", vec![3], vec![0.0; 3]);
    other.insert("extra", vec![1], vec![0.0]);
    let mut fewer = TensorFile::new("fewer");
    for name in other.names().filter(|name| *name != "conv1.weight") {
        let tensor = other.get(name).unwrap();
        fewer.insert(name, tensor.shape.clone(), tensor.values.clone());
    }
    let error = network.with_tensors(&fewer).unwrap_err().to_string();
    for word in ["conv1.weight", "head.8.bias is [3], expected [2]", "extra"] {
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn every_entry_is_complete_and_found_by_its_names() {
    for arch in Arch::ALL {
        let info = arch.info();
        assert_eq!(info.name.parse::<Arch>().unwrap(), *arch);
        assert_eq!(info.published_name().parse::<Arch>().unwrap(), *arch);
        assert!(info.accuracy > 0.5 && info.accuracy < 1.0, "{arch}: accuracy {}", info.accuracy);
        assert!(info.parameters > 1_000_000 && info.multiply_adds > 100, "{arch}: {info:?}");
        let has_source = match info.publisher {
            Publisher::Torchvision { file } => file.starts_with(info.name) && file.ends_with(".pth"),
            Publisher::Timm { name, repository } => repository.starts_with(&format!("timm/{name}.")),
        };
        assert!(has_source, "{arch}: {:?}", info.publisher);
    }
    let names: BTreeSet<&str> = Arch::ALL.iter().map(|arch| arch.name()).collect();
    assert_eq!(names.len(), Arch::ALL.len(), "no name stands twice");
}
