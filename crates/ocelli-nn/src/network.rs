//! A whole classifier: backbone and head, in layer groups.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};

use crate::builder::{Names, build};
use crate::layer::Pool;
use crate::op::{self, Precision, to_precision};
use crate::pass::BatchStats;
use crate::{
    AnyBackbone, Backbone, Builder, Classifier, Error, Head, HeadForm, Pass, Result, TensorFile, TransferHead,
};

/// A backbone with a head on it.
///
/// Images are `[images, channels, height, width]`, usually of 3 channels, normalised as the architecture
/// requires. Parameters live on the CPU or another device with autodiff; inference passes do without it.
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
    head_ids: Arc<HashSet<ParamId>>,
    #[module(skip)]
    input_channels: usize,
    /// The stages before the last whose output is pooled too, ascending.
    #[module(skip)]
    depths: Vec<usize>,
}

/// What the first stages of a network put out: the input of the others.
#[derive(Debug, Clone)]
pub struct StageOutput {
    /// The feature maps of the last of them, or the images: `[images, channels, height, width]`.
    pub maps: Tensor<4>,
    /// The pooled outputs of those of them that are depths, in order: `[images, channels]`.
    pub depths: Vec<Tensor<2>>,
}

impl StageOutput {
    /// The same values as new inputs, whose gradients do not reach what they were computed from.
    pub fn detached(&self) -> Self {
        let new = |values: Tensor<2>| values.inner().autodiff().require_grad();
        Self {
            maps: self.maps.clone().inner().autodiff().require_grad(),
            depths: self.depths.iter().cloned().map(new).collect(),
        }
    }

    /// That of some of the images.
    pub fn narrow(&self, images: &Range<usize>) -> Self {
        Self {
            maps: self.maps.clone().narrow(0, images.start, images.len()),
            depths: self
                .depths
                .iter()
                .map(|depth| depth.clone().narrow(0, images.start, images.len()))
                .collect(),
        }
    }
}

/// Maps alone, for networks without depths before them.
impl From<Tensor<4>> for StageOutput {
    fn from(maps: Tensor<4>) -> Self {
        Self { maps, depths: Vec::new() }
    }
}

/// The number of layer groups of every network: early backbone, late backbone, head.
pub const GROUPS: usize = 3;

/// The kind of a parameter, for weight decay and freezing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParamKind {
    /// The weights of a convolution or linear layer, which weight decay shrinks.
    Weight,
    /// A bias, a norm's weight or bias, a layer scale, a class token, a position embedding.
    BiasOrNorm,
    /// A running mean or variance: no gradient reaches it.
    RunningStat,
}

/// A parameter's role in its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ParamRole {
    /// The layer group, 0 to [`GROUPS`] − 1.
    pub group: usize,
    /// What it is.
    pub kind: ParamKind,
}

/// The prefix of a new head's tensor names.
pub(crate) const HEAD: &str = "head";

impl<B: Backbone> Network<B> {
    /// A network of parts whose parameters a [`Builder`](crate::Builder) has made and named.
    pub fn new(backbone: B, head: B::Head, names: Names) -> Self {
        let head_ids = Arc::new(paths(&head).into_keys().collect());
        Self {
            backbone,
            head,
            names,
            precision: Precision::F32,
            head_ids,
            input_channels: 3,
            depths: Vec::new(),
        }
    }

    /// A network of any two modules. The backbone's parameters are named by the paths of their fields, such
    /// as `blocks.0.conv.weight`, the head's likewise with `head.` before them.
    pub fn from_modules(backbone: B, head: B::Head) -> Self {
        let mut names: BTreeMap<ParamId, String> = paths(&backbone);
        names.extend(paths(&head).into_iter().map(|(id, path)| (id, format!("{HEAD}.{path}"))));
        Self::new(with_autodiff(backbone), with_autodiff(head), Arc::new(names))
    }

    /// Sets the number of channels of the images, 3 at first.
    pub fn with_input_channels(mut self, channels: usize) -> Self {
        self.input_channels = channels;
        self
    }

    /// The number of channels that images must have.
    pub fn input_channels(&self) -> usize {
        self.input_channels
    }

    /// Sets the precision of the activations in the backbone, f32 at first. On devices other than the CPU,
    /// and in backbones that do not take it, all is f32.
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

    /// The first stage of each layer group of the backbone, and the number of stages: `[0, boundary,
    /// stages]`. Freezing the first `n` groups freezes the stages before entry `n`.
    pub fn group_boundaries(&self) -> [usize; GROUPS] {
        [0, self.backbone.group_boundary(), self.backbone.stages()]
    }

    /// The stages before the last whose output is pooled too, ascending; none in most networks.
    pub fn depths(&self) -> &[usize] {
        &self.depths
    }

    /// Checks that these can be depths of the backbone.
    ///
    /// # Errors
    /// [`Error::HeadForm`] where they are not stages before the last, or do not ascend.
    pub fn check_depths(&self, depths: &[usize]) -> Result<()> {
        let before_last = self.backbone.stages() - 1;
        let ascending = depths.is_sorted_by(|a, b| a < b);
        if ascending && depths.iter().all(|depth| *depth < before_last) {
            return Ok(());
        }
        Err(Error::HeadForm { depths: depths.to_owned(), before_last })
    }

    /// How the head pools the last stage's output; `None` for a custom module.
    pub fn pooling(&self) -> Option<Pool> {
        self.head.pooling()
    }

    /// What the head is, so that it can be built again; `None` for a custom head.
    pub fn head_form(&self) -> Option<HeadForm> {
        self.head.kind().map(|kind| HeadForm { kind, depths: self.depths.clone() })
    }

    /// Logits `[images, classes]` in inference: no autodiff, statistics folded, no dropout.
    pub fn infer(&self, images: Tensor<4>) -> Tensor<2> {
        self.infer_head(self.infer_features(images))
    }

    /// The pooled features of images in inference, `[images, features]`: the means of every channel of the
    /// [depths](Self::depths), in their order, then the last stage's output, pooled as the head does.
    pub fn infer_features(&self, images: Tensor<4>) -> Tensor<2> {
        self.infer_features_from(0, images)
    }

    /// The same from what the stages before `from` put out.
    pub fn infer_features_from(&self, from: usize, input: impl Into<StageOutput>) -> Tensor<2> {
        self.features_of(self.infer_stages(input, from, self.backbone.stages()))
    }

    /// Runs some stages, and pools the depths among them.
    fn run(&self, input: StageOutput, stages: Range<usize>, pass: &Pass) -> StageOutput {
        let StageOutput { maps, mut depths } = input;
        let maps = stages.fold(to_precision(maps, self.precision()), |x, stage| {
            let maps = self.backbone.forward_stage(stage, x, pass);
            let maps = if matches!(pass, Pass::Infer) { maps.inner() } else { maps };
            if self.depths.contains(&stage) {
                depths.push(Pool::Average.forward(maps.clone()));
            }
            maps
        });
        StageOutput { maps, depths }
    }

    /// The features of what all stages put out.
    ///
    /// # Panics
    /// Where a depth is missing, since only maps were given to stages after it.
    fn features_of(&self, StageOutput { maps, mut depths }: StageOutput) -> Tensor<2> {
        assert_eq!(depths.len(), self.depths.len(), "features of the depths that the head takes");
        let last = self.pool(maps);
        if depths.is_empty() {
            return last;
        }
        depths.push(last);
        op::concat_features(depths)
    }

    /// The number of features of each of these stages, and of the last stage, found by running one image of
    /// this many pixels on a side.
    pub fn feature_widths(&self, depths: &[usize], size: usize) -> Vec<usize> {
        let black = Tensor::zeros([1, self.input_channels, size, size], &self.device());
        let input = to_precision(black, self.precision());
        let mut widths = Vec::new();
        let maps = (0..self.backbone.stages()).fold(input, |x, stage| {
            let maps = self.backbone.forward_stage(stage, x, &Pass::Infer).inner();
            if depths.contains(&stage) {
                widths.push(maps.dims()[1]);
            }
            maps
        });
        widths.push(self.pool(maps).dims()[1]);
        widths
    }

    /// Runs the stages `from..to` in inference, and pools the [depths](Self::depths) among them.
    pub fn infer_stages(&self, input: impl Into<StageOutput>, from: usize, to: usize) -> StageOutput {
        self.run(input.into(), from..to, &Pass::Infer)
    }

    /// Logits from pooled features, in inference.
    pub fn infer_head(&self, pooled: Tensor<2>) -> Tensor<2> {
        self.head.classify(pooled, &Pass::Infer).inner()
    }

    /// Pools the last stage's feature maps: `[images, channels, height, width]` to `[images, pooled]`.
    pub fn pool(&self, maps: Tensor<4>) -> Tensor<2> {
        self.head.pool(maps)
    }

    /// Logits of the stages from `from` on and the head, in the given pass; `input` is what stage `from`
    /// takes.
    ///
    /// # Panics
    /// Where the network has a [depth](Self::depths) before `from`, and `input` is maps alone.
    pub fn forward_from(&self, from: usize, input: impl Into<StageOutput>, pass: &Pass) -> Tensor<2> {
        self.head.classify(self.forward_features_from(from, input, pass), pass)
    }

    /// Runs the stages `from..to` in the given pass, and pools the [depths](Self::depths) among them.
    pub fn forward_stages(
        &self,
        input: impl Into<StageOutput>,
        from: usize,
        to: usize,
        pass: &Pass,
    ) -> StageOutput {
        self.run(input.into(), from..to, pass)
    }

    /// The pooled features that the head takes, likewise.
    ///
    /// # Panics
    /// As [`forward_from`](Self::forward_from).
    pub fn forward_features_from(
        &self,
        from: usize,
        input: impl Into<StageOutput>,
        pass: &Pass,
    ) -> Tensor<2> {
        self.features_of(self.run(input.into(), from..self.backbone.stages(), pass))
    }

    /// Logits of the head alone, in the given pass, from pooled features.
    pub fn forward_head(&self, pooled: Tensor<2>, pass: &Pass) -> Tensor<2> {
        self.head.classify(pooled, pass)
    }

    /// The published name of a parameter of this network.
    ///
    /// # Panics
    /// Where the parameter is not of this network.
    pub fn name(&self, id: ParamId) -> &str {
        &self.names[&id]
    }

    /// The layer group and kind of a parameter of this network.
    ///
    /// # Panics
    /// Where the parameter is not of this network.
    pub fn role(&self, id: ParamId, dimensions: usize) -> ParamRole {
        let name = self.name(id);
        let group = if self.head_ids.contains(&id) {
            2
        } else {
            usize::from(self.backbone.stage_of(name) >= self.backbone.group_boundary())
        };
        let kind = match name.rsplit('.').next() {
            Some("running_mean" | "running_var") => ParamKind::RunningStat,
            Some("weight") if dimensions > 1 => ParamKind::Weight,
            _ => ParamKind::BiasOrNorm,
        };
        ParamRole { group, kind }
    }

    /// Lets gradients reach the layer groups from `first` on, and no others.
    pub fn train_groups_from(self, first: usize) -> Self {
        struct Trainable(HashMap<ParamId, ParamRole>, usize);
        impl ModuleMapper for Trainable {
            fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
                let role = self.0[&parameter.id];
                parameter.set_require_grad(role.group >= self.1 && role.kind != ParamKind::RunningStat)
            }
        }
        let roles = self.roles();
        self.map(&mut Trainable(roles, first))
    }

    /// Updates the running statistics with the batch statistics of a training pass.
    pub fn update_running_stats(self, batch_stats: Vec<BatchStats>) -> Self {
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
        let update = batch_stats
            .into_iter()
            .flat_map(|stats| {
                let BatchStats { mean, variance, momentum } = stats;
                [(mean.0, (mean.1, momentum)), (variance.0, (variance.1, momentum))]
            })
            .collect();
        self.map(&mut Update(update))
    }

    /// The role of every parameter.
    pub fn roles(&self) -> HashMap<ParamId, ParamRole> {
        struct Roles<'a, B: Backbone>(&'a Network<B>, HashMap<ParamId, ParamRole>);
        impl<B: Backbone> ModuleVisitor for Roles<'_, B> {
            fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
                self.1.insert(parameter.id, self.0.role(parameter.id, D));
            }
        }
        let mut roles = Roles(self, HashMap::new());
        self.visit(&mut roles);
        roles.1
    }

    /// The number of trainable parameters of each layer group, running statistics not counted.
    pub fn parameters(&self) -> [usize; GROUPS] {
        let mut groups = [0; GROUPS];
        self.count_parameters(|role, _, number| groups[role.group] += number);
        groups
    }

    /// The number of trainable parameters of each stage of the backbone, running statistics not counted.
    pub fn stage_parameters(&self) -> Vec<usize> {
        let mut stages = vec![0; self.backbone.stages()];
        self.count_parameters(|role, name, number| {
            if role.group + 1 < GROUPS {
                stages[self.backbone.stage_of(name)] += number;
            }
        });
        stages
    }

    /// Calls `add` with the role, the name and the number of values of each trainable parameter.
    fn count_parameters(&self, add: impl FnMut(ParamRole, &str, usize)) {
        struct Count<'a, B: Backbone, F>(&'a Network<B>, F);
        impl<B: Backbone, F: FnMut(ParamRole, &str, usize)> ModuleVisitor for Count<'_, B, F> {
            fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
                let role = self.0.role(parameter.id, D);
                if role.kind != ParamKind::RunningStat {
                    self.1(role, self.0.name(parameter.id), parameter.val().shape().num_elements());
                }
            }
        }
        self.visit(&mut Count(self, add));
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
    /// [`to_tensors`](Self::to_tensors) gives them. Which parameters are trained does not change.
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

    /// A copy that training of this network does not change. Clones share the running statistics of Burn's
    /// own batch norms, which training moves in place; a copy has its own.
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
        // `valid` is the only operation of Burn on modules that copies running statistics.
        self.valid().map(&mut trained)
    }

    /// The same backbone under the head of another network like this one.
    pub fn with_head_of(&self, other: &Self) -> Self {
        let of_head = other.names.iter().filter(|(id, _)| other.head_ids.contains(id));
        self.under(other.head.clone(), of_head.map(|(id, name)| (*id, name.clone())))
    }

    fn under(&self, head: B::Head, head_names: impl Iterator<Item = (ParamId, String)>) -> Self {
        let of_backbone = self.names.iter().filter(|(id, _)| !self.head_ids.contains(id));
        let of_backbone = of_backbone.map(|(id, name)| (*id, name.clone()));
        let names: BTreeMap<ParamId, String> = of_backbone.chain(head_names).collect();
        let network = Self::new(self.backbone.clone(), head, Arc::new(names));
        let (precision, input_channels, depths) = (self.precision, self.input_channels, self.depths.clone());
        Self { precision, input_channels, depths, ..network }
    }

    /// The same backbone under a new head of this form for `features` pooled features, drawn from `seed`;
    /// `None` where heads are custom modules.
    ///
    /// # Panics
    /// Where a depth is not one of the stages before the last, or they do not ascend.
    pub fn with_head_form(&self, form: &HeadForm, features: usize, seed: u64) -> Option<Self> {
        self.check_depths(&form.depths).expect("depths of this backbone");
        let (pool, classes) = (self.backbone.pool(), self.head.classes());
        let construct = |builder: &Builder| B::Head::new_of(builder, form.kind, pool, features, classes);
        let (head, names) =
            build("a head", &self.device(), None, |_| true, seed, 3, |builder| construct(&builder.at(HEAD)))
                .expect("without a file there is nothing to mismatch");
        let network = self.under(head?, names.iter().map(|(id, name)| (*id, name.clone())));
        Some(Self { depths: form.depths.clone(), ..network })
    }

    /// The device of the parameters, without autodiff.
    pub fn device(&self) -> Device {
        self.devices().remove(0).inner()
    }
}

impl<B: Backbone<Head = Head>> Network<B> {
    /// A custom backbone under a new head for transfer learning, drawn from `seed`. The backbone's
    /// parameters are named as in [`from_modules`](Self::from_modules).
    pub fn with_transfer_head(backbone: B, classes: usize, seed: u64) -> Self {
        let (head, head_names) = new_head(&backbone, classes, seed);
        let mut names = paths(&backbone);
        names.extend(head_names.iter().map(|(id, name)| (*id, name.clone())));
        Self::new(with_autodiff(backbone), head, Arc::new(names))
    }

    /// The same backbone under a new head like its own, drawn from `seed`.
    pub fn with_new_head(&self, seed: u64) -> Self {
        let form = self.head_form().unwrap_or_default();
        self.with_head_form(&form, self.head.features(), seed).expect("the registry's heads have forms")
    }
}

/// A head for transfer learning, drawn from `seed`, and the names of its parameters.
fn new_head(backbone: &impl Backbone, classes: usize, seed: u64) -> (Head, Names) {
    let device = backbone.devices().pop().unwrap_or_else(Device::flex).inner();
    let construct = |builder: &Builder| {
        let pool = backbone.pool();
        TransferHead::new(&builder.at(HEAD), pool, pool.features(backbone.channels()), classes)
    };
    let (head, names) = build("a head", &device, None, |_| true, seed, 3, construct)
        .expect("without a file there is nothing to mismatch");
    (Head::Transfer(head), names)
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
