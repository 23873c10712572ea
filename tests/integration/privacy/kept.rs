//! Settings that keep queries and paths: user, password and fragment are redacted nevertheless.

use lookoutd::config::{Config, PathSecrets, QueryPrivacy};
use proptest::prelude::*;
use serde_json::json;

use super::canary::{self, Canary};
use super::output_with;
use crate::support::in_process::InProcess;

/// URLs whose secret is redacted with any setting.
fn never_kept() -> BoxedStrategy<Canary> {
    let starts =
        prop::sample::select(vec!["https://", "WSS://", "//", "view-source:http://", "android-app://"]);
    let fragment = "Kana[a-zA-Z0-9]{8,20}";
    prop_oneof![
        (starts.clone(), canary::userinfo(), "(/cart)?(\\?a=1)?")
            .prop_map(|(start, user, end)| user.within(|text| format!("{start}{text}shop.example{end}"))),
        (starts, "(/cart)?(\\?a=1)?", "(token=)?", fragment).prop_map(|(start, middle, name, secret)| {
            Canary { text: format!("{start}shop.example{middle}#{name}{secret}"), secrets: vec![secret] }
        }),
    ]
    .boxed()
}

fn keeping(query: QueryPrivacy, path_secrets: PathSecrets) -> InProcess {
    let defaults = lookoutd::config::defaults();
    let privacy = lookoutd::config::Privacy { query, path_secrets, ..defaults.privacy };
    InProcess::new(&Config { privacy, ..defaults })
}

fn check(path: &InProcess, canary: &Canary, around: &str) -> Result<(), TestCaseError> {
    let quoted = around.replace("{}", &canary.text);
    let body = json!({ "type": "csp-violation", "url": canary.text, "user_agent": quoted,
        "body": { "blockedURL": canary.text, "originalPolicy": quoted, "sample": quoted, "novel": [quoted] } });
    let output = output_with(path, &body.to_string());
    prop_assert!(canary.found_in(&output).is_none(), "{body}\nresulted in\n{output}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn userinfo_and_fragment_are_always_redacted(canary in never_kept(), around in canary::around()) {
        check(&keeping(QueryPrivacy::Keep, PathSecrets::Keep), &canary, around)?;
        check(&keeping(QueryPrivacy::Names, PathSecrets::Keep), &canary, around)?;
    }

    #[test]
    fn query_values_are_redacted_where_names_are_kept(a in "Kana[a-zA-Z0-9]{8,20}", b in "Kana[a-zA-Z0-9]{8,20}", around in canary::around()) {
        let text = format!("https://shop.example/cart?token={a}&page=2&q[]={b}");
        let canary = Canary { text, secrets: vec![a, b] };
        check(&keeping(QueryPrivacy::Names, PathSecrets::Redact), &canary, around)?;
    }
}

/// The tests above would find a secret that is not redacted.
#[test]
fn kept_query_and_path_are_visible() {
    let path = keeping(QueryPrivacy::Keep, PathSecrets::Keep);
    let body = json!({ "type": "x", "url": "https://shop.example/reset/a81bc81b?q=kanarienvogel" });
    let output = output_with(&path, &body.to_string());
    assert!(output.contains("/reset/a81bc81b?q=kanarienvogel"), "{output}");
}
