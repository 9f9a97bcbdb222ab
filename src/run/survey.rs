//! Surveys the source: inspects every file, concurrently, for its schema, times and row counts. The plan is made from the
//! result.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use arrow::datatypes::{Fields, Schema};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::claims::{self, Claims};
use super::workers::{self, Next, Stream};
use crate::diagnostic::{Diagnostic, shown};
use crate::error::ErrorCode;
use crate::job::{DeclaredType, Job, OnEmptyFile, SourceFormat};
use crate::progress::Progress;
use crate::source::files::list::{self, Listing};
use crate::source::files::{hive, overlap};
use crate::source::rows::infer::TableEvidence;
use crate::source::skip::SkippedFile;
use crate::source::{
    self, FileFacts, Findings, InspectRequest, Inspection, Piece, Pieces, SourceError, SourceFile, SourceSchema,
    TimeRange, Undecodable, UnitFacts,
};
use crate::stop::Stop;
use crate::time::{TimeFormat, TimeParser};

/// What is known about the source.
pub struct Survey {
    /// Files to read, in the order of their names.
    pub files: Vec<SourceFile>,
    /// The facts about each file.
    pub facts: Vec<FileFacts>,
    /// For each file, the half-open period in its name.
    pub coverage: Vec<Option<(Timestamp, Timestamp)>>,
    /// Files that are not read, and why.
    pub skipped: Vec<SkippedFile>,
    /// The combined columns of all files.
    pub schema: SourceSchema,
    /// Columns taken from folder names.
    pub hive_keys: Vec<String>,
    /// Column chunks that cannot be decoded, with the index of their file.
    pub undecodable: Vec<(usize, Undecodable)>,
    /// Whether every file was inspected to its end, rather than to the limit of pieces.
    pub is_whole: bool,
    /// The result of checking `path_time`; empty if the source was inspected only in part.
    pub claims: Claims,
}

/// Why the source could not be surveyed.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// The source names no files.
    #[error(transparent)]
    List(#[from] list::ListError),
    /// Files disagree and `on_schema_drift` is `fail`, or a declared type does not fit.
    #[error("{0}")]
    Schema(String),
    /// A setting does not apply to these files.
    #[error("{}", .0.message)]
    Setting(Box<Diagnostic>),
    /// Folder names cannot become columns.
    #[error(transparent)]
    Hive(#[from] hive::HiveError),
    /// A signal stopped the survey.
    #[error("stopped")]
    Stopped,
    /// The operating system cannot start threads.
    #[error("cannot start worker threads")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

/// Lists and inspects the job's source.
///
/// A file that cannot be inspected is not an error here: its facts record the problem, and the plan decides which
/// partitions it affects.
///
/// # Errors
/// [`SurveyError`].
pub fn survey(job: &Job, threads: usize, stop: &Stop, progress: &Progress) -> Result<Survey, SurveyError> {
    let mut listing = list_source(job)?;
    let adjacent = std::mem::take(&mut listing.adjacent);
    let mut survey = inspect(job, listing, None, threads, stop, progress)?;
    survey.claims = claims::check(job, &survey, &adjacent, threads, stop)?;
    Ok(survey)
}

/// Lists the job's source, without the files that `path_time` excludes.
///
/// # Errors
/// [`SurveyError::List`].
pub fn list_source(job: &Job) -> Result<Listing, SurveyError> {
    overlap::check(&job.source, &job.output)?;
    let listing = list::list(&job.source)?;
    Ok(match &job.source.path_time {
        Some(path_time) => listing.within(path_time, zones(job), job.window.start, job.window.end)?,
        None => listing,
    })
}

/// The time zones that a date in a file name may be in.
pub(super) fn zones(job: &Job) -> [&TimeZone; 2] {
    [&job.time.timezone, &job.window.timezone]
}

/// Inspects files of the job's source. `pieces` limits how many pieces are read from the start of each file of a row
/// format.
///
/// # Errors
/// [`SurveyError`].
pub fn inspect(
    job: &Job,
    listing: Listing,
    pieces: Option<u64>,
    threads: usize,
    stop: &Stop,
    progress: &Progress,
) -> Result<Survey, SurveyError> {
    let Listing { files, skipped, .. } = listing;
    check_settings(job, &files)?;
    progress.listed_files.store(files.len() as u64, Ordering::Relaxed);
    let times = times(job);
    let (results, is_whole) = inspect_files(job, &times, &files, pieces, threads, stop, progress)?;
    let mut evidence = TableEvidence::default();
    let mut facts = Vec::with_capacity(files.len());
    let mut undecodable = Vec::new();
    for (index, (file, result)) in files.iter().zip(results).enumerate() {
        match result {
            Some(Ok(inspection)) => {
                undecodable.extend(inspection.undecodable.into_iter().map(|one| (index, one)));
                evidence.merge(inspection.evidence);
                facts.push(inspection.facts);
            }
            Some(Err(problem)) => facts.push(FileFacts { units: Vec::new(), problem: Some(problem) }),
            None if stop.is_set() => return Err(SurveyError::Stopped),
            None => facts.push(FileFacts {
                units: Vec::new(),
                problem: Some(unreadable(file, "it was not inspected".to_owned())),
            }),
        }
    }
    for (file, facts) in files.iter().zip(&mut facts) {
        if file.bytes == 0 && job.source.on_empty_file == OnEmptyFile::Fail {
            let message = "it has 0 bytes; write it again, or set `source.on_empty_file: skip`".to_owned();
            facts.problem.get_or_insert_with(|| unreadable(file, message));
        }
    }
    if job.columns.is_none()
        && let Some(how) = evidence.columns_are_data()
    {
        return Err(SurveyError::Schema(format!(
            "the rows have {how}: the keys look like data, and every row would be written with all of them; select what is \
             to be exported with `columns: [{}, …]`",
            job.time.column.value
        )));
    }
    let declared: Vec<_> = job.schema.iter().map(|(name, declared)| (name.value.clone(), *declared)).collect();
    let mut schema =
        evidence.finish(&declared, job.on_schema_drift).map_err(|error| SurveyError::Schema(error.to_string()))?;
    if !inspection_reads_times(job) {
        facts.iter_mut().for_each(forget_times);
    }
    let hive = hive::columns(&files, job.source.hive_partitioning, &schema.arrow)?;
    let hive_keys: Vec<String> = hive.iter().map(|f| f.name().clone()).collect();
    schema.arrow = Arc::new(Schema::new(
        schema.arrow.fields().iter().cloned().chain(hive.into_iter().map(Arc::new)).collect::<Fields>(),
    ));
    if hive_keys.contains(&job.time.column.value) {
        for (file, facts) in files.iter().zip(&mut facts) {
            time_of_folder(file, facts, &job.time.column.value, &times);
        }
    }
    if hive_keys.is_empty() && job.source.hive_partitioning.is_none() && files.iter().any(|f| !f.hive.is_empty()) {
        schema.drift.push(
            "folders named key=value are no columns, because not every file has the same keys or a file has a column of \
             that name; set `hive_partitioning` to say what is meant"
                .to_owned(),
        );
    }
    let coverage = coverage(job, &files, &facts);
    Ok(Survey { files, facts, coverage, skipped, schema, hive_keys, undecodable, is_whole, claims: Claims::default() })
}

/// The parser for the job's time column.
pub(super) fn times(job: &Job) -> TimeParser {
    TimeParser::new(job.time.format.clone(), job.time.timezone.clone()).with_date_zone(job.window.timezone.clone())
}

/// Discards the inspected times of a file.
fn forget_times(facts: &mut FileFacts) {
    for unit in &mut facts.units {
        unit.times = TimeRange::Unknown;
        unit.unplaced_rows = unit.rows;
    }
}

/// Whether the inspection and the column's declared type give the same time, or none, for every value. If not, inspected
/// times do not prove where rows lie, and every file is read for every partition.
fn inspection_reads_times(job: &Job) -> bool {
    let time = &job.time;
    let declared = job.schema.iter().find(|(name, _)| name.value == time.column.value).map(|(_, declared)| *declared);
    match declared {
        None | Some(DeclaredType::Text | DeclaredType::Number) => true,
        Some(DeclaredType::Timestamp | DeclaredType::Date) => time.format == TimeFormat::Auto,
        Some(
            DeclaredType::Int8
            | DeclaredType::Int16
            | DeclaredType::Int32
            | DeclaredType::Int64
            | DeclaredType::Uint8
            | DeclaredType::Uint16
            | DeclaredType::Uint32
            | DeclaredType::Uint64,
        ) => !matches!(time.format, TimeFormat::Pattern(_)),
        // A JSON cell of CSV has the time in quotes; the other types change digits.
        Some(
            DeclaredType::Json
            | DeclaredType::Bool
            | DeclaredType::Float32
            | DeclaredType::Float64
            | DeclaredType::Decimal { .. },
        ) => false,
    }
}

/// Refuses settings that do not apply to any of the files.
fn check_settings(job: &Job, files: &[SourceFile]) -> Result<(), SurveyError> {
    let refused = |mistake: Diagnostic| Err(SurveyError::Setting(Box::new(mistake)));
    if let Some(records) = &job.source.records
        && let Some(file) = files.iter().find(|file| file.format != SourceFormat::Json)
    {
        let format = file.format.name();
        let message = format!("`records` is for JSON documents, and {} is read as {format}", shown(&file.name));
        return refused(
            records.mistake(message).help("remove `records`, or set `format: json` if the files are documents"),
        );
    }
    if job.source.hive_partitioning == Some(true) && !files.is_empty() && files.iter().all(|f| f.hive.is_empty()) {
        let message = "`hive_partitioning: true` has no effect: no file is in a folder named key=value";
        let mistake = Diagnostic::at(job.source.uri.span.as_ref(), message);
        return refused(mistake.help("remove it, or name the folder above those folders in `uri`"));
    }
    Ok(())
}

/// The inspection of a file; `None` if it was not inspected to its end.
type InspectionResult = Option<Result<Inspection, SourceError>>;

/// Inspects files of the job's source without combining the results.
///
/// # Errors
/// [`SurveyError::Threads`].
pub(super) fn inspect_separately(
    job: &Job,
    files: &[SourceFile],
    pieces: Option<u64>,
    threads: usize,
    stop: &Stop,
    progress: &Progress,
) -> Result<Vec<InspectionResult>, SurveyError> {
    let mut looked = inspect_files(job, &times(job), files, pieces, threads, stop, progress)?.0;
    if !inspection_reads_times(job) {
        looked.iter_mut().flatten().flatten().for_each(|inspection| forget_times(&mut inspection.facts));
    }
    Ok(looked)
}

/// Inspects files, and returns whether every one was inspected to its end.
fn inspect_files(
    job: &Job,
    times: &TimeParser,
    files: &[SourceFile],
    pieces: Option<u64>,
    threads: usize,
    stop: &Stop,
    progress: &Progress,
) -> Result<(Vec<InspectionResult>, bool), SurveyError> {
    let request = InspectRequest { time_column: &job.time.column.value, times, records: records(job) };
    let looks: Vec<FileInspection<'_>> =
        files.iter().map(|file| FileInspection::new(file, request, pieces, progress)).collect();
    workers::for_each_item(threads, &looks, stop)?;
    let is_whole = looks.iter().all(|look| look.left.load(Ordering::Relaxed) > 0);
    Ok((looks.into_iter().map(FileInspection::into_result).collect(), is_whole))
}

/// One file being inspected.
struct FileInspection<'a> {
    file: &'a SourceFile,
    pieces: Mutex<Box<dyn Pieces<'a> + 'a>>,
    /// Number of pieces that may still be read.
    left: AtomicU64,
    findings: Mutex<Option<Findings<'a>>>,
    result: Mutex<Option<Result<Inspection, SourceError>>>,
    progress: &'a Progress,
}

impl<'a> FileInspection<'a> {
    fn new(file: &'a SourceFile, request: InspectRequest<'a>, limit: Option<u64>, progress: &'a Progress) -> Self {
        let (pieces, findings) = source::inspector(file, request);
        let left = limit.unwrap_or(u64::MAX).into();
        Self { file, pieces: pieces.into(), left, findings: Some(findings).into(), result: None.into(), progress }
    }

    /// `None` if the file was not inspected to its end.
    fn into_result(self) -> Option<Result<Inspection, SourceError>> {
        self.result.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Stream for FileInspection<'a> {
    type Item = Piece<'a>;

    fn next(&self) -> Next<Piece<'a>> {
        let mut pieces = match self.pieces.try_lock() {
            Ok(pieces) => pieces,
            Err(TryLockError::WouldBlock) => return Next::Busy,
            Err(TryLockError::Poisoned(_)) => return Next::End,
        };
        if lock(&self.findings).as_ref().is_none_or(Findings::is_settled) {
            return Next::End;
        }
        // Only the thread that holds the lock on `pieces` changes the count.
        let left = self.left.load(Ordering::Relaxed);
        let piece = if left > 0 { pieces.next_piece() } else { None };
        if piece.is_some() {
            self.left.store(left - 1, Ordering::Relaxed);
        }
        piece.map_or(Next::End, Next::Item)
    }

    fn work(&self, piece: Piece<'a>) {
        let finding = piece();
        if let Some(findings) = &mut *lock(&self.findings) {
            findings.add(finding);
        }
    }

    fn end(&self) {
        // `None` if inspecting a piece panicked.
        if let Some(findings) = lock(&self.findings).take() {
            let result = findings.finish();
            *lock(&self.result) = Some(result);
        }
        Progress::add(&self.progress.inspected_files, 1);
    }

    fn panicked(&self, text: String) {
        *lock(&self.findings) = None;
        *lock(&self.result) = Some(Err(unreadable(self.file, format!("the reader panicked: {text}"))));
    }
}

/// Locks a mutex even after a panic: a half-changed value is not used again.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets the times of a file whose time column comes from a folder name: every row has that time.
fn time_of_folder(file: &SourceFile, facts: &mut FileFacts, column: &str, times: &TimeParser) {
    let at = hive::value(file, column).and_then(|text| times.text(text).ok()).map(|instant| instant.at);
    for unit in &mut facts.units {
        unit.times = at.map_or(TimeRange::Empty, |at| TimeRange::Within { min: at, max: at });
        unit.unplaced_rows = if at.is_some() { 0 } else { unit.rows };
    }
}

/// The dotted path of the array of rows in JSON documents.
fn records(job: &Job) -> Option<&str> {
    job.source.records.as_ref().map(|r| r.value.as_str())
}

fn unreadable(file: &SourceFile, message: String) -> SourceError {
    SourceError { name: file.name.clone(), position: None, code: ErrorCode::SourceUnreadable, message }
}

/// The periods in file names: by `path_time`, if the spec has it. Otherwise, if some files' times are unknown, by the dates
/// in the names, but only if every readable file with a date in its name has rows of that date only. One broken daily file
/// then fails its day, and not the whole window.
fn coverage(job: &Job, files: &[SourceFile], facts: &[FileFacts]) -> Vec<Option<(Timestamp, Timestamp)>> {
    if let Some(path_time) = &job.source.path_time {
        return files.iter().map(|f| list::path_coverage_in(&f.name, path_time, zones(job))).collect();
    }
    if facts.iter().all(has_known_times) {
        return vec![None; files.len()];
    }
    let by_zone = |zone: &TimeZone| -> Option<Vec<Option<(Timestamp, Timestamp)>>> {
        let named: Vec<_> = files.iter().map(|f| named_interval(&f.name, zone)).collect();
        let mut witnesses = 0;
        for (named, facts) in named.iter().zip(facts) {
            let Some((start, end)) = named else { continue };
            if !has_known_times(facts) {
                continue;
            }
            for unit in &facts.units {
                match unit.times {
                    TimeRange::Within { min, max } if *start <= min && max < *end => witnesses += 1,
                    TimeRange::Empty if unit.rows == 0 => {}
                    TimeRange::Within { .. } | TimeRange::Empty | TimeRange::Unknown => return None,
                }
            }
        }
        (witnesses > 0).then_some(named)
    };
    [TimeZone::UTC, job.time.timezone.clone(), job.window.timezone.clone()]
        .iter()
        .find_map(by_zone)
        .unwrap_or_else(|| vec![None; files.len()])
}

/// Whether a file was inspected to its end and every unit with rows has a time.
fn has_known_times(facts: &FileFacts) -> bool {
    let is_unknown = |unit: &UnitFacts| unit.times == TimeRange::Empty && unit.rows > 0;
    facts.problem.is_none() && !facts.units.iter().any(is_unknown)
}

fn named_interval(name: &str, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
    let (first, last) = list::named_days(name)?;
    let start = first.to_zoned(zone.clone()).ok()?.timestamp();
    let end = last.tomorrow().ok()?.to_zoned(zone.clone()).ok()?.timestamp();
    Some((start, end))
}
