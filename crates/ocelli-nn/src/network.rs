//! A whole classifier: backbone and head, in layer groups.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};

use crate::builder::{Names, build};
use crate::op::{self, Precision, to_precision};
use crate::pass::SeenStatistics;
use crate::{
    AnyBackbone, Backbone, Builder, Classifier, Error, Head, Pass, Result, TensorFile, TransferHead,
};

/// A backbone with a head on it.
///
/// Images are `[images, channels, height, width]`, usually of 3 channels, normalised as the architecture asks. Parameters live on the CPU or
/// another device with autodiff; inference passes do without it.
#[derive(Module, Debug)]
pub struct Network<B: Backbone = AnyBackbone> {
    backbone: B,
    head: B::Head,
    #[module(skip)]
    names: Names,
    #[module(skip)]
    precision: Precision,
    /// The parameters of the head.
    #[module(skip)]
    of_head: Arc<HashSet<ParamId>>,
    #[module(skip)]
    input_channels: usize,
}

/// The number of layer groups of every network: early body, late body, head.
pub const GROUPS: usize = 3;

/// What a tensor of a network is, for those who treat kinds differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The weights of a convolution or linear layer, which weight decay pulls to 0.
    Weight,
    /// A bias, a norm's factor or shift, a layer's scale, the places of tokens.
    Vector,
    /// A running mean or variance: no gradient reaches it.
    Statistic,
}

/// A tensor's place in its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// The layer group, 0 to [`GROUPS`] − 1.
    pub group: usize,
    /// What it is.
    pub kind: Kind,
}

/// The path of a new head's tensors.
pub(crate) const HEAD: &str = "head";

impl<B: Backbone> Network<B> {
    /// A network of parts whose parameters a [`Builder`](crate::Builder) has made and named.
    pub fn new(backbone: B, head: B::Head, names: Names) -> Self {
        let of_head = Arc::new(paths(&head).into_keys().collect());
        Self { backbone, head, names, precision: Precision::F32, of_head, input_channels: 3 }
    }

    /// A network of any two modules. The backbone's parameters are named by the paths of their fields, such as
    /// `blocks.0.conv.weight`, the head's likewise with `head.` before them.
    pub fn from_modules(backbone: B, head: B::Head) -> Self {
        let mut names: BTreeMap<ParamId, String> = paths(&backbone);
        names.extend(paths(&head).into_iter().map(|(id, path)| (id, format!("{HEAD}.{path}"))));
        Self::new(with_autodiff(backbone), with_autodiff(head), Arc::new(names))
    }

    /// Says that images have another number of channels than 3.
    pub fn for_channels(mut self, channels: usize) -> Self {
        self.input_channels = channels;
        self
    }

    /// The number of channels that images must have.
    pub fn input_channels(&self) -> usize {
        self.input_channels
    }

    /// Sets the precision of the activations in the backbone, f32 at first. On devices other than the CPU, and in
    /// backbones that do not take it, all is f32.
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// The precision of the activations in the backbone.
    pub fn precision(&self) -> Precision {
        let takes_it = self.backbone.takes_any_precision() && op::is_cpu(&self.device());
        if takes_it { self.precision } else { Precision::F32 }
    }

    /// The backbone.
    pub fn backbone(&self) -> &B {
        &self.backbone
    }

    /// The head.
    pub fn head(&self) -> &B::Head {
        &self.head
    }

    /// The first stage of each layer group of the backbone, and the number of stages: `[0, border, stages]`.
    /// Freezing the first `n` groups freezes the stages before entry `n`.
    pub fn group_starts(&self) -> [usize; GROUPS] {
        [0, self.backbone.group_border(), self.backbone.stages()]
    }

    /// Logits `[images, classes]` as the network is used: no autodiff, statistics folded, no dropout.
    pub fn infer(&self, images: Tensor<4>) -> Tensor<2> {
        let maps = self.infer_stages(images, 0, self.backbone.stages());
        self.infer_head(self.pool(maps))
    }

    /// Runs the stages `from..to` as they are used.
    pub fn infer_stages(&self, input: Tensor<4>, from: usize, to: usize) -> Tensor<4> {
        let input = to_precision(input, self.precision());
        (from..to).fold(input, |x, stage| self.backbone.forward_stage(stage, x, &Pass::Inference).inner())
    }

    /// Logits from pooled features, as the network is used.
    pub fn infer_head(&self, pooled: Tensor<2>) -> Tensor<2> {
        self.head.classify(pooled, &Pass::Inference).inner()
    }

    /// Pools the last stage's feature maps: `[images, channels, height, width]` to `[images, pooled]`.
    pub fn pool(&self, maps: Tensor<4>) -> Tensor<2> {
        self.head.pool(maps)
    }

    /// Logits of the stages from `from` on and the head, in the given pass; `input` is what stage `from` takes.
    pub fn forward_from(&self, from: usize, input: Tensor<4>, pass: &Pass) -> Tensor<2> {
        let stages = from..self.backbone.stages();
        let input = to_precision(input, self.precision());
        let maps = stages.fold(input, |x, stage| self.backbone.forward_stage(stage, x, pass));
        self.head.classify(self.pool(maps), pass)
    }

    /// Logits of the head alone, in the given pass, from pooled features.
    pub fn forward_head(&self, pooled: Tensor<2>, pass: &Pass) -> Tensor<2> {
        self.head.classify(pooled, pass)
    }

    /// The published name of a parameter of this network.
    ///
    /// # Panics
    /// Where the parameter is of no network.
    pub fn name(&self, id: ParamId) -> &str {
        &self.names[&id]
    }

    /// The layer group and kind of a parameter of this network.
    ///
    /// # Panics
    /// Where the parameter is of no network.
    pub fn place(&self, id: ParamId, dimensions: usize) -> Place {
        let name = self.name(id);
        let group = if self.of_head.contains(&id) {
            2
        } else {
            usize::from(self.backbone.stage_of(name) >= self.backbone.group_border())
        };
        let kind = match name.rsplit('.').next() {
            Some("running_mean" | "running_var") => Kind::Statistic,
            Some("weight") if dimensions > 1 => Kind::Weight,
            _ => Kind::Vector,
        };
        Place { group, kind }
    }

    /// Lets gradients reach the layer groups from `first` on, and no others.
    pub fn train_groups_from(self, first: usize) -> Self {
        struct Trainable(HashMap<ParamId, Place>, usize);
        impl ModuleMapper for Trainable {
            fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
                let place = self.0[&parameter.id];
                parameter.set_require_grad(place.group >= self.1 && place.kind != Kind::Statistic)
            }
        }
        let places = self.places();
        self.map(&mut Trainable(places, first))
    }

    /// Moves the running statistics by what a training pass has seen.
    pub fn update_statistics(self, seen: Vec<SeenStatistics>) -> Self {
        struct Update(HashMap<ParamId, (Tensor<1>, f64)>);
        impl ModuleMapper for Update {
            fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
                let Some((new, momentum)) = self.0.remove(&parameter.id) else { return parameter };
                parameter.map(|old| {
                    let new: Tensor<D> = new.reshape(old.shape());
                    let old = old.inner().mul_scalar(1.0 - momentum);
                    (old + new.mul_scalar(momentum)).autodiff().set_require_grad(false)
                })
            }
        }
        let update = seen
            .into_iter()
            .flat_map(|seen| {
                [
                    (seen.mean.0, (seen.mean.1, seen.momentum)),
                    (seen.variance.0, (seen.variance.1, seen.momentum)),
                ]
            })
            .collect();
        self.map(&mut Update(update))
    }

    /// Every parameter's place.
    pub fn places(&self) -> HashMap<ParamId, Place> {
        struct Places<'a, B: Backbone>(&'a Network<B>, HashMap<ParamId, Place>);
        impl<B: Backbone> ModuleVisitor for Places<'_, B> {
            fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
                self.1.insert(parameter.id, self.0.place(parameter.id, D));
            }
        }
        let mut places = Places(self, HashMap::new());
        self.visit(&mut places);
        places.1
    }

    /// The number of trainable parameters of each layer group, running statistics not counted.
    pub fn parameters(&self) -> [usize; GROUPS] {
        struct Count<'a, B: Backbone>(&'a Network<B>, [usize; GROUPS]);
        impl<B: Backbone> ModuleVisitor for Count<'_, B> {
            fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
                let place = self.0.place(parameter.id, D);
                if place.kind != Kind::Statistic {
                    self.1[place.group] += parameter.val().shape().num_elements();
                }
            }
        }
        let mut count = Count(self, [0; GROUPS]);
        self.visit(&mut count);
        count.1
    }

    /// All tensors under their published names, those of the head under `head.`.
    pub fn to_tensors(&self) -> TensorFile {
        struct Collect<'a, B: Backbone>(&'a Network<B>, TensorFile);
        impl<B: Backbone> ModuleVisitor for Collect<'_, B> {
            fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
                let tensor = parameter.val().inner();
                let shape = tensor.dims().to_vec();
                let values = tensor.into_data().convert::<f32>().try_into_vec().expect("converted to f32");
                self.1.insert(self.0.name(parameter.id), shape, values);
            }
        }
        let mut collect = Collect(self, TensorFile::new("a network"));
        self.visit(&mut collect);
        collect.1
    }

    /// The same network with the values of `tensors`, which must be exactly its own by name and shape, as
    /// [`to_tensors`](Self::to_tensors) gives them. What is trained stays as it is.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where tensors are missing, of another shape, or too many.
    pub fn with_tensors(self, tensors: &TensorFile) -> Result<Self> {
        struct Load<'a> {
            names: &'a Names,
            tensors: &'a TensorFile,
            missing: Vec<String>,
            misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
        }
        impl ModuleMapper for Load<'_> {
            fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
                let name = &self.names[&parameter.id];
                let shape = parameter.val().dims();
                match self.tensors.get(name) {
                    None => self.missing.push(name.clone()),
                    Some(tensor) if tensor.shape != shape => {
                        self.misshapen.push((name.clone(), tensor.shape.clone(), shape.to_vec()));
                    }
                    Some(tensor) => {
                        return parameter.map(|old| {
                            let values = TensorData::new(tensor.values.clone(), shape);
                            let new = Tensor::from_data(values, &old.device().inner()).autodiff();
                            new.set_require_grad(old.is_require_grad())
                        });
                    }
                }
                parameter
            }
        }
        let names = self.names.clone();
        let (missing, misshapen) = (Vec::new(), Vec::new());
        let mut load = Load { names: &names, tensors, missing, misshapen };
        let network = self.map(&mut load);
        let (missing, misshapen) = (load.missing, load.misshapen);
        let known: HashSet<&String> = names.values().collect();
        let unexpected: Vec<String> =
            tensors.names().map(str::to_owned).filter(|name| !known.contains(name)).collect();
        if missing.is_empty() && misshapen.is_empty() && unexpected.is_empty() {
            return Ok(network);
        }
        let (origin, architecture) = (tensors.origin().to_owned(), "this network".to_owned());
        Err(Error::Mismatch { origin, architecture, missing, misshapen, unexpected })
    }

    /// A copy to be kept while this network is trained. Clones share the running statistics of Burn's own batch norms,
    /// which training moves in place; a copy has its own.
    pub fn copy(&self) -> Self {
        #[derive(Default)]
        struct Trained(HashSet<ParamId>);
        impl ModuleVisitor for Trained {
            fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
                if parameter.val().is_require_grad() {
                    self.0.insert(parameter.id);
                }
            }
        }
        impl ModuleMapper for Trained {
            fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
                let trained = self.0.contains(&parameter.id);
                parameter.map(Tensor::autodiff).set_require_grad(trained)
            }
        }
        let mut trained = Trained::default();
        self.visit(&mut trained);
        // Of all that Burn does to modules this alone gives running statistics a place of their own.
        self.valid().map(&mut trained)
    }

    /// The device of the parameters, without autodiff.
    pub fn device(&self) -> Device {
        self.devices().remove(0).inner()
    }
}

impl<B: Backbone<Head = Head>> Network<B> {
    /// A backbone of the user's own under a new head for transfer learning, drawn from `seed`. The backbone's
    /// parameters are named as in [`from_modules`](Self::from_modules).
    pub fn with_transfer_head(backbone: B, classes: usize, seed: u64) -> Self {
        let device = backbone.devices().pop().unwrap_or_else(Device::flex).inner();
        let construct = |builder: &Builder| {
            TransferHead::new(&builder.at(HEAD), backbone.pool(), backbone.channels(), classes)
        };
        let (head, of_head) = build("a head", &device, None, |_| true, seed, 3, construct)
            .expect("without a file there is nothing to mismatch");
        let mut names = paths(&backbone);
        names.extend(of_head.iter().map(|(id, name)| (*id, name.clone())));
        Self::new(with_autodiff(backbone), Head::Transfer(head), Arc::new(names))
    }
}

/// A module whose parameters are ready for autodiff, and none of which is trained.
fn with_autodiff<M: Module>(module: M) -> M {
    struct WithAutodiff;
    impl ModuleMapper for WithAutodiff {
        fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
            parameter.map(Tensor::autodiff).set_require_grad(false)
        }
    }
    module.map(&mut WithAutodiff)
}

/// The paths of a module's parameters.
fn paths(module: &impl Module) -> BTreeMap<ParamId, String> {
    #[derive(Default)]
    struct Paths(Vec<String>, BTreeMap<ParamId, String>);
    impl ModuleVisitor for Paths {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.to_owned());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }

        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            self.1.insert(parameter.id, self.0.join("."));
        }
    }
    let mut paths = Paths::default();
    module.visit(&mut paths);
    paths.1
}
