//! The pinned lists of packages: every version fixed, every file known by its SHA-256.

/// A list that is part of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct List {
    /// Its file in `assets/engines/requirements/`.
    pub(super) name: &'static str,
    text: &'static str,
    /// Bytes of what its files are unpacked to, as it was measured once.
    unpacked_bytes: u64,
}

macro_rules! list {
    ($name:literal, $disk:literal) => {
        List {
            name: $name,
            text: include_str!(concat!("../../assets/engines/requirements/", $name)),
            unpacked_bytes: $disk,
        }
    };
}

pub(super) const PYTORCH_CUDA: List = list!("pytorch-cuda-linux-x86_64.txt", 5_900_000_000);
/// The large wheel without what a processor doesn't need; the other CUDA libraries it doesn't start without.
pub(super) const PYTORCH_CPU: List = list!("pytorch-cpu-linux-x86_64.txt", 4_460_000_000);
pub(super) const PYTORCH_MACOS: List = list!("pytorch-macos-arm64.txt", 900_000_000);
pub(super) const MLX_CPU: List = list!("mlx-linux-x86_64.txt", 370_000_000);
pub(super) const MLX_CUDA: List = list!("mlx-linux-x86_64-cuda.txt", 4_000_000_000);
pub(super) const MLX_MACOS: List = list!("mlx-macos-arm64.txt", 400_000_000);
/// What llama.cpp is built with: CMake, Ninja, and what unpacks the source.
pub(super) const LLAMA_CPP_BUILD: List = list!("llama-cpp-build.txt", 120_000_000);

/// PyTorch's own index of wheels without CUDA.
pub(super) const PYTORCH_CPU_INDEX: &str = "https://download.pytorch.org/whl/cpu";
/// What the CPU wheel of PyTorch's own index downloads and unpacks to.
pub(super) const PYTORCH_CPU_WHEEL: (u64, u64) = (190_000_000, 750_000_000);

impl List {
    /// A fact at the list's head, as "# download-bytes: 12".
    fn fact(&self, name: &str) -> Option<&'static str> {
        let facts = self.text.lines().map_while(|line| line.strip_prefix("# "));
        facts.filter_map(|line| line.split_once(": ")).find(|(known, _)| *known == name).map(|(_, value)| value.trim())
    }

    /// Bytes of all files that one installation takes.
    pub(super) fn download_bytes(&self) -> u64 {
        self.fact("download-bytes").and_then(|bytes| bytes.parse().ok()).unwrap_or_default()
    }

    /// Bytes of what is unpacked: as the list says, or as it was measured.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.fact("installed-bytes").and_then(|bytes| bytes.parse().ok()).unwrap_or(self.unpacked_bytes)
    }

    /// The versions of Python for which there are files.
    pub(super) fn pythons(&self) -> Vec<(u32, u32)> {
        let one = |version: &str| {
            let (major, minor) = version.trim().split_once('.')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        };
        self.fact("python").map(|list| list.split(',').filter_map(one).collect()).unwrap_or_default()
    }

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

    const ALL: [List; 7] = [PYTORCH_CUDA, PYTORCH_CPU, PYTORCH_MACOS, MLX_CPU, MLX_CUDA, MLX_MACOS, LLAMA_CPP_BUILD];

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
            assert!((10_000_000..5_000_000_000).contains(&list.download_bytes()), "{}", list.name);
            assert!(list.disk_bytes() > list.download_bytes(), "{}", list.name);
            assert!(list.pythons().contains(&(3, 12)), "{}", list.name);
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
        for list in [PYTORCH_CUDA, PYTORCH_CPU, PYTORCH_MACOS] {
            assert!(list.version_of("torch").is_some_and(|version| version.split('.').count() == 3));
        }
    }
}
