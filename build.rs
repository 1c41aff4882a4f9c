//! Renders the shaders and proves that each translates; stamps commit and target; embeds Info.plist on macOS.

use std::{
    error::Error,
    fmt::{self, Write as _},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use naga::{
    back::{msl, spv},
    valid::{Capabilities, ValidationFlags, Validator},
};

#[path = "shaders/gemm_variants.rs"]
#[expect(dead_code, reason = "the engine reads the rest of the table")]
mod gemm_variants;

use gemm_variants::{GEMM_VARIANTS, GemmVariant, Unit};

/// What went wrong, printed as it is: main's error goes through Debug, which would escape the lines of a shader's message.
struct Message(String);

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn main() -> Result<(), Message> {
    // A path that is missing would make cargo run this script every time.
    for path in
        ["build.rs", "shaders", "src", "Cargo.toml", "Info.plist"].iter().filter(|path| Path::new(path).exists())
    {
        println!("cargo:rerun-if-changed={path}");
    }
    stamp();
    embed_info_plist()
        .and_then(|()| shaders())
        .and_then(|()| cuda_kernels())
        .map_err(|error| Message(error.to_string()))
}

/// The commit, with "+" when tracked files differ from it, and the target.
fn stamp() {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]).filter(|path| Path::new(path).exists()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|list| !list.is_empty());
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=ROOFLINE_COMMIT={commit}{}", if changed { "+" } else { "" });
    println!("cargo:rustc-env=ROOFLINE_TARGET={}", std::env::var("TARGET").unwrap_or_default());
}

/// A bare executable on macOS finds its bundle identity and high-resolution setting in a section of its own.
fn embed_info_plist() -> Result<(), Box<dyn Error>> {
    let plist = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("Info.plist");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "macos") && plist.exists() {
        println!("cargo:rustc-link-arg-bins=-Wl,-sectcreate,__TEXT,__info_plist,{}", plist.display());
    }
    Ok(())
}

/// Compiles the CUDA kernels to PTX, in builds with the feature `cuda`. The driver translates PTX for its GPU when it is loaded,
/// so that one build runs on all from compute capability 8.0 on.
fn cuda_kernels() -> Result<(), Box<dyn Error>> {
    if std::env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return Ok(());
    }
    for variable in ["NVCC", "CUDA_HOME"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let home = std::env::var("CUDA_HOME").map(|home| format!("{home}/bin/nvcc"));
    let nvcc = std::env::var("NVCC").or(home).unwrap_or_else(|_| "nvcc".to_owned());
    for (name, capability) in [("block", 80), ("decode", 80), ("decode", 90)] {
        let out = PathBuf::from(std::env::var("OUT_DIR")?).join(format!("{name}_{capability}.ptx"));
        let mut command = Command::new(&nvcc);
        command.args(["-ptx", "-O3", &format!("-arch=compute_{capability}"), "-o"]);
        command.arg(out).arg(format!("shaders/{name}.cu"));
        let status = command.status().map_err(|error| format!("{nvcc} could not run ({error}); see docs/cuda.md"))?;
        if !status.success() {
            return Err(format!("{nvcc} could not compile shaders/{name}.cu").into());
        }
    }
    Ok(())
}

/// Writes every shader into OUT_DIR, and `shaders.rs`: the table of their names and texts.
fn shaders() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut table = String::from("&[\n");
    for (name, source) in rendered()? {
        let file = out.join(format!("{name}.wgsl"));
        // What stands there was proved when it was written.
        if !fs::read_to_string(&file).is_ok_and(|before| before == source) {
            prove(&source).map_err(|message| format!("shader {name} (see shaders/):\n{message}"))?;
            fs::write(&file, &source)?;
        }
        writeln!(table, "    Source {{ name: {name:?}, wgsl: include_str!({:?}) }},", file.display().to_string())?;
    }
    table += "]\n";
    fs::write(out.join("shaders.rs"), table)?;
    Ok(())
}

/// Every shader's name and text: plain files as they are, templates once an operation, or once a variant and dtype.
fn rendered() -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let mut list = Vec::new();
    let mut paths: Vec<PathBuf> =
        fs::read_dir("shaders")?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wgsl"));
    paths.sort();
    for path in paths {
        let text = fs::read_to_string(&path)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let simt = match name.as_str() {
            "gemm" => true,
            "gemm_coop" => false,
            "bandwidth" => {
                for op in ["read", "write", "copy", "triad"] {
                    let name = format!("bandwidth_{op}");
                    list.push((name.clone(), render(&name, &text, minijinja::context! { op })?));
                }
                continue;
            }
            _ => {
                list.push((name, text));
                continue;
            }
        };
        for variant in GEMM_VARIANTS.iter().filter(|variant| (variant.unit == Unit::Simt) == simt) {
            for dtype in ["f32", "f16"].into_iter().filter(|dtype| variant.has_f32() || *dtype == "f16") {
                list.push((format!("gemm-{dtype}-{}", variant.name), gemm(&text, variant, dtype)?));
            }
        }
    }
    Ok(list)
}

fn gemm(template: &str, variant: &GemmVariant, dtype: &str) -> Result<String, Box<dyn Error>> {
    fits(variant)?;
    let &GemmVariant { name, bm, bn, bk, tm, tn, wm, wn, stages, group, wide, .. } = variant;
    let (pad, frag) = (variant.pad(), variant.fragment());
    let context = minijinja::context! { name, bm, bn, bk, tm, tn, wm, wn, stages, group, pad, frag, wide, dtype };
    render(&format!("{name} {dtype}"), template, context)
}

fn render(name: &str, template: &str, context: minijinja::Value) -> Result<String, Box<dyn Error>> {
    let mut environment = minijinja::Environment::new();
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    let text = environment.render_str(template, context);
    Ok(text.map_err(|error| format!("the template for {name} (see shaders/): {error:#}"))?)
}

/// The divisions in the template must come out even.
fn fits(v: &GemmVariant) -> Result<(), String> {
    let threads = v.threads();
    let whole = |a: u32, b: u32| b > 0 && a.is_multiple_of(b);
    let load = if v.wide { 8 } else { 4 };
    let staged = v.stages == 0
        || (whole(v.bm * v.bk / load, threads)
            && whole(v.bk * v.bn / load, threads)
            && whole(threads, v.bk / load)
            && whole(threads, v.bn / load));
    let loads = !v.wide || v.unit == Unit::Coop16;
    let tiled = whole(v.bm, v.wm) && whole(v.bn, v.wn);
    let vectors = if v.unit == Unit::Simt {
        whole(v.wm, v.tm) && whole(v.wn, v.tn) && whole(v.tm, 4) && whole(v.tn, 4) && whole(v.bk, 4)
    } else {
        [v.wm, v.wn, v.bk].into_iter().all(|side| whole(side, v.fragment())) && v.stages > 0
    };
    let padded = whole(256, v.bm) && whole(256, v.bn) && whole(64, v.bk);
    if staged && loads && tiled && vectors && padded && v.group > 0 {
        return Ok(());
    }
    Err(format!("shaders/gemm_variants.rs: the tiles of {} don't divide evenly", v.name))
}

/// Parses, validates and translates a shader as wgpu would, for Vulkan and for Metal.
fn prove(source: &str) -> Result<(), String> {
    let capabilities = Capabilities::SHADER_FLOAT16
        | Capabilities::SHADER_FLOAT16_IN_FLOAT32
        | Capabilities::SUBGROUP
        | Capabilities::COOPERATIVE_MATRIX;
    let mut front = naga::front::wgsl::Frontend::new_with_options(naga::front::wgsl::Options {
        parse_doc_comments: false,
        capabilities,
    });
    let module = front.parse(source).map_err(|error| error.emit_to_string(source))?;
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .map_err(|error| error.emit_to_string(source))?;
    for entry in &module.entry_points {
        let point = Some((naga::ShaderStage::Compute, entry.name.as_str()));
        let (module, info) = naga::back::pipeline_constants::process_overrides(
            &module,
            &info,
            point,
            &naga::back::PipelineConstants::default(),
        )
        .map_err(|error| error.to_string())?;
        let options = msl::Options { lang_version: (2, 4), fake_missing_bindings: true, ..Default::default() };
        msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())
            .map_err(|error| format!("Metal: {error}"))?;
        spv::write_vec(&module, &info, &spv::Options::default(), None).map_err(|error| format!("SPIR-V: {error}"))?;
    }
    Ok(())
}
