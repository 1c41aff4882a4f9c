//! What the operator test printed, and what is refused of it.

use super::*;

const GEMM: Gemm = Gemm { m: 512, n: 4096, k: 14_336, dtype: Dtype::F16, layout: Layout::Abt };

/// Of build 0c1e570 on a processor.
const ROW: &str = "INSERT INTO test_backend_ops (test_time, build_commit, backend_name, op_name, op_params, test_mode, \
                   supported, passed, error_message, time_us, flops, bandwidth_gb_s, memory_kb, n_runs, \
                   device_description, backend_reg_name) VALUES ('2026-11-25T09:47:37Z', '0c1e570-dirty', 'CPU', \
                   'MUL_MAT', 'type_a=f16,type_b=f32,m=4096,n=512,k=14336,bs=[1,1],nr=[1,1],per=[0,1,2,3],k_v=0,o=1,\
                   src_overlap=0,m_v=0,pad=0', 'perf', '1', '1', '', '864805.000000', '69529595855.713135', '0.000000', \
                   '151552', '2', '', '');";

fn read(text: &str) -> Result<Timed, String> {
    timed(&row(text).ok_or("no row")?, &GEMM, 4.0)
}

#[test]
fn a_real_row_is_read() {
    let found = read(ROW).unwrap();
    assert_eq!((found.each_s, found.runs, found.build.as_deref()), (0.864_805, 2, Some("0c1e570-dirty")));
    assert!((GEMM.flops() / found.each_s / 69.53e9 - 1.0).abs() < 1e-3);
}

#[test]
fn other_lines_are_no_rows() {
    for line in ["", "CREATE TABLE IF NOT EXISTS test_backend_ops (", "  time_us REAL,", ");", "Testing 1 devices"] {
        assert_eq!(row(line), None, "{line}");
    }
    // Cut off in the middle.
    for end in (0..ROW.len()).step_by(7) {
        assert!(read(&ROW[..end]).is_err(), "{end}");
    }
}

#[test]
fn what_can_not_be_true_is_refused() {
    let cases = [
        ("'864805.000000'", "'nan'", "positive number"),
        ("'864805.000000'", "'-864805.0'", "positive number"),
        ("'864805.000000'", "'0.000000'", "positive number"),
        ("'864805.000000'", "'864805000.0'", "its time is that of"),
        ("'69529595855.713135'", "'inf'", "positive number"),
        ("'69529595855.713135'", "'99529595855.7'", "its time is that of"),
        ("'151552', '2'", "'151552', '0'", "count of runs"),
        ("'151552', '2'", "'151552', '9'", "had passed"),
        ("n=512", "n=1", "something else"),
        ("k=14336", "k=143360", "something else"),
        ("'perf'", "'test'", "something else"),
        ("'perf', '1'", "'perf', '0'", "doesn't multiply"),
        ("time_us, ", "", "no row"),
    ];
    for (from, to, reason) in cases {
        assert!(ROW.contains(from), "{from}");
        let error = read(&ROW.replace(from, to)).unwrap_err();
        assert!(error.contains(reason), "{from} → {to}: {error}");
    }
}

#[test]
fn the_tool_is_asked_in_its_own_words() {
    assert_eq!(
        pattern(&GEMM, "f16"),
        r"type_a=f16,type_b=f32,m=4096,n=512,k=14336,bs=\[1,1\],nr=\[1,1\],per=\[0,1,2,3\]"
    );
}

#[test]
fn what_it_can_not_multiply_as_asked_is_said() {
    let refused = |gemm: Gemm, backend: &str| match refuse(&gemm, backend) {
        Ok(name) => name.to_owned(),
        Err(stop) => stop.to_string(),
    };
    let of = |dtype| Gemm { dtype, ..GEMM };
    assert_eq!(refused(of(Dtype::F32), "CPU"), "f32");
    assert_eq!(refused(of(Dtype::Bf16), "Metal"), "bf16");
    assert!(refused(of(Dtype::F32), "CUDA").contains("measure tf32 instead"));
    assert_eq!(refused(of(Dtype::Tf32), "CUDA"), "f32");
    assert!(refused(of(Dtype::Tf32), "CPU").contains("on CUDA only"));
    assert!(refused(Gemm { layout: Layout::Ab, ..GEMM }, "CPU").contains("transposed"));
}
