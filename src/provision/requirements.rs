//! The pinned lists of packages: every version fixed, every file known by its SHA-256.

/// A list that is part of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct List {
    /// Its file in `assets/engines/requirements/`.
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    /// Bytes of all its files.
    pub(super) download_bytes: u64,
    /// Bytes of what they are unpacked to.
    pub(super) disk_bytes: u64,
}

macro_rules! list {
    ($name:literal, $download:literal, $disk:literal) => {
        List {
            name: $name,
            text: include_str!(concat!("../../assets/engines/requirements/", $name)),
            download_bytes: $download,
            disk_bytes: $disk,
        }
    };
}

// Sizes are those of the index for Python 3.12, and of what was unpacked.
pub(super) const PYTORCH_CUDA: List = list!("pytorch-cuda.txt", 3_046_658_847, 5_600_000_000);
pub(super) const PYTORCH_MACOS: List = list!("pytorch-macos-arm64.txt", 182_995_453, 900_000_000);
pub(super) const MLX_CPU: List = list!("mlx-linux.txt", 59_713_292, 370_000_000);
pub(super) const MLX_CUDA: List = list!("mlx-linux-cuda.txt", 2_168_059_127, 4_000_000_000);
pub(super) const MLX_MACOS: List = list!("mlx-macos-arm64.txt", 81_216_053, 360_000_000);
/// What llama.cpp is built with: CMake, Ninja, and what unpacks the source.
pub(super) const LLAMA_CPP_BUILD: List = list!("llama-cpp-build.txt", 37_000_000, 120_000_000);

/// PyTorch's own index of wheels without CUDA.
pub(super) const PYTORCH_CPU_INDEX: &str = "https://download.pytorch.org/whl/cpu";
/// What the CPU wheel of PyTorch's own index downloads and unpacks to.
pub(super) const PYTORCH_CPU_WHEEL: (u64, u64) = (190_000_000, 750_000_000);

/// What PyTorch's large wheel never asks for as long as it works on the processor, with the bytes that this saves: the
/// compiler of GPU kernels and its headers. The other CUDA libraries it is linked against and doesn't start without.
pub(super) const NOT_FOR_CPU: ([&str; 6], u64, u64) = (
    ["triton", "nvidia-cuda-cccl", "cuda-bindings", "cuda-pathfinder", "cuda-toolkit", "nvidia-nvtx"],
    300_000_000,
    1_050_000_000,
);

impl List {
    /// Its text without some packages; all whose names begin so, if a name ends in `*`.
    pub(super) fn without(&self, packages: &[&str]) -> String {
        let matches = |name: &str| {
            packages.iter().any(|package| match package.strip_suffix('*') {
                Some(beginning) => name.starts_with(beginning),
                None => name == *package,
            })
        };
        let mut kept = String::with_capacity(self.text.len());
        let mut dropping = false;
        for line in self.text.lines() {
            // What belongs to a package is indented.
            if !line.starts_with([' ', '\t']) {
                dropping = name_of(line).is_some_and(matches);
            }
            if !dropping {
                kept.push_str(line);
                kept.push('\n');
            }
        }
        kept
    }

    /// The version of a package in it.
    pub(super) fn version_of(&self, package: &str) -> Option<&'static str> {
        let line = self.text.lines().find(|line| name_of(line) == Some(package))?;
        line.split_once("==")?.1.split([' ', ';', '\\']).next()
    }
}

/// The name at the beginning of a pinned package's line.
fn name_of(line: &str) -> Option<&str> {
    let (name, _) = line.split_once("==")?;
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    (plain && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [List; 6] = [PYTORCH_CUDA, PYTORCH_MACOS, MLX_CPU, MLX_CUDA, MLX_MACOS, LLAMA_CPP_BUILD];

    #[test]
    fn every_package_is_pinned_and_hashed() {
        for list in ALL {
            let logical = list.text.replace("\\\n", " ");
            let packages: Vec<&str> =
                logical.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).collect();
            assert!(packages.len() > 5, "{}", list.name);
            for package in packages {
                assert!(name_of(package).is_some(), "{}: {package}", list.name);
                assert!(package.contains("--hash=sha256:"), "{}: {package}", list.name);
            }
            assert!(!list.text.contains("://"), "{} names a server", list.name);
        }
    }

    #[test]
    fn packages_are_taken_out_whole() {
        let rest = PYTORCH_CUDA.without(&["torch", "triton", "nvidia-*", "cuda-*"]);
        let names: Vec<&str> = rest.lines().filter_map(name_of).collect();
        assert!(names.contains(&"transformers") && !names.contains(&"torch") && !names.contains(&"triton"));
        assert!(!names.iter().any(|name| name.starts_with("nvidia")));
        assert!(rest.lines().all(|line| line.starts_with([' ', '#']) || line.is_empty() || name_of(line).is_some()));
        assert_eq!(PYTORCH_CUDA.without(&[]).trim_end(), PYTORCH_CUDA.text.trim_end());
        let missing = NOT_FOR_CPU.0.iter().filter(|package| PYTORCH_CUDA.version_of(package).is_none());
        assert_eq!(missing.count(), 0);
        for list in [PYTORCH_CUDA, PYTORCH_MACOS] {
            assert!(list.version_of("torch").is_some_and(|version| version.split('.').count() == 3));
        }
    }
}
