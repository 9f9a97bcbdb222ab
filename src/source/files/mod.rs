//! Files as a source: listed by path, glob or prefix, with columns and time ranges derived from their names and folders.

pub mod hive;
pub mod list;

pub(super) mod error;
mod lakehouse;
mod named_dates;
mod objects;
mod overlap;
mod packages;
mod path_time;
mod same_file;

use arrow::datatypes::Schema;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::formats::{self, FileInspection, FileRequest};
use super::{
    ChunkReader, Constants, Input, InputFacts, InspectRequest, InspectionSteps, ListError, Listing, Period,
    ReadRequest, Source, SourceError, SourceFile, SourceKind, StepResults, constants,
};
use crate::diagnostic::{Diagnostic, shown};
use crate::error::ErrorCode;
use crate::job::{self, Job, OnEmptyFile, SourceFormat};
use crate::source::formats::rows::inspect::in_one_step;
use crate::store::Location;

pub use overlap::reads_file;
pub use path_time::{named_days, path_coverage, path_coverage_in, path_unit, units_of};

/// The files that a job's `source.uri` matches.
#[derive(Debug)]
pub struct FileSource {
    settings: job::Source,
    /// Where the job writes, which must not be inside the source.
    output: Location,
    /// Zone of times without an offset, from the spec's `time`.
    time_zone: TimeZone,
    /// Zone of the window.
    window_zone: TimeZone,
}

impl FileSource {
    /// The source of a job.
    pub fn new(job: &Job) -> Self {
        Self {
            settings: job.source.clone(),
            output: job.output.clone(),
            time_zone: job.time.timezone.clone(),
            window_zone: job.window.timezone.clone(),
        }
    }

    fn file<'a>(&self, input: &'a Input) -> Result<&'a SourceFile, SourceError> {
        input.file().ok_or_else(|| SourceError {
            name: input.name().to_owned(),
            position: None,
            code: ErrorCode::Internal,
            message: "not a file, but it was planned for a source of files; this is a bug".to_owned(),
        })
    }

    fn is_unexpectedly_empty(&self, file: &SourceFile) -> bool {
        file.bytes == 0 && file.format.is_text() && self.settings.on_empty_file == OnEmptyFile::Fail
    }
}

impl Source for FileSource {
    fn kind(&self) -> SourceKind {
        SourceKind::Files
    }

    fn list(&self, period: Period) -> Result<Listing, ListError> {
        overlap::check(&self.settings, &self.output)?;
        let mut listing = list::list(&self.settings)?;
        if let Some(path_time) = &self.settings.path_time {
            listing = listing.within(path_time, [&self.time_zone, &self.window_zone], period.start, period.end)?;
        }
        Ok(Listing {
            inputs: listing.files.into_iter().map(Input::File).collect(),
            skipped: listing.skipped,
            adjacent: listing.adjacent.into_iter().map(Input::File).collect(),
        })
    }

    fn check_settings(&self, inputs: &[Input]) -> Result<(), Diagnostic> {
        let files = || inputs.iter().filter_map(Input::file);
        if let Some(records) = &self.settings.records
            && let Some(file) = files().find(|file| file.format != SourceFormat::Json)
        {
            let format = file.format.name();
            let message = format!("`records` is for JSON documents, and {} is read as {format}", shown(&file.name));
            let help = "remove `records`, or set `format: json` if the files are documents";
            return Err(records.mistake(message).help(help));
        }
        let mut constants = files().map(|file| file.constants.len()).peekable();
        if self.settings.hive_partitioning == Some(true) && constants.peek().is_some() && constants.all(|n| n == 0) {
            let message = "`hive_partitioning: true` has no effect: no file is in a folder named key=value";
            let mistake = Diagnostic::at(self.settings.uri.span.as_ref(), message);
            return Err(mistake.help("remove it, or name the folder above those folders in `uri`"));
        }
        Ok(())
    }

    fn inspect<'a>(
        &'a self,
        input: &'a Input,
        request: InspectRequest<'a>,
    ) -> (Box<dyn InspectionSteps<'a> + 'a>, StepResults<'a>) {
        let InspectRequest { time_column, times } = request;
        match self.file(input) {
            Err(error) => in_one_step(input.name(), move || Err(error.clone())),
            Ok(file) if self.is_unexpectedly_empty(file) => in_one_step(&file.name, move || {
                let message = "it has 0 bytes; write it again, or set `source.on_empty_file: skip`".to_owned();
                let (name, code) = (file.name.clone(), ErrorCode::SourceUnreadable);
                Err(SourceError { name, position: None, code, message })
            }),
            Ok(file) => {
                let records = self.settings.records.as_ref().map(|records| records.value.as_str());
                formats::inspect(file, FileInspection { time_column, times, records })
            }
        }
    }

    fn constants(&self, inputs: &[Input], columns: &Schema) -> Result<Constants, ListError> {
        let setting = self.settings.hive_partitioning;
        let fields = hive::columns(inputs, setting, columns)?;
        let is_unused = fields.is_empty() && setting.is_none() && inputs.iter().any(|i| !i.constants().is_empty());
        let note = is_unused.then(|| {
            "folders named key=value are no columns, because not every file has the same keys or a file has a column of \
             that name; set `hive_partitioning` to say what is meant"
                .to_owned()
        });
        Ok(Constants { fields, note })
    }

    fn coverage(&self, inputs: &[Input], facts: &[InputFacts]) -> Vec<Option<(Timestamp, Timestamp)>> {
        match &self.settings.path_time {
            Some(path_time) => {
                let zones = [&self.time_zone, &self.window_zone];
                inputs.iter().map(|input| path_coverage_in(input.name(), path_time, zones)).collect()
            }
            None => {
                let zones = [TimeZone::UTC, self.time_zone.clone(), self.window_zone.clone()];
                named_dates::coverage(inputs, facts, &zones)
            }
        }
    }

    fn open(&self, request: ReadRequest<'_>) -> Result<Box<dyn ChunkReader>, SourceError> {
        constants::open(request, |request| {
            formats::open(FileRequest {
                file: self.file(request.input)?.clone(),
                schema: request.schema,
                units: request.units,
                on_bad_rows: request.on_bad_rows,
                records: self.settings.records.as_ref().map(|records| records.value.clone()),
                within: request.within,
            })
        })
    }

    fn recheck(&self, input: &Input) -> Result<(), SourceError> {
        self.file(input)?.check_unchanged()
    }
}
