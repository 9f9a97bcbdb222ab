//! Checks that the manifest records exactly the redactions that its spec requests.

use std::collections::BTreeSet;

use super::{Check, VerifyReport};
use crate::package::layout::MANIFEST;
use crate::package::manifest::Manifest;

pub(super) fn check(manifest: &Manifest, report: &mut VerifyReport) {
    let mut find = |message: String| report.find(Check::Manifest, Some(MANIFEST), message);
    let asked = match manifest.spec.resolved.redactions() {
        Ok(asked) => asked,
        Err(error) => return find(error.to_string()),
    };
    let mut told = BTreeSet::new();
    for (column, redaction) in manifest.columns.iter().flat_map(|c| c.redaction.iter().map(move |r| (&c.name, r))) {
        let (path, method) = (redaction.path.as_str(), redaction.method.as_str());
        told.insert(path);
        if asked.get(path) != Some(&method) {
            find(format!(
                "column `{column}` says that `{path}` is redacted by {method}, which its spec does not request"
            ));
        }
        let id = redaction.key_id.as_deref();
        let is_id = |id: &str| id.len() == 16 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if (method == "hmac_sha256") != id.is_some() || !id.is_none_or(is_id) {
            find(format!("column `{column}` has no fitting `key_id` for the method {method} of `{path}`"));
        }
    }
    for column in &manifest.dropped {
        if asked.get(column.as_str()) != Some(&"drop") || !told.insert(column) {
            find(format!("`dropped` has `{column}`, which its spec does not drop"));
        }
    }
    // A source without columns has nothing to redact.
    if !manifest.columns.is_empty() {
        for (path, method) in asked.iter().filter(|(path, _)| !told.contains(*path)) {
            find(format!("the spec redacts `{path}` by {method}, but no column records it"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::verify::VerifyReport;
    use crate::package::manifest::{ColumnRedaction, tests::manifest};

    fn redaction(path: &str, method: &str, key_id: Option<&str>) -> ColumnRedaction {
        ColumnRedaction { path: path.into(), method: method.into(), key_id: key_id.map(str::to_owned), values: 1 }
    }

    fn found(change: impl FnOnce(&mut Manifest)) -> Vec<String> {
        let mut manifest = manifest();
        manifest.spec.resolved =
            json!({"redact": {"event_id": {"hmac_sha256": {"key_env": "KEY"}}, "user.name": "mask", "note": "drop"}})
                .into();
        manifest.columns[0].redaction =
            vec![redaction("event_id", "hmac_sha256", Some("0123456789abcdef")), redaction("user.name", "mask", None)];
        manifest.dropped = vec!["note".to_owned()];
        change(&mut manifest);
        let mut report = VerifyReport::new(&crate::store::Location::Local("package".into()));
        check(&manifest, &mut report);
        report.findings.iter().map(|finding| finding.message.clone()).collect()
    }

    #[test]
    fn a_manifest_that_says_what_its_spec_asks_for_is_sound() {
        assert_eq!(found(|_| {}), Vec::<String>::new());
        assert_eq!(found(|m| (m.columns, m.dropped) = (Vec::new(), Vec::new())), Vec::<String>::new());
    }

    #[test]
    fn a_redaction_that_is_missing_or_another_is_found() {
        let one = |change: fn(&mut Manifest)| found(change).join("\n");
        assert_eq!(
            one(|m| drop(m.columns[0].redaction.pop())),
            "the spec redacts `user.name` by mask, but no column records it"
        );
        assert_eq!(one(|m| m.dropped.clear()), "the spec redacts `note` by drop, but no column records it");
        assert_eq!(
            one(|m| m.columns[0].redaction[1].method = "nullify".into()),
            "column `event_id` says that `user.name` is redacted by nullify, which its spec does not request"
        );
        assert_eq!(
            one(|m| m.columns[0].redaction[0].key_id = None),
            "column `event_id` has no fitting `key_id` for the method hmac_sha256 of `event_id`"
        );
        assert_eq!(
            one(|m| m.dropped.push("event_id".into())),
            "`dropped` has `event_id`, which its spec does not drop"
        );
        assert_eq!(
            one(|m| m.spec.resolved.set("redact", json!({"note": 1}))),
            "`redact` in `spec.resolved` is not a method for each path"
        );
    }
}
