//! What llama-bench printed, shortened; and what it must never make a figure of.

use super::*;

/// Of build 0c1e570 on a processor: 60 million parameters in f16, a prompt of 128 tokens three times.
const PREFILL: &str = r#"{"build_commit": "0c1e570", "build_number": 1, "cpu_info": "AMD EPYC", "gpu_info": "", "backends": "CPU", "model_filename": "tiny-f16.gguf", "model_type": "llama ?B F16", "model_size": 120096768, "model_n_params": 60039680, "n_batch": 2048, "n_ubatch": 512, "n_threads": 2, "cpu_mask": "0x0", "cpu_strict": false, "poll": 50, "type_k": "f16", "type_v": "f16", "n_gpu_layers": -1, "n_cpu_moe": 0, "split_mode": "layer", "main_gpu": 0, "no_kv_offload": false, "flash_attn": -1, "devices": "auto", "tensor_split": "0.00", "tensor_buft_overrides": "none", "load_mode": "auto", "lazy_mode": "auto", "embeddings": false, "no_op_offload": 0, "no_host": false, "repack": true, "fit_target": 0, "fit_min_ctx": 0, "n_prompt": 128, "n_gen": 0, "n_depth": 0, "test_time": "2026-11-25T09:45:02Z", "avg_ns": 1275979484, "stddev_ns": 6930867, "avg_ts": 100.317072, "stddev_ts": 0.546602, "samples_ns": [ 1279969499, 1279992323, 1267976632 ],"samples_ts": [ 100.002, 100.001, 100.948 ]}"#;

/// The same, 16 tokens after 32 twice, on a machine that did something else in the second half.
const DECODE: &str = r#"{"backends": "CPU", "model_type": "llama ?B F16", "n_threads": 2, "flash_attn": true, "n_prompt": 0, "n_gen": 16, "n_depth": 32, "avg_ns": 183017933, "stddev_ns": 134166398, "avg_ts": 119.545079, "stddev_ts": 87.635852, "samples_ns": [ 88147964, 277887903 ],"samples_ts": [ 181.513, 57.5772 ]}"#;

const ASKED: Asked = Asked { prompt: 128, generated: 0, depth: 0, repetitions: 3 };

/// The least that is read, with one part replaced.
fn with(from: &str, to: &str) -> Result<Tested, String> {
    let least = r#"{"model_type":"llama 7B Q4_0","backends":"CPU","n_prompt":0,"n_gen":10,"n_depth":0,"avg_ts":10.0,"samples_ns":[1000000000,1000000000]}"#;
    assert!(least.contains(from), "{from}");
    Tested::parse(&least.replace(from, to))
}

#[test]
fn a_real_test_of_prefill_is_read() {
    let tested = Tested::parse(PREFILL).unwrap();
    assert_eq!(tested.seconds, [1.279_969_499, 1.279_992_323, 1.267_976_632]);
    assert_eq!((tested.model_type.as_str(), tested.parameters), ("llama ?B F16", Some(60_039_680)));
    let setting = |name: &str| tested.settings.get(name).map(String::as_str);
    assert_eq!(setting("build-commit"), Some("0c1e570"));
    assert_eq!(setting("threads"), Some("2"));
    assert_eq!(setting("flash-attention"), Some("auto"));
    assert_eq!((setting("keys"), setting("gpu"), setting("repack")), (Some("f16"), None, Some("true")));
    for (name, value) in [("no-kv-offload", "false"), ("split-mode", "layer"), ("main-gpu", "0"), ("poll", "50")] {
        assert_eq!(setting(name), Some(value), "{name}");
    }
    for name in ["model-type", "n-prompt", "avg-ts", "samples-ns", "test-time", "model-size"] {
        assert_eq!(setting(name), None, "{name} is no setting");
    }
    assert_eq!(tested.answers(ASKED, 4.0), Ok(()));
}

#[test]
fn a_real_test_of_decoding_is_read_and_older_truth_values_too() {
    let tested = Tested::parse(DECODE).unwrap();
    let asked = Asked { prompt: 0, generated: 16, depth: 32, repetitions: 2 };
    assert_eq!(tested.answers(asked, 1.0), Ok(()));
    assert_eq!(tested.settings.get("flash-attention").map(String::as_str), Some("on"));
}

#[test]
fn rates_do_where_there_are_no_times() {
    let tested = with(r#""samples_ns":[1000000000,1000000000]"#, r#""samples_ts":[8.0,12.5]"#).unwrap_err();
    assert!(tested.contains("not that of its samples"), "{tested}");
    let tested = with(r#""samples_ns":[1000000000,1000000000]"#, r#""samples_ts":[10.0,10.0]"#).unwrap();
    assert_eq!(tested.seconds, [1.0, 1.0]);
}

#[test]
fn rubbish_is_refused_with_its_reason() {
    let cases = [
        ("10.0", "NaN", "no JSON"),
        ("10.0", "1e999", "no JSON"),
        ("10.0", "\"fast\"", "no avg_ts"),
        ("\"avg_ts\":10.0,", "", "no avg_ts"),
        ("10.0", "-10.0", "not that of its samples"),
        ("10.0", "20.0", "not that of its samples"),
        ("[1000000000,1000000000]", "[]", "no samples"),
        ("[1000000000,1000000000]", "[-1000000000]", "no positive time"),
        ("[1000000000,1000000000]", "[0,1000000000]", "no positive time"),
        ("[1000000000,1000000000]", "[null]", "no number"),
        ("[1000000000,1000000000]", "[\"1\"]", "no number"),
        ("[1000000000,1000000000]", "7", "no list"),
        (",\"samples_ns\":[1000000000,1000000000]", "", "neither samples_ns nor samples_ts"),
        ("\"n_gen\":10", "\"n_gen\":0", "no tokens"),
        ("\"n_gen\":10", "\"n_gen\":-1", "no count"),
        ("\"n_gen\":10", "\"n_gen\":1.5", "no count"),
        ("\"n_gen\":10", "\"n_gen\":99999999999", "no count"),
        ("\"n_depth\":0,", "", "no n_depth"),
        ("\"model_type\":\"llama 7B Q4_0\",", "", "no model_type"),
        ("\"backends\":\"CPU\"", "\"backends\":[]", "no text"),
        ("}", "", "no JSON"),
    ];
    for (from, to, reason) in cases {
        let error = with(from, to).unwrap_err();
        assert!(error.contains(reason), "{from} → {to}: {error}");
    }
    for line in ["", "[]", "null", "{", "llama-bench: error", "\u{0}", "{}"] {
        assert!(Tested::parse(line).is_err(), "{line}");
    }
}

#[test]
fn a_long_line_is_shown_by_its_beginning_only() {
    let error = Tested::parse(&"a".repeat(1 << 20)).unwrap_err();
    assert!(error.len() < 400, "{}", error.len());
    let many = format!("[{}]", vec!["1"; SAMPLES_MAX + 1].join(","));
    assert!(with("[1000000000,1000000000]", &many).unwrap_err().contains("10001 numbers"));
    let deep = "[".repeat(100_000);
    assert!(Tested::parse(&format!("{{\"a\":{deep}")).is_err());
}

#[test]
fn another_test_than_the_one_asked_for_is_no_answer() {
    let tested = Tested::parse(PREFILL).unwrap();
    let wrong = |asked: Asked, passed_s: f64| tested.answers(asked, passed_s).unwrap_err();
    assert!(wrong(Asked { prompt: 512, ..ASKED }, 9.0).contains("512 + 0"));
    assert!(wrong(Asked { depth: 1, ..ASKED }, 9.0).contains("at depth 1"));
    assert!(wrong(Asked { repetitions: 4, ..ASKED }, 9.0).contains("3 samples, and 4"));
    assert!(wrong(ASKED, 3.0).contains("only 3.000 s had passed"));
}

#[test]
fn another_model_than_the_one_meant_is_noticed() {
    let tested = Tested::parse(PREFILL).unwrap();
    let tiny = ModelShape {
        vocabulary: 32_000,
        hidden: 512,
        intermediate: 1792,
        layers: 8,
        heads: 8,
        kv_heads: 2,
        head_dim: 64,
        tied_head: false,
    };
    assert_eq!(tested.is_of(&tiny), Ok(()));
    let error = tested.is_of(&ModelShape::MISTRAL_7B).unwrap_err();
    assert!(error.contains("60039680") && error.contains("7241732096"), "{error}");
    // One that doesn't tell is believed.
    assert_eq!(Tested::parse(DECODE).unwrap().is_of(&ModelShape::MISTRAL_7B), Ok(()));
}

#[test]
fn gpus_are_found_in_every_spelling_and_nothing_else_is_one() {
    let text = "Available devices:\n  CUDA0: NVIDIA H100 80GB HBM3 (81079 MiB, 80572 MiB free)\n  CUDA1: NVIDIA H100 80GB \
                HBM3 (81079 MiB, 80572 MiB free)\n  Vulkan0: AMD Radeon (RADV NAVI31) (24560 MiB, 24000 MiB free)\n  \
                MTL0: Apple M5 (12713 MiB, 12712 MiB free)\n  Metal: Apple M2 Pro\n  BLAS: Accelerate (0 MiB, 0 MiB \
                free)\n  RPC[10.0.0.1:50052]: remote (1 MiB, 1 MiB free)\nCUDA: of no use here (x)\nCUDA99999999999: x\n";
    let found: Vec<_> = listed(text)
        .into_iter()
        .map(|one| {
            format!("{} {} {} {} {}", one.name, one.backend, one.ordinal, one.description, one.memory_bytes >> 20)
        })
        .collect();
    assert_eq!(
        found,
        [
            "CUDA0 CUDA 0 NVIDIA H100 80GB HBM3 81079",
            "CUDA1 CUDA 1 NVIDIA H100 80GB HBM3 81079",
            "Vulkan0 Vulkan 0 AMD Radeon (RADV NAVI31) 24560",
            "MTL0 Metal 0 Apple M5 12713",
            "Metal Metal 0 Apple M2 Pro 0",
            "CUDA CUDA 0 of no use here (x) 0",
        ]
    );
    assert_eq!(listed("Available devices:\n  (none)\n"), []);
    assert_eq!(listed(&"CUDA0: x\n".repeat(1000)).len(), DEVICES_MAX);
}

/// Of the same build with `-v`, the names of the buffers as on CUDA.
const LOG: &str = "load_tensors:   CPU_Mapped model buffer size =   114.53 MiB\nload_tensors:        CUDA0 model buffer size =  \
                   4095.05 MiB\nllama_context:  CUDA_Host  output buffer size =     0.12 MiB\nllama_kv_cache:      CUDA0 KV \
                   buffer size =     64.00 MiB\nsched_reserve:      CUDA0 compute buffer size =    81.00 \
                   MiB\nsched_reserve:      CUDA0 compute buffer size =    90.00 MiB\nllama_context: x buffer size = y\n";

#[test]
fn buffers_on_a_device_add_up_and_the_last_word_counts() {
    let mebibytes = |device: &str| buffer_bytes(LOG, device).map(|bytes| bytes as f64 / f64::from(1 << 20));
    assert!((mebibytes("CUDA0").unwrap() - (4095.05 + 64.0 + 90.0)).abs() < 1e-3);
    assert_eq!(mebibytes("CUDA1"), None);
    assert_eq!(buffer_bytes("CUDA0 model buffer size = NaN MiB", "CUDA0"), None);
}

#[test]
fn the_last_load_time_in_the_log_is_read() {
    let log = "llama_perf_context_print:        load time =      85.19 ms\nllama_perf_context_print: prompt eval time =       \
               0.00 ms /     1 tokens\n";
    assert_eq!(load_seconds(log), Some(0.08519));
    assert_eq!(load_seconds("load time = -1 ms\n"), None);
    assert_eq!(load_seconds("eval time = 1 ms"), None);
}
