//! Files as a source: listed by path, glob or prefix, with columns and time ranges derived from their names and folders.

pub(crate) mod hive;
pub(crate) mod list;

mod content;
pub(super) mod error;
mod lakehouse;
mod named_dates;
mod objects;
mod overlap;
mod packages;
mod path_time;
mod same_file;
mod several;

use std::sync::Arc;

use arrow::datatypes::Schema;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use self::list::ListedFile;
use super::formats::{self, FileRequest, TextSettings};
use super::{
    ChunkReader, ConstantColumns, Input, InputFacts, InspectRequest, InspectionSteps, ListError, Listing, Period,
    ReadRequest, SkippedInput, Source, SourceError, SourceFile, SourceKind, StepResults, constants, derived,
};
use crate::diagnostic::{Diagnostic, shown};
use crate::error::ErrorCode;
use crate::job::{self, Job, OnEmptyFile, SourceFormat, SourceUri};
use crate::source::formats::rows::inspect::in_one_step;
use crate::store::Location;

pub(crate) use overlap::reads_file;
pub(crate) use path_time::{named_days, path_coverage_in, path_unit, units_of};

/// The [`Source`] for a job's `source.uri`. Holds settings only; [`Source::list`] enumerates the files.
#[derive(Debug)]
pub(crate) struct FileSource {
    settings: job::SourceSettings,
    text: Arc<TextSettings>,
    /// The job's output location. `list` rejects a location inside the source, so that an export never reads its own files.
    output: Location,
    /// `time.timezone`: the zone of source times without an offset.
    time_zone: TimeZone,
    /// `window.timezone`: the zone of the window's dates.
    window_zone: TimeZone,
    /// Whether messages may show what files hold.
    shows_content: bool,
}

impl FileSource {
    /// Copies the settings that the source needs from `job`.
    pub(crate) fn new(job: &Job) -> Self {
        Self {
            settings: job.source.clone(),
            text: Arc::new(TextSettings::new(&job.source)),
            output: job.output.clone(),
            time_zone: job.time.timezone.clone(),
            window_zone: job.window.timezone.clone(),
            shows_content: !job.withholds_values(),
        }
    }

    /// Whether `on_empty_file: fail` applies.
    fn fails_as_empty(&self, file: &SourceFile) -> bool {
        file.bytes == 0 && self.settings.on_empty_file == OnEmptyFile::Fail
    }

    /// The zones that a date in a file name may be in.
    fn zones(&self) -> [&TimeZone; 2] {
        [&self.time_zone, &self.window_zone]
    }
}

fn require_file(input: &Input) -> Result<&SourceFile, SourceError> {
    input.file().ok_or_else(|| SourceError {
        name: input.name().to_owned(),
        position: None,
        code: ErrorCode::Internal,
        message: "is not a file, although the source kind is `files`; this is a bug in kt-export".to_owned(),
    })
}

impl Source for FileSource {
    fn kind(&self) -> SourceKind {
        SourceKind::Files
    }

    fn list(&self, period: Period) -> Result<Listing, ListError> {
        overlap::check(&self.settings, &self.output)?;
        let mut listing = list::list(&self.settings)?;
        if let Some(path_time) = &self.settings.path_time {
            listing = listing.within(&self.settings, path_time, self.zones(), period)?;
        }
        for files in [&mut listing.files, &mut listing.adjacent] {
            content::find_formats(&self.settings, files, self.shows_content)?;
        }
        let inputs = |files: Vec<ListedFile>| files.into_iter().map(|listed| Input::File(listed.file)).collect();
        Ok(Listing { inputs: inputs(listing.files), skipped: listing.skipped, adjacent: inputs(listing.adjacent) })
    }

    fn check_settings(&self, inputs: &[Input]) -> Result<(), Diagnostic> {
        let files = || inputs.iter().filter_map(Input::file);
        if let Some(records) = &self.settings.records
            && let Some(file) = files().find(|file| !file.format.has_envelopes())
        {
            let format = file.format.name();
            let message =
                format!("`records` applies only to JSON and NDJSON, but {} is read as {format}", shown(&file.name));
            let help = "remove `records`, or set `source.format` to `json` or `ndjson` if that is what the files are";
            return Err(records.mistake(message).help(help));
        }
        if let Some(csv) = &self.settings.csv
            && files().next().is_some()
            && files().all(|file| file.format != SourceFormat::Csv)
        {
            let mistake = csv.mistake("`csv` has no effect: no file of the source is read as CSV");
            return Err(mistake.help("remove `csv`, or set `source.format: csv`"));
        }
        if let Some(compression) = &self.settings.compression
            && let Some(file) = files().find(|file| !file.format.is_text())
        {
            let (name, format) = (shown(&file.name), file.format.name());
            let message = format!("`compression` has no effect: {name} is read as {format}, which compresses inside");
            return Err(compression.mistake(message).help("remove `compression`, or set `source.format`"));
        }
        if let Some(exclude) = self.settings.exclude.first()
            && self.settings.uris.iter().all(|uri| {
                let location = Location::parse(uri.as_str(), &self.settings.options);
                location.is_ok_and(|location| files().any(|file| file.at == location))
            })
        {
            let message = match self.settings.uris.len() {
                1 => "`exclude` has no effect: `uri` names one file",
                _ => "`exclude` has no effect: each `uri` names one file",
            };
            return Err(exclude.mistake(message).help("remove `exclude`, or set `uri` to a folder"));
        }
        let has_files = files().next().is_some();
        let has_keys = files().any(|file| !file.constants.is_empty());
        if self.settings.hive_partitioning == Some(true) && has_files && !has_keys {
            let message = "`hive_partitioning: true` has no effect: no file is in a folder named key=value";
            let mistake = Diagnostic::at(self.settings.uri_span(), message);
            return Err(
                mistake.help("remove `hive_partitioning`, or set `uri` to the parent of the `key=value` folders")
            );
        }
        Ok(())
    }

    fn inspect<'a>(
        &'a self,
        input: &'a Input,
        request: InspectRequest<'a>,
    ) -> (Box<dyn InspectionSteps<'a> + 'a>, StepResults<'a>) {
        match require_file(input) {
            Err(error) => in_one_step(input.name(), move || Err(error.clone())),
            Ok(file) if self.fails_as_empty(file) => in_one_step(&file.name, move || {
                let message =
                    "the file is empty (0 bytes); regenerate it, or set `source.on_empty_file: skip`".to_owned();
                let (name, code) = (file.name.clone(), ErrorCode::SourceUnreadable);
                Err(SourceError { name, position: None, code, message })
            }),
            Ok(file) => formats::inspect(file, request, &self.text),
        }
    }

    fn constants(&self, inputs: &[Input], file_schema: &Schema) -> Result<ConstantColumns, ListError> {
        let setting = self.settings.hive_partitioning;
        let fields = hive::columns(inputs, setting, file_schema)?;
        // Without a setting, keys become columns only if all files agree; the user must know when they do not.
        let ignores_keys = fields.is_empty() && setting.is_none() && inputs.iter().any(|i| !i.constants().is_empty());
        let note = ignores_keys.then(|| {
            "`key=value` folders do not become columns, because files have different keys or a file already has a column \
             with that name; set `hive_partitioning` to true or false"
                .to_owned()
        });
        Ok(ConstantColumns { fields, note })
    }

    fn claimed_periods(&self, inputs: &[Input], facts: &[InputFacts]) -> Vec<Option<(Timestamp, Timestamp)>> {
        match &self.settings.path_time {
            Some(path_time) => {
                inputs.iter().map(|input| path_coverage_in(input.name(), path_time, self.zones())).collect()
            }
            None => {
                // Tried in this order; many exporters name daily files by UTC date.
                let zones = [TimeZone::UTC, self.time_zone.clone(), self.window_zone.clone()];
                named_dates::coverage(inputs, facts, &zones)
            }
        }
    }

    fn without_content(&self, input: &Input) -> Option<SkippedInput> {
        let file = input.file()?;
        let is_skipped = file.bytes == 0 && self.settings.on_empty_file == OnEmptyFile::Skip;
        if !is_skipped || file.format.is_text() {
            return None;
        }
        // Who names a file means it.
        let names =
            |uri: &SourceUri| Location::parse(uri.as_str(), &self.settings.options).is_ok_and(|at| at == file.at);
        (!self.settings.uris.iter().any(names)).then(|| SkippedInput::unwritten(file.name.clone(), file.format))
    }

    fn open(&self, request: ReadRequest<'_>) -> Result<Box<dyn ChunkReader>, SourceError> {
        let open_file = |request: ReadRequest<'_>| {
            formats::open(FileRequest {
                file: require_file(request.input)?.clone(),
                schema: request.schema,
                units: request.units,
                on_bad_rows: request.on_bad_rows,
                text: self.text.clone(),
                within: request.within,
            })
        };
        derived::open(request, |request| constants::open(request, open_file))
    }

    fn recheck(&self, input: &Input) -> Result<(), SourceError> {
        require_file(input)?.check_unchanged()
    }
}
