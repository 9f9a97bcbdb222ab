//! Resolves a spec, its catalog and the environment to a [`Job`], or reports every error.
//!
//! The environment (clock, variables, folders) comes in as a value, so the same four inputs always give the same job.
//! The only files touched are the spec and its catalog.

mod canonical;
mod evidence;
mod files;
mod no_effect;
mod output_path;
mod rendering;
mod withheld;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::catalog::{self, BUILT_IN_TYPES, Catalog};
use crate::diagnostic::{Diagnostic, Located, SourceText, in_order, nearest, shown};
use crate::failure;
use crate::job::{Filter, Format, Job, Partitioning, SourceSettings, SourceUri, TimeColumn, Window};
use crate::json::JsonError;
use crate::plan::partition::partitions;
use crate::spec::{self, CompressionSpec, FileKind, FilterSpec, SourceSpec, Spec, TimeSpec, TypeEntry, document_place};
use crate::store::Location;
use crate::yaml;

use self::canonical::Identity;

pub use self::canonical::job_id;

/// What a spec may depend on besides its text, probed once.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The clock, `--now`.
    pub now: Timestamp,
    /// `--var`.
    pub vars: BTreeMap<String, String>,
    /// Environment variables; templates see only those that the spec declares.
    pub env: BTreeMap<String, String>,
    /// Absolute. What relative paths on the command line start at.
    pub current_dir: PathBuf,
    /// `--output`: what a relative `output.uri` is below. A relative one starts at `current_dir`.
    pub output_base: Location,
}

/// Where a spec's catalog is read.
#[derive(Debug, Clone)]
pub enum CatalogText {
    /// In the file that the spec names, or the nearest one.
    OfFile,
    /// In memory, as it was read before; `None` where there was none.
    Recorded(Option<Arc<SourceText>>),
}

/// Where a job's package goes.
#[derive(Debug, Clone)]
pub enum Destination {
    /// Where the spec says; a revision of it beside, with `.r2` and so on behind its name.
    OfSpec {
        /// 0 for the first package, from 2 on for those that supersede it.
        revision: u32,
    },
    /// Into a store of jobs, `jobs/<id>/package`, whatever the spec says.
    Store {
        /// The store.
        store: Location,
        /// 0 for the first job of its kind; distinguishes jobs that are otherwise equal.
        revision: u32,
        /// Whose job it is, if the store has jobs of several tenants. None of them learns what another asked for.
        tenant: Option<String>,
    },
}

impl Destination {
    fn revision(&self) -> u32 {
        match self {
            Self::OfSpec { revision } | Self::Store { revision, .. } => *revision,
        }
    }

    fn tenant(&self) -> Option<String> {
        match self {
            Self::OfSpec { .. } => None,
            Self::Store { tenant, .. } => tenant.clone(),
        }
    }
}

/// Reads a spec and its catalog and leaves nothing to default.
///
/// # Errors
/// Every mistake that could be found in the spec and in its catalog, in order of place; a file that cannot be read is one, too.
pub fn resolve(spec_path: &Path, environment: &Environment) -> Result<Job, Vec<Diagnostic>> {
    let source = read_spec(spec_path, environment)?;
    resolve_text(&source, &CatalogText::OfFile, &Destination::OfSpec { revision: 0 }, environment)
}

/// Reads a spec's text.
///
/// # Errors
/// The one mistake that it cannot be read.
pub fn read_spec(path: &Path, environment: &Environment) -> Result<Arc<SourceText>, Vec<Diagnostic>> {
    files::read(path, environment)
}

/// Resolves a spec that is in memory, for a package that may be in a store of jobs.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_text(
    source: &Arc<SourceText>,
    catalog: &CatalogText,
    destination: &Destination,
    environment: &Environment,
) -> Result<Job, Vec<Diagnostic>> {
    let resolve = || {
        let root = yaml::parse(source)?;
        match spec::kind_of(&root).map_err(|mistake| vec![mistake])? {
            FileKind::Spec => resolve_document(source, &root, catalog, destination, environment),
            FileKind::Catalog => {
                let mistake = Diagnostic::at(Some(&document_place(&root)), "this is a catalog, not a spec");
                Err(vec![mistake.help("a spec has `type: …`; name the catalog in it, or put it beside the spec")])
            }
        }
    };
    resolve().map_err(in_order)
}

/// The job of another revision.
///
/// # Errors
/// As [`resolve`]; none where the job was resolved in the same environment.
pub fn revise(job: &Job, revision: u32, environment: &Environment) -> Result<Job, Vec<Diagnostic>> {
    let catalog = CatalogText::Recorded(job.catalog_source.clone());
    resolve_text(&job.spec_source, &catalog, &Destination::OfSpec { revision }, environment)
}

/// The mistakes of a spec or catalog, in the same order, without touching data. None for a sound file.
pub fn check_file(path: &Path, environment: &Environment) -> Vec<Diagnostic> {
    let check = || {
        let source = files::read(path, environment)?;
        let root = yaml::parse(&source)?;
        match spec::kind_of(&root).map_err(|mistake| vec![mistake])? {
            FileKind::Spec => {
                let destination = Destination::OfSpec { revision: 0 };
                resolve_document(&source, &root, &CatalogText::OfFile, &destination, environment).map(drop)
            }
            FileKind::Catalog => {
                let mut errors = Vec::new();
                Catalog::decode(&root, &mut errors);
                if errors.is_empty() { Ok(()) } else { Err(errors) }
            }
        }
    };
    check().err().map(in_order).unwrap_or_default()
}

fn resolve_document(
    source: &Arc<SourceText>,
    root: &yaml::Node,
    catalog: &CatalogText,
    destination: &Destination,
    environment: &Environment,
) -> Result<Job, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let (root, window) = rendering::render_document(root, environment, &mut errors);
    let spec = Spec::decode(&root, &mut errors);
    let job = spec.and_then(|spec| {
        let named = spec.catalog.as_ref();
        let catalog_source = match catalog {
            CatalogText::OfFile => files::read_catalog(source, named, environment, &mut errors),
            CatalogText::Recorded(text) => text.clone(),
        };
        let catalog = catalog_source.and_then(|text| Some((files::parse_catalog(&text, &mut errors)?, text)));
        build(&root, spec, catalog, window, destination, environment, &mut errors)
    });
    match job {
        Some(job) if errors.is_empty() => Ok(job),
        _ => Err(errors),
    }
}

/// Merges spec, catalog and built-in entry. `None` where something needed is missing; its mistake is then reported.
#[expect(clippy::too_many_lines, reason = "most lines name the fields of a job")]
fn build(
    root: &yaml::Node,
    spec: Spec,
    catalog: Option<(Catalog, Arc<SourceText>)>,
    window: Option<Window>,
    destination: &Destination,
    environment: &Environment,
    errors: &mut Vec<Diagnostic>,
) -> Option<Job> {
    let (catalog, catalog_source) = catalog.unzip();
    let entry = merge(&spec, catalog.as_ref(), errors);
    let (from, time) = needed(&spec, root, &entry, catalog.as_ref(), errors);
    let default_zone = catalog.as_ref().and_then(|c| c.defaults.as_ref()).and_then(|d| d.timezone.as_ref());
    if let (Some(source), Some(time)) = (&from, &time) {
        no_effect::check(&spec, &entry, source, time, errors);
    }
    let fields = entry.fields.unwrap_or_default();
    let output_text = match destination {
        Destination::OfSpec { .. } => output_path::text(&spec, window.as_ref(), errors),
        Destination::Store { .. } => Some("package/".to_owned()),
    };
    let vars = spec::var_values(&spec.vars, &environment.vars, &environment.env, &mut Vec::new());

    let evidence = evidence::Evidence::of(&spec, environment, errors);

    let from = from?;
    let time = time?;
    let window = window?;
    let output_text = output_text?;
    let evidence::Evidence { redactions, encryption, signing, chain } = evidence?;
    let uris = from.uris.into_iter().map(|uri| {
        let value = files::beside(&uri, environment, errors)?;
        Some(SourceUri { absolute: Located { value, span: uri.span }, written: uri.value })
    });
    let uris = uris.collect::<Option<Vec<_>>>()?;
    let key = if spec.partition.is_some() { "partition" } else { "window" };
    let partition = spec.partition.unwrap_or_default();
    if let Err(error) = partitions(&window, partition.by.unwrap_or_default()) {
        let place = root.entry(key).and_then(|e| e.key.span.as_ref());
        errors.push(Diagnostic::at(place, error.to_string()));
    }
    let filters: Vec<Filter> = spec.filters.iter().flat_map(|filter| on_columns(filter, &fields)).collect();
    let format = spec.format.map_or_else(Format::default, |f| f.value);
    let retention = spec.output.as_ref().and_then(|o| o.retention.clone());
    let identity = Identity {
        revision: destination.revision(),
        tenant: destination.tenant(),
        name: spec.name.value,
        type_name: spec.type_name.value,
        source: SourceSettings {
            uris,
            options: from.options,
            exclude: from.exclude,
            format: from.format,
            hive_partitioning: from.hive_partitioning,
            path_time: from.path_time,
            compression: from.compression,
            on_empty_file: from.on_empty_file.unwrap_or_default(),
            csv: from.csv,
            lines: from.lines,
            records: from.records,
            keep: from.keep,
            plain_files: from.plain_files.unwrap_or_default(),
        },
        time: TimeColumn {
            column: time.column,
            parts: time.columns,
            combination: time.combination,
            format: time.format.unwrap_or_default(),
            timezone: time.timezone.as_ref().or(default_zone).map_or(TimeZone::UTC, |zone| zone.value.clone()),
            zones: time.zones.unwrap_or_default(),
        },
        id_column: entry.id,
        fields,
        schema: entry.schema.unwrap_or_default(),
        on_schema_drift: entry.on_schema_drift.unwrap_or_default(),
        window,
        partition: Partitioning {
            by: partition.by.unwrap_or_default(),
            max_rows: partition.max_rows,
            max_bytes: partition.max_bytes,
        },
        filters,
        where_sql: spec.where_sql,
        columns: spec.columns,
        redactions,
        order: spec.order.unwrap_or_default(),
        compression: spec.compression.map_or(CompressionSpec::Zstd, |c| c.value).of(&format),
        format,
        output_uri: output_text,
        output_options: spec.output.as_ref().map(|o| o.options.clone()).unwrap_or_default(),
        retention: retention.as_ref().map(|r| r.value),
        encryption,
        expectations: spec.expect,
        rows_digest: spec.rows_digest.unwrap_or_default(),
        on_partition_error: spec.on_partition_error.unwrap_or_default(),
        on_bad_rows: spec.on_bad_rows.unwrap_or_default(),
        on_null_time: spec.on_null_time.unwrap_or_default(),
    };
    let identify = || {
        let canonical = canonical::canonical(&identity)?;
        Ok((job_id(&canonical)?, canonical))
    };
    let (id, canonical) = match identify() {
        Ok(identified) => identified,
        Err::<_, JsonError>(error) => {
            errors.push(Diagnostic::at(None, failure::chain(&error)));
            return None;
        }
    };
    let of_spec = || output_path::place(&identity.output_uri, &identity.output_options, environment);
    let output = match destination {
        Destination::OfSpec { revision: 0 } => of_spec(),
        Destination::OfSpec { revision } => of_spec().with_suffix(&format!(".r{revision}")),
        Destination::Store { store, .. } => store.join("jobs").join(&id).join("package"),
    };
    let job = Job {
        id,
        name: identity.name,
        type_name: identity.type_name,
        description: spec.description.map(|d| d.value),
        labels: spec.labels.into_iter().map(|(name, label)| (name, label.value)).collect(),
        window: identity.window,
        partition: identity.partition,
        source: identity.source,
        time: identity.time,
        id_column: identity.id_column,
        fields: identity.fields,
        schema: identity.schema,
        on_schema_drift: identity.on_schema_drift,
        filters: identity.filters,
        where_sql: identity.where_sql,
        columns: identity.columns,
        redactions: identity.redactions,
        order: identity.order,
        format: identity.format,
        compression: identity.compression,
        settle: spec.window.settle.value,
        allow_open: spec.window.allow_open,
        output,
        retention: identity.retention,
        encryption: identity.encryption,
        signing,
        chain,
        expectations: identity.expectations,
        rows_digest: identity.rows_digest,
        on_partition_error: identity.on_partition_error,
        on_bad_rows: identity.on_bad_rows,
        on_null_time: identity.on_null_time,
        canonical,
        vars,
        spec_source: Arc::clone(&root.span.source),
        catalog_source,
    };
    if let (Some(retention), Err(error)) = (&retention, job.expires_at(environment.now)) {
        errors
            .push(retention.mistake(error.to_string()).help("choose a shorter one, or none to keep packages forever"));
    }
    Some(job)
}

/// The entry of the spec's type: each key from the spec, else from the catalog, else built in.
fn merge(spec: &Spec, catalog: Option<&Catalog>, errors: &mut Vec<Diagnostic>) -> TypeEntry {
    let name = &spec.type_name.value;
    let of_catalog = catalog.and_then(|c| c.types.get(name)).map(|t| &t.entry);
    let built_in = catalog::built_in(name);
    let own = &spec.entry;
    if built_in.is_none() && of_catalog.is_none() && own.source.is_none() && own.time.is_none() && !name.is_empty() {
        let names = || {
            let described = catalog.iter().flat_map(|c| c.types.keys()).map(String::as_str);
            BUILT_IN_TYPES.iter().map(|t| t.name).chain(described)
        };
        let mistake = spec.type_name.mistake(format!("unknown type `{}`", shown(name)));
        errors.push(mistake.help(match nearest(name, names()) {
            Some(known) => format!("did you mean `{known}`?"),
            None => {
                let mut known: Vec<&str> = names().collect();
                known.sort_unstable();
                known.dedup();
                format!("known: {}; describe another in a catalog, or with `source` and `time` here", known.join(", "))
            }
        }));
    }
    let pick = |key: fn(&TypeEntry) -> bool| {
        [Some(own), of_catalog, built_in.as_ref()].into_iter().flatten().find(|entry| key(entry))
    };
    TypeEntry {
        source: pick(|e| e.source.is_some()).and_then(|e| e.source.clone()),
        time: pick(|e| e.time.is_some()).and_then(|e| e.time.clone()),
        id: pick(|e| e.id.is_some()).and_then(|e| e.id.clone()),
        fields: pick(|e| e.fields.is_some()).and_then(|e| e.fields.clone()),
        schema: pick(|e| e.schema.is_some()).and_then(|e| e.schema.clone()),
        on_schema_drift: pick(|e| e.on_schema_drift.is_some()).and_then(|e| e.on_schema_drift),
    }
}

/// Source and time of an entry, or a mistake for each that is missing.
fn needed(
    spec: &Spec,
    root: &yaml::Node,
    entry: &TypeEntry,
    catalog: Option<&Catalog>,
    errors: &mut Vec<Diagnostic>,
) -> (Option<SourceSpec>, Option<TimeSpec>) {
    let is_known = catalog::built_in(&spec.type_name.value).is_some()
        || catalog.is_some_and(|c| c.types.contains_key(&spec.type_name.value))
        || spec.entry.source.is_some()
        || spec.entry.time.is_some();
    // A key that is written but empty has a mistake inside, reported there; so has a catalog that gave an error.
    let is_in_catalog = |e: &Diagnostic| e.span.as_ref().map(|s| &s.source) != Some(&root.span.source);
    let is_catalog_sound = (spec.catalog.is_none() || catalog.is_some()) && !errors.iter().any(is_in_catalog);
    if is_known && is_catalog_sound && spec.type_name.span.is_some() {
        let name = shown(&spec.type_name.value);
        if entry.source.is_none() && root.entry("source").is_none() {
            let mistake = spec.type_name.mistake(format!("the type `{name}` has no source"));
            errors.push(mistake.help(match catalog {
                Some(_) => "add `source: {uri: …}` to its entry in the catalog, or here",
                None => "no catalog.yaml was found; add one beside the spec, or `source: {uri: …}` here",
            }));
        }
        if entry.time.is_none() && root.entry("time").is_none() {
            let mistake = spec.type_name.mistake(format!("the type `{name}` has no time column"));
            errors.push(mistake.help("add `time: {column: …}` to its entry in the catalog, or here"));
        }
    }
    (entry.source.clone(), entry.time.clone())
}

/// The conditions of one filter on the column that its key names.
fn on_columns<'f>(
    filter: &'f FilterSpec,
    fields: &'f BTreeMap<String, Located<String>>,
) -> impl Iterator<Item = Filter> + 'f {
    let key = &filter.key.value;
    let column = fields.get(key).map_or(key, |column| &column.value);
    filter.conditions.iter().map(move |condition| Filter {
        column: Located { value: column.clone(), span: filter.key.span.clone() },
        key: key.clone(),
        condition: condition.clone(),
    })
}
