//! The words of sources, messages and documents: terms of the field, in American spelling. The list has words that
//! a reader would have to learn anew, or that leave open who acts, each with the term to use instead.

use std::path::Path;

/// A word, or two that follow each other, in lower case; and the term to use instead.
#[rustfmt::skip]
const AVOIDED: &[(&str, &str)] = &[
    // Earlier names for what Prometheus, OTLP, HTTP and Rust have terms for.
    ("parcel", "batch"), ("parcels", "batches"), ("outbox", "buffer"), ("shelf", "batch queue"), ("shelve", "enqueue"),
    ("ripe", "ready (not_before)"), ("ripen", "clear the backoff"), ("ripens", "next_ready_at"), ("unripe", "not ready"),
    ("telling", "temporality"), ("is_told", "is_acknowledged"), ("unsaid", "suppressed"), ("say_rest", "on_drop"),
    ("keep_house", "spawn_background_tasks"), ("keep_table", "run_series_expiry"), ("look_through", "expire_series"),
    ("let_go", "evict"), ("may_go", "can_evict"), ("maygo", "EvictionFilter"), ("make_room", "evict_for_demand"),
    ("coldest_first", "eviction_candidates"), ("lose_detail", "degrade"), ("find_room", "allocate"),
    ("least_limit", "min_limit"), ("lendable", "shared capacity"), ("lent", "shared"), ("keeps_coming", "frequent"),
    ("keepscoming", "Frequent"), ("newcomer", "new series"), ("newcomers", "new series"),
    ("may_take", "may_reclaim"), ("may_borrow", "may_use_shared"), ("can_be_met", "is_satisfiable"),
    ("take_reserve", "take_fallback"), ("keeps_sites_apart", "isolates_sites"), ("leave_upload", "end_upload"),
    ("holds_secret", "contains_secret"), ("hides_secret", "contains_secret"), ("looks_secret", "looks_like_secret"),
    ("is_reset_like", "is_credential_path"), ("next_suspect", "next_trigger"), ("end_of_private", "sensitive_end"),
    ("cut_characters", "truncate_chars"), ("clean_prefix", "clean_prefix_len"), ("can_count", "is_metric_relevant"),
    ("givenattribute", "AttributeSink"), ("giveattribute", "AttributeSink"), ("nothing_to_mend", "nothing_to_upgrade"),
    ("vocabulary", "label values"), ("vocabularies", "label values"), ("assess", "evaluate"), ("assesses", "evaluates"),
    ("assessment", "evaluation"), ("mend", "repair, upgrade"), ("mended", "repaired"), ("mends", "repairs"),
    ("mending", "repairing"), ("rootless", "strip_root_dot"), ("readvalue", "ValueSeed"), ("readkey", "ValueSeed"),
    ("hand_over", "emit"), ("read_item_by_item", "decode_items_individually"), ("count_capped", "record_capped"),
    ("inhand", "in flight"), ("in_hand", "in_flight"), ("oldest_leaves", "evict_when_full"), ("has_to_leave", "poll_evicted"),
    ("ask_to_leave", "request_eviction"), ("ask_oldest_to_leave", "evict_least_recent"), ("wants_peer", "needs_peer_addr"),
    ("announced_by", "proxy_protocol_sources"), ("unannounced", "ProxyProtocolError"), ("patience", "timeouts"),
    ("reads_in_a_row", "READ_BUDGET"), ("give_back", "release, requeue"), ("uncut", "slab rest"),
    ("answer_without_counting", "respond_uncounted"), ("scheme_missing", "default_scheme"),
    ("say_panic", "log_panic"), ("say_why", "log_rejection"), ("clap_says", "report_clap_error"),
    ("complaint", "error"), ("complaints", "errors"), ("keeper", "spill task"), ("set_aside", "quarantine"),
    ("setaside", "quarantine"), ("move_aside", "move_to_quarantine"), ("begins_whole", "has_complete_framing"),
    ("fate", "outcome"), ("fates", "outcomes"), ("dead_after", "TCP_USER_TIMEOUT"), ("max_turns", "MAX_CONCURRENT_READS"),
    ("is_saved", "set_spool_file"), ("when_saved", "resume_after_spill"), ("take_overdue", "take_for_spill"),
    ("take_to_save", "take_for_spill"), ("save_meanwhile", "spill_in_background"), ("save_after", "SPILL_AFTER"),
    ("put_back", "requeue"), ("clear_away", "delete"), ("is_short", "is_under_pressure"), ("until_short", "pressure"),
    ("unfit", "drop_reason"), ("healed", "recovered"), ("give_up", "abandon"), ("growing_sum", "monotonic_sum"),
    ("siege", "attack load"), ("swarm", "connection flood"), ("surroundings", "fault environment"),
    ("dashboard_world", "dashboard_fixture"),
    // Words that leave open who acts, or that a dictionary explains differently.
    ("whoever", "the actor: client, peer, proxy, collector"), ("nobody", "no client, no reader"),
    ("somebody", "the actor"), ("anybody", "any client"), ("so many", "the number of"), ("for ever", "indefinitely"),
    ("in hand", "in flight"), ("in vain", "failed"), ("the books", "accounting"),
    ("books", "accounting"), ("clothes", "mirroring"), ("stranger", "unknown"), ("strangers", "unknown"),
    ("the pen", "a mistyped path"),
    // British spelling.
    ("normalise", "normalize"), ("normalised", "normalized"), ("normalises", "normalizes"), ("normalising", "normalizing"),
    ("recognise", "recognize"), ("recognised", "recognized"), ("recognises", "recognizes"), ("colour", "color"),
    ("colours", "colors"), ("licence", "license"), ("behaviour", "behavior"), ("labelled", "labeled"),
    ("serialise", "serialize"), ("serialised", "serialized"), ("honour", "honor"), ("honoured", "honored"),
    ("honours", "honors"), ("neighbour", "neighbor"), ("neighbours", "neighbors"), ("ageing", "aging"),
    ("favour", "favor"), ("grey", "gray"), ("judgement", "judgment"),
];

/// Paths below the repository's root that people read.
const READ: [&str; 16] = [
    "README.md",
    "SECURITY.md",
    "CONTRIBUTING.md",
    "Cargo.toml",
    "build.rs",
    "clippy.toml",
    "docs",
    "src",
    "tests",
    "benches",
    "examples",
    "fuzz",
    "dashboards",
    "deploy",
    "packaging",
    ".github",
];

/// Paths with texts of others, or with words that have to be named: captures, lock files, this list.
const EXEMPT: [&str; 12] = [
    "tests/corpus",
    "tests/golden/chromium",
    "tests/golden/firefox",
    "tests/golden/webkit",
    "tests/golden/samples",
    "tests/samples",
    "tests/integration/wording.rs",
    "tests/e2e/grammars",
    "fuzz/target",
    "fuzz/corpus",
    "src/classify/browser_cases.txt",
    "src/classify/noise/cases.txt",
];

/// Extensions of texts. Files without an extension are texts as well.
const EXTENSIONS: [&str; 12] =
    ["rs", "py", "md", "toml", "yml", "yaml", "json", "sh", "lua", "conf", "service", "caddy"];

#[test]
fn texts_contain_no_avoided_word() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut files = 0;
    for path in READ.iter().map(|name| root.join(name)).filter(|path| path.exists()) {
        visit(root, &path, &mut |name, text| {
            files += 1;
            for (line, word, instead) in avoided_words(text) {
                found.push(format!(
                    "{name}:{line}: {word:?}: write {instead:?}, or another term of the field"
                ));
            }
        });
    }
    assert!(files > 200, "only {files} files were read");
    assert!(found.is_empty(), "{} avoided words:\n{}", found.len(), found.join("\n"));
}

#[test]
fn avoided_words_across_lines_are_found() {
    let words =
        |text| avoided_words(text).into_iter().map(|(line, word, _)| (line, word)).collect::<Vec<_>>();
    assert_eq!(words("/// Nobody says so\n/// many things"), [(1, "nobody"), (1, "so many")]);
    assert_eq!(words("fn keep_house(Parcel) {}"), [(1, "keep_house"), (1, "parcel")]);
    assert_eq!(words("let next_parcel: ParcelQueue;"), [(1, "parcel"), (1, "parcel")]);
    assert_eq!(words("so much, and many fateful days"), []);
}

/// Calls `each` with the name and the text of every file below `path`, but not through links.
fn visit(root: &Path, path: &Path, each: &mut dyn FnMut(&str, &str)) {
    let name = path.strip_prefix(root).unwrap().to_str().unwrap();
    if EXEMPT.contains(&name) || name.contains("__pycache__") || path.is_symlink() {
        return;
    }
    if path.is_dir() {
        let mut entries: Vec<_> =
            std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for entry in entries {
            visit(root, &entry, each);
        }
    } else if path.extension().is_none_or(|extension| EXTENSIONS.iter().any(|known| extension == *known))
        && let Ok(text) = std::fs::read_to_string(path)
    {
        each(name, &text);
    }
}

/// Returns the avoided words of a text, each with its line and the term to use instead. Two words may be on two
/// lines.
fn avoided_words(text: &str) -> Vec<(usize, &'static str, &'static str)> {
    let mut found = Vec::new();
    let mut previous_line = 0;
    let mut previous = String::new();
    for (line, content) in (1..).zip(text.lines()) {
        let is_separator = |c: char| !c.is_alphanumeric() && c != '_';
        for identifier in content.split(is_separator).filter(|word| !word.is_empty()) {
            let word = identifier.to_lowercase();
            let pair = format!("{previous} {word}");
            let parts = parts(identifier);
            for (avoided, instead) in AVOIDED {
                if *avoided == pair {
                    found.push((previous_line, *avoided, *instead));
                } else if *avoided == word || parts.iter().any(|part| part == avoided) {
                    found.push((line, *avoided, *instead));
                }
            }
            previous_line = line;
            previous = word;
        }
    }
    found
}

/// Returns the words of an identifier, in lower case.
fn parts(identifier: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut after_lowercase = false;
    for character in identifier.chars() {
        if character == '_' || (after_lowercase && character.is_uppercase()) {
            parts.push(String::new());
        }
        if character != '_' {
            parts.last_mut().unwrap().extend(character.to_lowercase());
        }
        after_lowercase = character.is_lowercase();
    }
    parts
}
