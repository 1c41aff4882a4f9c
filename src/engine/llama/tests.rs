//! The arguments that llama.cpp's programs get.

use std::sync::Arc;

use super::*;
use crate::engine::external;

fn services() -> Services {
    let shelf: external::Shelf = Arc::new(|_, _, _| Err(Stop::Unsupported("there are no files".to_owned())));
    let oracle: external::Oracle = Arc::new(|_, _, _| Err(Stop::Unsupported("there is no reference".to_owned())));
    Services { shelf, oracle, tiny: None }
}

fn session(listed: Option<&str>, gpus: usize) -> LlamaSession {
    let tool = Tool { file: "llama-bench".into(), environment: Vec::new() };
    let listed = listed.and_then(|line| bench::listed(line).pop());
    let device = listed.as_ref().map_or_else(|| describe(CPU.into(), "chip".into(), DeviceKind::Cpu, "CPU", 0), gpu);
    LlamaSession {
        bench: tool,
        ops: None,
        simple: None,
        services: services(),
        parity: None,
        listed,
        device,
        gpus,
        threads: 8,
    }
}

fn line(session: &LlamaSession, file: &str, tests: &[Asked]) -> String {
    let arguments = session.arguments(Path::new(file), tests, &["-v"]).unwrap();
    arguments.list.join(" ".as_ref()).into_string().unwrap()
}

const PREFILL: Asked = Asked { prompt: 512, generated: 0, depth: 0, repetitions: 3 };
const DECODE: Asked = Asked { prompt: 0, generated: 128, depth: 4096, repetitions: 5 };

#[test]
fn tests_are_repeated_in_one_process() {
    assert_eq!(
        line(&session(None, 0), "a b.gguf", &[PREFILL, PREFILL]),
        "-m a b.gguf -p 512,512 -n 0 -d 0 -r 3 -b 2048 -ub 512 -t 8 -ngl 0 -o jsonl -v"
    );
    assert_eq!(
        line(&session(Some("CUDA0: H100"), 1), "m.gguf", &[DECODE]),
        "-m m.gguf -p 0 -n 128 -d 4096 -r 5 -b 2048 -ub 512 -t 8 -ngl 99 -o jsonl -v"
    );
}

#[test]
fn the_device_is_named_where_there_is_a_choice() {
    assert!(line(&session(None, 1), "m.gguf", &[PREFILL]).contains("-ngl 0 -o jsonl -dev none"));
    assert!(line(&session(Some("CUDA1: H100"), 2), "m.gguf", &[PREFILL]).contains("-ngl 99 -o jsonl -dev CUDA1"));
}

#[test]
fn a_comma_in_a_folders_name_is_gone_around_and_one_in_the_files_is_told() {
    assert_eq!(without_commas(Path::new("/a/b.gguf")).unwrap(), ("/a/b.gguf".into(), None));
    assert_eq!(without_commas(Path::new("/a,b/-c.gguf")).unwrap(), ("./-c.gguf".into(), Some("/a,b".into())));
    let Err(Stop::Unsupported(reason)) = without_commas(Path::new("/a/b,c.gguf")) else { panic!("accepted") };
    assert!(reason.contains("comma") && reason.ends_with("/a/b,c.gguf"), "{reason}");
}

#[test]
fn gpus_get_ids_that_stay() {
    let of = |text: &str| {
        let device = gpu(&bench::listed(text).pop().unwrap());
        (device.id, device.kind, device.software)
    };
    assert_eq!(of("CUDA1: NVIDIA H100 (81079 MiB, 1 MiB free)"), ("cuda:1".into(), DeviceKind::DiscreteGpu, false));
    assert_eq!(of("MTL0: Apple M5"), ("metal:0".into(), DeviceKind::IntegratedGpu, false));
    assert_eq!(of("Vulkan0: llvmpipe (LLVM 15)"), ("vulkan:0".into(), DeviceKind::Other, true));
}

#[test]
fn the_prompt_is_taken_off_what_was_written() {
    assert_eq!(continuation("<s>\u{2581}Hello\u{2581}t17 t4858 t4019\n", "Hello t17"), " t4858 t4019\n");
    assert_eq!(continuation("nothing of it", "Hello"), "nothing of it");
}

#[test]
fn without_llama_cpp_the_reason_is_told() {
    let engine = LlamaCppEngine::new(Err("it isn't there; get it".to_owned()), Surroundings::default(), services());
    assert_eq!(engine.devices(), Err("it isn't there; get it".to_owned()));
    assert!(matches!(engine.open(CPU), Err(Stop::Failed(_))));
    let context = Context::detached(Duration::from_secs(1));
    assert!(matches!(engine.greedy(Path::new("m.gguf"), "x", 1, &context), Err(Stop::Unsupported(_))));
}
