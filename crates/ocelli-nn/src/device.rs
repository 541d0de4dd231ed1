//! Where networks run: on the CPU, or on a GPU through one of Burn's backends.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use burn::tensor::{Device, Tensor};

use crate::{Error, Result};

/// The name of a device, such as `cpu`, `cuda` or `cuda:1`.
///
/// ```
/// use ocelli_nn::DeviceName;
///
/// let cpu: DeviceName = "cpu".parse()?;
/// let device = cpu.open()?;
/// # let _ = device;
/// # Ok::<(), ocelli_nn::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct DeviceName {
    /// What computes.
    pub kind: DeviceKind,
    /// Which of several, from 0; without it the system's first choice.
    pub index: Option<usize>,
}

/// What computes. All but the CPU must be compiled in, by the feature of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum DeviceKind {
    /// The processor, by the kernels of `ocelli-kernels`.
    #[default]
    Cpu,
    /// NVIDIA's GPUs.
    Cuda,
    /// Apple's GPUs.
    Metal,
    /// Any GPU with Vulkan, by SPIR-V.
    Vulkan,
    /// Any GPU, by whatever of Vulkan, Metal and DirectX the system has.
    Wgpu,
    /// AMD's GPUs.
    Rocm,
}

impl DeviceKind {
    /// Every kind.
    pub const ALL: &[Self] = &[Self::Cpu, Self::Cuda, Self::Metal, Self::Vulkan, Self::Wgpu, Self::Rocm];

    /// The name, which is also that of the feature.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Metal => "metal",
            Self::Vulkan => "vulkan",
            Self::Wgpu => "wgpu",
            Self::Rocm => "rocm",
        }
    }

    /// Whether this build can use it.
    pub const fn is_built(self) -> bool {
        match self {
            Self::Cpu => true,
            Self::Cuda => cfg!(feature = "cuda"),
            Self::Metal => cfg!(feature = "metal"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::Wgpu => cfg!(feature = "wgpu"),
            Self::Rocm => cfg!(feature = "rocm"),
        }
    }
}

impl DeviceName {
    /// Opens the device and checks that it computes.
    ///
    /// # Errors
    /// [`Error::DeviceNotBuilt`] where the feature is not compiled in, [`Error::NoDevice`] where the machine
    /// has no such device, or it does not work.
    pub fn open(self) -> Result<Device> {
        let device = self.device().ok_or(Error::DeviceNotBuilt { device: self.kind.name() })?;
        if self.kind == DeviceKind::Cpu {
            return Ok(device);
        }
        // Burn's backends panic where there is no such device; here that becomes an error.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let sum = catch_unwind(AssertUnwindSafe(|| {
            Tensor::<1>::ones([2], &device).sum().try_into_scalar::<f32>().map_err(|error| error.to_string())
        }));
        std::panic::set_hook(hook);
        let reason = match sum {
            Ok(Ok(2.0)) => return Ok(device),
            Ok(Ok(wrong)) => format!("it computes that 1 + 1 is {wrong}"),
            Ok(Err(error)) => error,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                text.or_else(|| panic.downcast_ref().copied()).unwrap_or("it does not answer").to_owned()
            }
        };
        Err(Error::NoDevice { device: self.to_string(), reason })
    }

    fn device(self) -> Option<Device> {
        match self.kind {
            DeviceKind::Cpu => Some(Device::flex()),
            #[cfg(feature = "cuda")]
            DeviceKind::Cuda => Some(Device::cuda(self.index.unwrap_or(0))),
            #[cfg(feature = "metal")]
            DeviceKind::Metal => Some(Device::metal(self.graphics())),
            #[cfg(feature = "vulkan")]
            DeviceKind::Vulkan => Some(Device::vulkan(self.graphics())),
            #[cfg(feature = "wgpu")]
            DeviceKind::Wgpu => Some(Device::wgpu(self.graphics())),
            #[cfg(feature = "rocm")]
            DeviceKind::Rocm => Some(Device::rocm(self.index.unwrap_or(0))),
            #[allow(unreachable_patterns)] // where all are compiled in
            _ => None,
        }
    }

    #[cfg(any(feature = "metal", feature = "vulkan", feature = "wgpu"))]
    fn graphics(self) -> burn::tensor::DeviceKind {
        self.index.map_or(burn::tensor::DeviceKind::DefaultDevice, burn::tensor::DeviceKind::DiscreteGpu)
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self.index {
            Some(index) => write!(formatter, "{}:{index}", self.kind.name()),
            None => formatter.write_str(self.kind.name()),
        }
    }
}

impl FromStr for DeviceName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let unknown = || Error::UnknownDevice { found: name.to_owned() };
        let (kind, index) = match name.split_once(':') {
            Some((kind, index)) => (kind, Some(index.parse().map_err(|_| unknown())?)),
            None => (name, None),
        };
        let kind = DeviceKind::ALL.iter().copied().find(|known| known.name() == kind).ok_or_else(unknown)?;
        if kind == DeviceKind::Cpu && index.is_some() {
            return Err(unknown());
        }
        Ok(Self { kind, index })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["cpu", "cuda", "cuda:1", "wgpu", "metal:0", "vulkan", "rocm:2"] {
            assert_eq!(name.parse::<DeviceName>().unwrap().to_string(), name);
        }
        for name in ["", "gpu", "cpu:0", "cuda:", "cuda:x", "cuda:-1", ":1"] {
            let message = name.parse::<DeviceName>().unwrap_err().to_string();
            assert!(message.contains(&format!("{name:?}")) && message.contains("cuda:1"), "{message}");
        }
    }

    #[test]
    fn what_is_not_compiled_in_says_how_to_get_it() {
        for kind in DeviceKind::ALL.iter().copied().filter(|kind| !kind.is_built()) {
            let message = DeviceName { kind, index: None }.open().unwrap_err().to_string();
            assert!(message.contains(&format!("--features {}", kind.name())), "{message}");
        }
    }
}
