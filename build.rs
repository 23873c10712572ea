//! Tells the binary which compiler and which revision it was built from, for `lookout_build_info`.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Changes with every commit; absent outside a checkout, where cargo would rebuild each time.
    if std::path::Path::new(".git/logs/HEAD").exists() {
        println!("cargo::rerun-if-changed=.git/logs/HEAD");
    }
    println!("cargo::rerun-if-env-changed=LOOKOUTD_REVISION");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = first_line(Command::new(rustc).arg("--version"));
    // `rustc 1.95.0 (59807616e 2026-04-14)`: the second word is the version.
    let version = version.as_deref().and_then(|line| line.split(' ').nth(1)).unwrap_or("unknown").to_owned();
    println!("cargo::rustc-env=LOOKOUTD_RUSTC={version}");
    let revision = std::env::var("LOOKOUTD_REVISION")
        .ok()
        .or_else(|| first_line(Command::new("git").args(["rev-parse", "--short=12", "HEAD"])))
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=LOOKOUTD_REVISION={revision}");
}

fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.lines().next()?.to_owned())
}
