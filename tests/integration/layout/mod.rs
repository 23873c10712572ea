//! Layout of the sources, read with a parser: imports run one way only, async code is confined to the two
//! ends of the path, and every file opens with a comment about what is in it.

mod imports;

use std::collections::BTreeSet;

use imports::{Arrow, Source, Sources};

/// Folders and files at the top of `src`, lowest first. Each may import only those before it in this list:
/// shared types and tools first, then the order in which a report flows.
const ORDER: [&str; 32] = [
    "clock",
    "model",
    "kinds",
    "log_throttle",
    "log_writer",
    "tls_files",
    "config",
    "logging",
    "signals",
    "http_client",
    "probe",
    "metrics",
    "decode",
    "normalize",
    "classify",
    "findings",
    "encode",
    "recent",
    "pipeline",
    "policy",
    "intake",
    "export",
    "admin",
    "explain",
    "docs",
    "commands",
    "cli",
    "background",
    "systemd",
    "reload",
    "daemon",
    "main",
];

/// Folders and files that may have async code.
const ASYNC: [&str; 8] = ["admin", "background", "daemon", "export", "intake", "main", "reload", "signals"];

/// Most lines of a file, without its inline tests.
const MAX_LINES: usize = 600;

/// Fails with everything that is wrong about the imports.
fn check_arrows(violation: impl Fn(&Arrow) -> Option<String>) {
    let found: Vec<_> = Sources::of_crate().arrows().iter().filter_map(violation).collect();
    assert!(found.is_empty(), "{} imports:\n{}", found.len(), found.join("\n"));
}

/// Fails with everything that is wrong about the files.
fn check_files(violation: impl Fn(&Source) -> Option<String>) {
    let found: Vec<_> = Sources::of_crate().files().iter().filter_map(violation).collect();
    assert!(found.is_empty(), "{} files:\n{}", found.len(), found.join("\n"));
}

#[test]
fn imports_of_files_form_no_cycle() {
    let sources = Sources::of_crate();
    let cycles = imports::cycles(&sources.arrows());
    assert!(cycles.is_empty(), "files import each other in a cycle:\n{}", cycles.join("\n"));
}

#[test]
fn imports_of_folders_follow_the_order() {
    let rank = |top: &str| ORDER.iter().position(|known| *known == top);
    check_arrows(|Arrow { from, to, path }| {
        let importer = imports::top(from);
        let imported = imports::top(to);
        let is_lower =
            rank(imported).zip(rank(importer)).is_some_and(|(imported, importer)| imported < importer);
        let allowed = is_lower || importer == imported || importer == "lib";
        (!allowed)
            .then(|| format!("src/{from} imports {path}: {importer} comes before {imported} in the order"))
    });
}

#[test]
fn imports_enter_a_folder_by_its_mod_file() {
    check_arrows(|Arrow { from, to, path }| {
        let (folder, _) = to.rsplit_once('/')?;
        let entered = imports::entered_folder(from, folder)?;
        let by_mod = *to == format!("{entered}/mod.rs");
        (!by_mod).then(|| format!("src/{from} imports {path}: enter {entered} by its mod.rs"))
    });
}

#[test]
fn imports_of_a_child_never_name_its_parent() {
    check_arrows(|Arrow { from, to, path }| {
        let folder = to.strip_suffix("/mod.rs")?;
        let is_child = from.starts_with(&format!("{folder}/"));
        is_child.then(|| format!("src/{from} imports {path}: a child must not name its parent"))
    });
}

#[test]
fn order_names_every_top_folder() {
    let files = Sources::of_crate();
    let found: BTreeSet<&str> = files.files().iter().map(|file| imports::top(&file.name)).collect();
    let known: BTreeSet<&str> = ORDER.iter().copied().chain(["lib"]).collect();
    assert_eq!(found, known);
}

#[test]
fn async_code_stays_at_the_ends() {
    check_files(|source| {
        let misplaced = !ASYNC.contains(&imports::top(&source.name)) && source.is_async();
        misplaced.then(|| format!("src/{}: async code belongs to {ASYNC:?}", source.name))
    });
}

#[test]
fn files_open_with_a_comment() {
    check_files(|source| {
        let opens = source.text.starts_with("//! ");
        (!opens).then(|| format!("src/{} opens without a comment about what is in it", source.name))
    });
}

#[test]
fn files_hold_one_concept() {
    check_files(|source| {
        let lines = source.lines_without_tests();
        (lines > MAX_LINES).then(|| format!("src/{}: {lines} lines, at most {MAX_LINES}", source.name))
    });
}

#[test]
fn file_names_name_a_concept() {
    check_files(|source| {
        let vague = ["util", "helper", "common", "misc"].iter().any(|word| source.name.contains(word));
        vague.then(|| format!("src/{}: name it after what is in it", source.name))
    });
}

#[test]
fn map_names_every_module() {
    let sources = Sources::of_crate();
    let map = &sources.files().iter().find(|source| source.name == "lib.rs").unwrap().text;
    for top in ORDER.iter().filter(|top| **top != "main") {
        assert!(map.contains(&format!("mod {top};")), "lib.rs does not declare {top}");
    }
}

fn sources(files: &[(&str, &str)]) -> Sources {
    Sources::new(files.iter().map(|(name, text)| Source::new(name, text)).collect())
}

fn arrows(files: &[(&str, &str)]) -> Vec<String> {
    sources(files).arrows().into_iter().map(|arrow| format!("{} -> {}", arrow.from, arrow.to)).collect()
}

#[test]
fn arrows_in_every_notation_are_found() {
    let folder = ("b/mod.rs", "pub mod c;");
    let file = ("b/c.rs", "");
    for text in [
        "use crate::b::c::X;",
        "use crate::{b::{c::X}};",
        "use crate::b::c; fn f() { c::x() }",
        "use crate::b; fn f() { b::c::x() }",
        "fn f() { crate::b::c::x() }",
        "fn f() -> crate::b::c::X { todo!() }",
        "fn f() { println!(\"{}\", crate::b::c::x()) }",
        "use crate::b; fn f() { json!({ \"x\": b::c::x() }) }",
        "use super::b::c::X;",
        "mod inner { use super::super::b::c::X; }",
    ] {
        assert!(arrows(&[("a.rs", text), folder, file]).contains(&"a.rs -> b/c.rs".to_owned()), "{text}");
    }
    assert_eq!(arrows(&[("b/mod.rs", "mod c; pub use c::X;"), file]), ["b/mod.rs -> b/c.rs"]);
    assert_eq!(arrows(&[folder, ("b/c.rs", "use super::X;")]), ["b/c.rs -> b/mod.rs"]);
}

#[test]
fn arrows_of_tests_and_comments_are_left_out() {
    for text in [
        "#[cfg(test)] mod tests { use crate::b::X; }",
        "impl A { #[cfg(test)] fn f() { crate::b::x() } }",
        "// crate::b\n/// [`crate::b`]\nfn f() { println!(\"crate::b\") }",
    ] {
        assert_eq!(arrows(&[("a.rs", text), ("b.rs", "")]), [""; 0], "{text}");
    }
}

#[test]
fn async_code_is_found_in_every_form() {
    for text in ["async fn f() {}", "fn f() { async {}; }", "use tokio::net;", "fn f() { hyper::x() }"] {
        assert!(Source::new("a.rs", text).is_async(), "{text}");
    }
    for text in ["fn f() {}", "use std::net;", "#[cfg(test)] mod tests { use tokio::net; }"] {
        assert!(!Source::new("a.rs", text).is_async(), "{text}");
    }
}

#[test]
fn entered_folder_is_the_outermost_new_one() {
    let entered = |from, folder| imports::entered_folder(from, folder);
    assert_eq!(entered("a/x.rs", "b/c").as_deref(), Some("b"));
    assert_eq!(entered("b/x.rs", "b/c").as_deref(), Some("b/c"));
    assert_eq!(entered("b/c/x.rs", "b"), None);
}

#[test]
fn lines_end_before_the_inline_tests() {
    let text = "#[cfg(test)]\nuse x;\nfn f() {}\n\n#[cfg(test)]\nmod tests {\n}\n";
    assert_eq!(Source::new("a.rs", text).lines_without_tests(), 3);
}

#[test]
fn cycle_is_found_with_its_files() {
    let cyclic = sources(&[
        ("a.rs", "use crate::b::X;"),
        ("b.rs", "use crate::c::X;"),
        ("c.rs", "use crate::a::X;"),
        ("d.rs", "use crate::a::X;"),
    ]);
    assert_eq!(imports::cycles(&cyclic.arrows()), ["a.rs, b.rs, c.rs"]);
    let straight = sources(&[("a.rs", "use crate::b::X;"), ("b.rs", "")]);
    assert_eq!(imports::cycles(&straight.arrows()), [""; 0]);
}
