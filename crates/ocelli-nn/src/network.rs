//! A whole classifier: backbone and head, in layer groups.

use std::collections::{HashMap, HashSet};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};

use crate::builder::Names;
use crate::op::{self, Precision, to_precision};
use crate::pass::SeenStatistics;
use crate::{Backbone, Body, Error, Head, Pass, Result, TensorFile};

/// A backbone with a head on it.
///
/// Images are `[images, 3, height, width]`, normalised as the architecture asks. Parameters live on the CPU or
/// another device with autodiff; inference passes do without it.
#[derive(Module, Debug)]
pub struct Network<B: Backbone = Body> {
    backbone: B,
    head: Head,
    #[module(skip)]
    names: Names,
    #[module(skip)]
    precision: Precision,
}

/// The number of layer groups of every network: early body, late body, head.
pub const GROUPS: usize = 3;

/// What a tensor of a network is, for those who treat kinds differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The weights of a convolution or linear layer, which weight decay pulls to 0.
    Weight,
    /// A bias, or a norm's factor or shift.
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

/// Tensors whose name begins so belong to the head.
pub(crate) const HEAD: &str = "head";

impl<B: Backbone> Network<B> {
    pub(crate) fn new(backbone: B, head: Head, names: Names) -> Self {
        Self { backbone, head, names, precision: Precision::F32 }
    }

    /// Sets the precision of the activations in the backbone, f32 at first. On devices other than the CPU all is f32.
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// The precision of the activations in the backbone.
    pub fn precision(&self) -> Precision {
        if op::is_cpu(&self.device()) { self.precision } else { Precision::F32 }
    }

    /// The backbone.
    pub fn backbone(&self) -> &B {
        &self.backbone
    }

    /// The head.
    pub fn head(&self) -> &Head {
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
        let input = to_precision(input, self.precision);
        (from..to).fold(input, |x, stage| self.backbone.forward_stage(stage, x, &Pass::Inference).inner())
    }

    /// Logits from pooled features, as the network is used.
    pub fn infer_head(&self, pooled: Tensor<2>) -> Tensor<2> {
        self.head.classify(pooled, &Pass::Inference).inner()
    }

    /// Pools the last stage's feature maps: `[images, channels, height, width]` to `[images, pooled]`.
    pub fn pool(&self, maps: Tensor<4>) -> Tensor<2> {
        self.head.pooling().forward(maps)
    }

    /// Logits of the stages from `from` on and the head, in the given pass; `input` is what stage `from` takes.
    pub fn forward_from(&self, from: usize, input: Tensor<4>, pass: &Pass) -> Tensor<2> {
        let stages = from..self.backbone.stages();
        let input = to_precision(input, self.precision);
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
        let group = if name.starts_with(HEAD) {
            2
        } else {
            usize::from(self.backbone.stage_of(name) >= self.backbone.group_border())
        };
        let kind = match name.rsplit('.').next() {
            Some("running_mean" | "running_var") => Kind::Statistic,
            _ if dimensions > 1 => Kind::Weight,
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

    /// The device of the parameters, without autodiff.
    pub fn device(&self) -> Device {
        self.head.device().inner()
    }
}
