//! `report.html`: a package's manifest rendered for people. The page answers what an auditor asks about information
//! produced by the audited entity: where it comes from, what was requested, whether it is complete, and how its
//! accuracy can be checked. It is a pure function of the manifest, so it can be rendered again byte for byte. It proves
//! nothing by itself; it says so, and lists the commands that check the files. All wording is in Rust (`page` is the
//! templates' data); the templates only lay it out. `markup` escapes every value when it is written, so no template can
//! forget it; active or invisible content becomes a visible escape. The page needs no network and no script, and its
//! Content-Security-Policy allows only its own style sheet.

mod accuracy;
mod chart;
mod completeness;
mod conservation;
mod files;
mod markup;
mod page;
mod parameters;
mod slices;
mod source;
mod verdict;
mod words;

use std::borrow::Cow;
use std::sync::OnceLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};
use sha2::{Digest, Sha256};

use crate::package::layout::REPORT;
use crate::package::manifest::Manifest;
use page::Page;

const STYLE: &str = include_str!("report.css");

/// How many bytes of a page [`describes`] needs: the first lines of its head.
pub(crate) const HEAD_BYTES: usize = 2048;

/// A template failed to render: a bug.
#[derive(Debug, thiserror::Error)]
#[error("the report cannot be laid out; this is a bug")]
pub(crate) struct ReportError(#[from] minijinja::Error);

/// Renders a self-contained HTML page. `manifest_sha256` is the digest of the manifest's bytes.
///
/// # Errors
/// [`ReportError`].
pub(crate) fn html(manifest: &Manifest, manifest_sha256: &str) -> Result<String, ReportError> {
    let style = data_encoding::BASE64.encode(&Sha256::digest(STYLE));
    lay_out(HTML, &Page::of(manifest, manifest_sha256), &style)
}

/// Renders Markdown for a ticket or a pull request.
///
/// # Errors
/// [`ReportError`].
pub(crate) fn markdown(manifest: &Manifest, manifest_sha256: &str) -> Result<String, ReportError> {
    lay_out(MARKDOWN, &Page::of(manifest, manifest_sha256), "")
}

const HTML: &str = REPORT;
const MARKDOWN: &str = "report.md";

/// The templates, parsed once.
fn templates() -> Result<&'static Environment<'static>, ReportError> {
    static TEMPLATES: OnceLock<Environment<'static>> = OnceLock::new();
    if let Some(templates) = TEMPLATES.get() {
        return Ok(templates);
    }
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates.set_auto_escape_callback(|name| match name {
        MARKDOWN => AutoEscape::Custom("markdown".into()),
        _ => AutoEscape::Html,
    });
    templates.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    templates.set_formatter(markup::write);
    templates.add_filter("code", markup::code_span);
    templates.add_filter("fenced", markup::fenced);
    templates.add_template(HTML, include_str!("report.html.jinja"))?;
    templates.add_template(MARKDOWN, include_str!("report.md.jinja"))?;
    Ok(TEMPLATES.get_or_init(|| templates))
}

fn lay_out(template: &str, page: &Page, digest: &str) -> Result<String, ReportError> {
    let style = context! { text => Value::from_safe_string(STYLE.to_owned()), sha256 => digest };
    Ok(templates()?.get_template(template)?.render(context! { page => Serde(page), style => style })?)
}

/// Name and version of this program. Other releases may word a page differently.
pub(crate) fn maker() -> String {
    format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
}

/// Whether a page claims to be made from the manifest with this digest. Its first [`HEAD_BYTES`] are enough.
pub(crate) fn describes(page: &[u8], manifest_sha256: &str) -> bool {
    head(page).contains(&format!("<meta name=\"manifest-sha256\" content=\"{manifest_sha256}\">"))
}

/// Whether a page claims to be made by this release.
pub(crate) fn is_ours(page: &[u8]) -> bool {
    head(page).contains(&format!("<meta name=\"generator\" content=\"{}\">", maker()))
}

/// The part before the title, which is the first text that comes from the manifest.
fn head(page: &[u8]) -> Cow<'_, str> {
    let head = String::from_utf8_lossy(page.get(..HEAD_BYTES).unwrap_or(page));
    match head.find("<title>") {
        Some(end) => head.get(..end).unwrap_or_default().to_owned().into(),
        None => head,
    }
}

#[cfg(test)]
mod tests;
