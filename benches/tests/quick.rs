//! The benchmarks still run, and every job still does what it is measured for.

use std::process::Command;

#[test]
fn a_quick_run_measures_every_job_beside_its_floor() {
    let done = Command::new(env!("CARGO_BIN_EXE_nixmox-benches"))
        .args(["--quick", "--markdown"])
        .output()
        .expect("the benchmarks start");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = String::from_utf8(done.stdout).expect("text");
    for job in ["| seal all", "| change one", "| change nothing", "| `get`"] {
        let row = text.lines().find(|line| line.starts_with(job)).expect(job);
        assert_eq!(row.matches(" ms (").count() + row.matches(" s (").count(), 2, "{row}");
    }
}
