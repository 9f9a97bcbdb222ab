//! Proposes a catalog entry for files that nobody has described yet, from what the beginning of them holds.
//!
//! Nothing here is a second reader of data: an entry is guessed from names and first lines, the source is read with it as a
//! run reads it, and the first entry is kept whose every row fits. What is still a guess is told with the entry, and what
//! cannot be told is said. A run never guesses; it reads what the entry says.

mod csv;
mod entry;
mod envelope;
mod id;
mod lines;
mod probe;
mod record;
mod render;
mod time;
mod type_name;
mod yaml;

use arrow::datatypes::DataType;
use jiff::Timestamp;

use self::entry::{Entry, EntryTime};
use self::probe::{Listed, Reading};
use self::time::{Candidate, Certainty};
use crate::diagnostic::shown;
use crate::error::Exit;
use crate::job::{Delimiter, Header, LastLine, SourceFormat};
use crate::resolve::Environment;
use crate::run::memory::Memory;
use crate::run::{self, RunError, SurveyError};
use crate::source::formats::content::{Content, TextHead, content_of, text_head};
use crate::source::{Extensions, Input, ListError, SkippedInput, SourceFile};
use crate::stop::Stop;
use crate::store::{Location, LocationError, StoreOptions};

pub(crate) use self::record::ProposalRecord;
pub(crate) use self::render::catalog_text;
pub(crate) use self::type_name::{is_type_name, type_name_of};

/// Decompressed bytes of a text file that formats and dialects are guessed from.
const HEAD_BYTES: usize = 64 << 10;

/// Dialects that are tried.
const TRIED_DIALECTS: usize = 24;

/// Rows that are shown.
const SAMPLE_ROWS: usize = 3;

/// What is needed besides the source.
pub(crate) struct Options {
    /// Relative paths start at its current folder.
    pub environment: Environment,
    /// Number of worker threads.
    pub threads: usize,
    /// Budget that the entry's plan must fit in.
    pub memory: Memory,
    /// Checked between files.
    pub stop: Stop,
}

/// An entry that reads everything that was read of a source.
#[derive(Debug)]
pub(crate) struct Proposal {
    /// Name of the type.
    pub type_name: String,
    entry: Entry,
    files: Files,
    /// How the format was found, and what is uncertain about it.
    notes: Vec<String>,
    times: Vec<Candidate>,
    certainty: Option<Certainty>,
    columns: Vec<ColumnNote>,
    rows: usize,
    sample: Vec<Vec<Option<String>>>,
    /// Earliest and latest time that was seen.
    pub range: Option<(Timestamp, Timestamp)>,
    /// What a person has to do before a run works.
    pub to_do: Vec<String>,
}

/// How much there is, and how much of it was read.
#[derive(Debug)]
struct Files {
    listed: usize,
    bytes: u64,
    read: usize,
    /// Whether the files that were read were read to their ends.
    is_whole: bool,
    skipped: Vec<SkippedInput>,
}

/// A column, as far as it was read.
#[derive(Debug)]
struct ColumnNote {
    name: String,
    type_name: String,
    nulls: usize,
}

impl Proposal {
    /// The proposal with another text for the same place, for a catalog in another folder.
    pub(crate) fn with_uri(mut self, uri: String) -> Self {
        self.entry.uri = uri;
        self
    }

    /// Names of the first columns, at most `most`.
    pub(crate) fn first_columns(&self, most: usize) -> Vec<String> {
        self.columns.iter().take(most).map(|column| yaml::scalar(&column.name)).collect()
    }

    /// Files that are not read although they may hold data, in words.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let surprising = self.files.skipped.iter().filter(|file| file.code.is_surprising());
        run::skips(surprising.map(|file| (file.code, file.name.as_str(), file.reason.as_str())))
    }
}

/// Why no entry can be proposed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProposalError {
    /// The source is not a location.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// It cannot be listed or read, or no entry that could be found works.
    #[error("{}", run_error(.0))]
    Run(RunError),
    /// Its files do not show what they are.
    #[error("{0}")]
    Unclear(String),
}

impl ProposalError {
    /// The exit code of the process.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Location(_) => Exit::Usage,
            Self::Run(error) => error.exit(),
            Self::Unclear(_) => Exit::Failed,
        }
    }
}

/// Mistakes of an entry that nobody has written have no place to show.
fn run_error(error: &RunError) -> String {
    match error {
        RunError::Spec(mistakes) => {
            let texts = mistakes.iter().map(|mistake| match &mistake.help {
                Some(help) => format!("{}; {help}", mistake.message),
                None => mistake.message.clone(),
            });
            texts.collect::<Vec<_>>().join("; ")
        }
        error => crate::failure::chain(error),
    }
}

/// Proposes an entry for a file, folder, glob or prefix. `uri` is what the entry says.
///
/// # Errors
/// [`ProposalError`].
pub(crate) fn propose(uri: &str, type_name: String, options: &Options) -> Result<Proposal, ProposalError> {
    Location::parse(uri, &StoreOptions::default())?;
    let mut notes = Vec::new();
    let (entry, listed) = find_format(uri, &mut notes, options)?;
    if listed.inputs.is_empty() {
        let why = "holds no file with rows: every file is empty or skipped; name a folder that has some";
        return Err(ProposalError::Unclear(format!("{} {why}", shown(uri))));
    }
    let has = |wanted: fn(&SourceFile) -> bool| listed.inputs.iter().filter_map(Input::file).any(wanted);
    let (entry, listed, reading) = if has(|file| file.format == SourceFormat::Csv) {
        let (entry, reading) = fit_csv(entry, &listed, &mut notes, options)?;
        (entry, listed, reading)
    } else if has(|file| file.format.has_envelopes()) {
        fit_json(entry, listed, &mut notes, options)?
    } else {
        let reading = read(&entry, &listed, options)?;
        if let Some(fault) = reading.faults.first() {
            return Err(unclear_rows(fault));
        }
        (entry, listed, reading)
    };
    conclude(entry, &listed, &reading, notes, type_name, options)
}

fn unclear_rows(fault: &str) -> ProposalError {
    ProposalError::Unclear(format!(
        "cannot tell how to read the files: {fault}; if files differ, inspect each kind alone (name a file or a glob), or \
         write the entry by hand (docs/spec.md)"
    ))
}

fn read(entry: &Entry, listed: &Listed, options: &Options) -> Result<Reading, ProposalError> {
    probe::read(entry, listed, options)?.map_err(|error| probe::survey_failed(&listed.job, options, error))
}

/// Finds an entry with which the source can be listed.
fn find_format(uri: &str, notes: &mut Vec<String>, options: &Options) -> Result<(Entry, Listed), ProposalError> {
    let entry = Entry::new(uri);
    let error = match probe::list(&entry, options)? {
        Ok(listed) => return Ok((entry, listed)),
        Err(error) => error,
    };
    let may_be_text =
        matches!(error, ListError::NoFile { .. } | ListError::UnknownFormat { .. } | ListError::UnknownContent { .. });
    // All files, whatever their names say.
    let every = Entry { format: Some(SourceFormat::Lines), pattern: Some("^(?<line>.*)$".to_owned()), ..entry.clone() };
    if may_be_text && let Ok(listed) = probe::list(&every, options)? {
        return by_content(entry, every, listed, notes, options);
    }
    let job = probe::job(&entry, options)?;
    Err(probe::survey_failed(&job, options, SurveyError::List(error)))
}

/// Finds the format of files whose names do not tell it.
fn by_content(
    entry: Entry,
    every: Entry,
    listed: Listed,
    notes: &mut Vec<String>,
    options: &Options,
) -> Result<(Entry, Listed), ProposalError> {
    let mut told = Vec::new();
    let mut others = Vec::new();
    for file in listed.inputs.iter().filter_map(Input::file) {
        match content_of(file).map_err(of_source)? {
            Content::Rows(format) if !told.contains(&format) => told.push(format),
            Content::Rows(_) | Content::Nothing => {}
            Content::DoublyCompressed(format) => {
                let (path, format) = (file.at.to_string(), format.short_name());
                let error = ListError::DoublyCompressed { path, format };
                return Err(probe::survey_failed(&listed.job, options, SurveyError::List(error)));
            }
            Content::Other { first_line } => others.push((file, first_line)),
        }
    }
    match (told.as_slice(), others.first()) {
        ([format], None) => {
            let entry = Entry { format: Some(*format), ..entry };
            notes.push("the extension tells no format, so the entry names it".to_owned());
            relist(entry, listed, options)
        }
        ([], Some((file, first_line))) => {
            let (file, first_line) = ((*file).clone(), first_line.clone());
            by_lines(entry, every, listed, (&file, &first_line), notes, options)
        }
        (_, Some((file, first_line))) => Err(ProposalError::Unclear(format!(
            "the files are of several kinds: some are {}, and {} begins with `{first_line}`; inspect each kind alone: name a \
             file or a glob",
            told.iter().map(|format| format.name()).collect::<Vec<_>>().join(" and "),
            shown(&file.name)
        ))),
        (formats, None) => Err(ProposalError::Unclear(format!(
            "the files are of several kinds, {}, and their names do not tell which; inspect each kind alone: name a file or \
             a glob",
            formats.iter().map(|format| format.name()).collect::<Vec<_>>().join(" and ")
        ))),
    }
}

/// Lists the source again as an entry says.
fn relist(entry: Entry, listed: Listed, options: &Options) -> Result<(Entry, Listed), ProposalError> {
    match probe::list(&entry, options)? {
        Ok(listed) => Ok((entry, listed)),
        Err(error) => Err(probe::survey_failed(&listed.job, options, SurveyError::List(error))),
    }
}

fn of_source(error: crate::source::SourceError) -> ProposalError {
    ProposalError::Run(RunError::Failed(error.into()))
}

/// Finds out whether text is a known log, or CSV.
fn by_lines(
    entry: Entry,
    every: Entry,
    listed: Listed,
    (file, first_line): (&SourceFile, &str),
    notes: &mut Vec<String>,
    options: &Options,
) -> Result<(Entry, Listed), ProposalError> {
    let heads = heads(&listed, |_| true)?;
    if let Some(known) = lines::matching(heads.iter().flat_map(|(_, head)| csv::lines(head))) {
        let entry = Entry { pattern: Some(known.pattern.to_owned()), ..every };
        let reading = read(&entry, &listed, options)?;
        if let Some(fault) = reading.faults.first() {
            return Err(ProposalError::Unclear(format!(
                "the lines look like {}, but not all can be read: {fault}; repair the file or leave it out with a glob",
                known.name
            )));
        }
        notes.push(format!("every line that was read looks like {}", known.name));
        notes.extend(known.note.map(str::to_owned));
        return Ok((entry, listed));
    }
    let as_csv = Entry { format: Some(SourceFormat::Csv), ..entry };
    let unknown = || {
        ProposalError::Unclear(format!(
            "cannot tell what {} holds: it begins with `{first_line}`, which is not Parquet, Arrow, Avro, JSON, a table with a \
             time, or a known log; write `format: lines` with a pattern, or `format: csv` with \
             its dialect (docs/spec.md)",
            shown(&file.name)
        ))
    };
    let (as_csv, listed) = relist(as_csv, listed, options)?;
    let is_table = heads
        .iter()
        .all(|(_, head)| csv::guesses(head, Delimiter::Character(',')).first().is_some_and(|guess| guess.cells > 1));
    if !is_table {
        return Err(unknown());
    }
    match fit_csv(as_csv.clone(), &listed, &mut Vec::new(), options) {
        // Prose may have as many words on each line, but no time in the same place.
        Ok((fitted, reading)) if !time::candidates(&reading.columns).is_empty() => {
            let is_named = fitted.csv.is_some_and(|csv| matches!(csv.header, Header::LinePrefix(_)));
            notes.extend((!is_named).then(|| "CSV, because each line has the same number of cells".to_owned()));
            Ok((as_csv, listed))
        }
        Ok(_) | Err(ProposalError::Unclear(_)) => Err(unknown()),
        Err(error) => Err(error),
    }
}

/// The beginnings of the files that are wanted.
fn heads(
    listed: &Listed,
    is_wanted: impl Fn(&SourceFile) -> bool,
) -> Result<Vec<(SourceFile, TextHead)>, ProposalError> {
    let files = listed.inputs.iter().filter_map(Input::file).filter(|file| is_wanted(file) && file.bytes > 0);
    files.map(|file| Ok((file.clone(), text_head(file, HEAD_BYTES).map_err(of_source)?))).collect()
}

/// Finds the dialect with which every row of the CSV files that is read fits.
fn fit_csv(
    entry: Entry,
    listed: &Listed,
    notes: &mut Vec<String>,
    options: &Options,
) -> Result<(Entry, Reading), ProposalError> {
    let heads = heads(listed, |file| file.format == SourceFormat::Csv)?;
    let ends_complete = heads.iter().all(|(_, head)| head.ends_complete);
    let mut guesses: Vec<csv::Guess> = Vec::new();
    for (file, head) in &heads {
        let is_tabbed = Extensions::of(file.name.as_ref()).is_tab_separated();
        for mut guess in csv::guesses(head, Delimiter::Character(if is_tabbed { '\t' } else { ',' })) {
            if !ends_complete {
                guess.dialect.last_line = LastLine::Any;
            }
            if guesses.iter().all(|known| known.dialect != guess.dialect) {
                guesses.push(guess);
            }
        }
    }
    let mut first_fault = None;
    for guess in guesses.into_iter().take(TRIED_DIALECTS) {
        let mut entry = Entry { csv: Some(guess.dialect.clone()), ..entry.clone() };
        let reading = match probe::read(&entry, listed, options)? {
            Ok(reading) => reading,
            Err(error) => {
                first_fault.get_or_insert_with(|| error.to_string());
                continue;
            }
        };
        if let Some(fault) = reading.faults.first() {
            first_fault.get_or_insert_with(|| fault.clone());
            continue;
        }
        notes.extend(guess.notes);
        if !ends_complete {
            notes.push("a last line has no line end: `last_line: any` takes it for a whole row".to_owned());
        }
        let nulls = csv::null_texts(&reading.columns, &guess.dialect.null_text);
        if nulls.is_empty() {
            return Ok((entry, reading));
        }
        let texts: Vec<_> = nulls.iter().map(|text| format!("`{text}`")).collect();
        if let Some(dialect) = &mut entry.csv {
            dialect.null_text.extend(nulls);
        }
        let with_nulls = read(&entry, listed, options)?;
        notes.push(format!("cells that are {} are taken for nulls", texts.join(" or ")));
        return Ok((entry, with_nulls));
    }
    Err(unclear_rows(&first_fault.unwrap_or_else(|| "the files hold no line".to_owned())))
}

/// Finds the path of the rows in JSON documents, if they are in an array inside.
fn fit_json(
    entry: Entry,
    listed: Listed,
    notes: &mut Vec<String>,
    options: &Options,
) -> Result<(Entry, Listed, Reading), ProposalError> {
    let mut first_fault = None;
    let mut whole = None;
    // Lines that are arrays are JSON, and so is NDJSON in which objects are spread over lines.
    for format in [entry.format, Some(SourceFormat::Json), Some(SourceFormat::Ndjson)] {
        if format.is_some() && !listed.inputs.iter().filter_map(Input::file).all(|file| file.format.has_envelopes()) {
            break;
        }
        let tried = Entry { format, ..entry.clone() };
        let Ok(relisted) = probe::list(&tried, options)? else { continue };
        let mut notes_of_format = Vec::new();
        let (tried, result) = read_declaring(tried, &relisted, &mut notes_of_format, options)?;
        match result {
            Ok(reading) if reading.faults.is_empty() => {
                whole = Some((tried, relisted, reading, notes_of_format));
                break;
            }
            Ok(reading) => first_fault = first_fault.or(reading.faults.into_iter().next()),
            Err(error) => first_fault = first_fault.or(Some(error.to_string())),
        }
    }
    let Some((entry, listed, reading, notes_of_rows)) = whole else {
        return Err(unclear_rows(&first_fault.unwrap_or_else(|| "no file holds rows".to_owned())));
    };
    let times = time::candidates(&reading.columns);
    let is_documents = listed.inputs.iter().filter_map(Input::file).all(|file| file.format == SourceFormat::Json)
        && reading.rows <= listed.inputs.len();
    let mut near_miss = None;
    let mut array_in_row = None;
    // Arrays in which keys look like data were declared, too.
    let arrays = envelope::paths(&reading.schema).into_iter().chain(entry.json_columns.iter().cloned());
    // A document may be an array itself.
    for path in arrays.flat_map(|path| [path.clone(), format!("[].{path}")]) {
        let is_tried = times.is_empty() || (is_documents && envelope::is_telling(&path));
        if !is_tried {
            if !path.starts_with("[]") && !entry.json_columns.contains(&path) {
                array_in_row.get_or_insert(path);
            }
            continue;
        }
        let inner = Entry { records: Some(path.clone()), json_columns: Vec::new(), ..entry.clone() };
        let mut inner_notes = Vec::new();
        let (inner, result) = read_declaring(inner, &listed, &mut inner_notes, options)?;
        let Ok(found) = result else { continue };
        if time::candidates(&found.columns).is_empty() {
            continue;
        }
        if let Some(fault) = found.faults.first() {
            near_miss.get_or_insert_with(|| fault.clone());
            continue;
        }
        notes.push(format!("each document has its rows in the array `{path}`"));
        notes.append(&mut inner_notes);
        let (inner, reading) = keep_around(inner, found, &listed, notes, options)?;
        return Ok((inner, listed, reading));
    }
    if let (true, Some(fault)) = (times.is_empty(), near_miss) {
        return Err(unclear_rows(&fault));
    }
    notes.extend(notes_of_rows);
    if let Some(path) = array_in_row {
        notes.push(format!(
            "each object is a row, and its array `{path}` a column; if the array holds the rows, set `records: {path}`"
        ));
    }
    if let Some(names) = keyed_rows(&reading) {
        notes.push(format!(
            "the objects {names} have the same fields, so they may be rows whose keys are ids: such a file is read as one \
             row; to get its rows, convert it to one object a line"
        ));
    }
    Ok((entry, listed, reading))
}

/// Reads, and declares columns as JSON whose keys look like data.
fn read_declaring(
    mut entry: Entry,
    listed: &Listed,
    notes: &mut Vec<String>,
    options: &Options,
) -> Result<(Entry, Result<Reading, SurveyError>), ProposalError> {
    let error = match probe::read(&entry, listed, options)? {
        Err(SurveyError::KeysAreData { columns, .. }) if !columns.is_empty() && entry.json_columns.is_empty() => {
            notes.push(format!("the keys in {} look like data, so each value is kept as JSON", columns.join(", ")));
            entry.json_columns = columns;
            probe::read(&entry, listed, options)?
        }
        other => other,
    };
    Ok((entry, error))
}

/// Keeps the fields around the rows, so that nothing is lost.
fn keep_around(
    entry: Entry,
    reading: Reading,
    listed: &Listed,
    notes: &mut Vec<String>,
    options: &Options,
) -> Result<(Entry, Reading), ProposalError> {
    let around = &reading.survey.schema.unexported_keys;
    if around.is_empty() {
        return Ok((entry, reading));
    }
    let mut keeping = Entry { keep: envelope::kept_names(around, &reading.schema), ..entry.clone() };
    let mut kept = match probe::read(&keeping, listed, options) {
        Ok(kept) => kept.ok().filter(|kept| kept.faults.is_empty()),
        Err(ProposalError::Run(RunError::Spec(_))) => None,
        Err(error) => return Err(error),
    };
    // No path leads to a key with a dot in it.
    let lost = kept.as_ref().map_or(around, |kept| &kept.survey.schema.unexported_keys).clone();
    if kept.is_some() && !lost.is_empty() {
        keeping.keep.retain(|(_, path)| !lost.contains(path));
        kept = Some(read(&keeping, listed, options)?);
    }
    if !lost.is_empty() {
        let names = lost.join(", ");
        notes.push(format!(
            "the fields around the rows ({names}) are not exported, because `keep` cannot name or hold them"
        ));
    }
    Ok(kept.map_or((entry, reading), |kept| (keeping, kept)))
}

/// The names of columns that are objects of the same fields, if all columns are.
fn keyed_rows(reading: &Reading) -> Option<String> {
    let fields = reading.schema.fields();
    let names = |field: &arrow::datatypes::FieldRef| match field.data_type() {
        DataType::Struct(inner) => Some(inner.iter().map(|field| field.name().clone()).collect::<Vec<_>>()),
        _ => None,
    };
    let first = names(fields.first()?)?;
    let all_alike = fields.len() > 1 && fields.iter().all(|field| names(field).as_ref() == Some(&first));
    let shown_names = || crate::diagnostic::listed_names(fields.iter().map(|field| field.name().as_str()));
    all_alike.then(shown_names)
}

/// Adds time and id, and tries the whole entry out.
fn conclude(
    mut entry: Entry,
    listed: &Listed,
    reading: &Reading,
    notes: Vec<String>,
    type_name: String,
    options: &Options,
) -> Result<Proposal, ProposalError> {
    let mut times = time::candidates(&reading.columns);
    entry.id = id::find(&reading.columns);
    let mut to_do = Vec::new();
    let mut schema = reading.schema.clone();
    let mut range = None;
    // A candidate that a run refuses after all is none.
    while let Some(first) = times.first() {
        let tried = Entry { time: Some(first.entry()), ..entry.clone() };
        let trial = probe::try_out(&tried, listed, options)?;
        if trial.fault.is_some() {
            times.remove(0);
            continue;
        }
        if trial.null_times > 0 {
            to_do.push(format!(
                "{} of {} rows read have no `{}`: a run fails for them, unless its spec says `on_null_time: reject`; if files of \
                 several kinds are mixed, inspect each kind alone",
                trial.null_times,
                reading.rows,
                first.name()
            ));
        }
        (schema, range, entry) = (trial.schema, trial.times, tried);
        break;
    }
    if entry.time.is_none() {
        to_do.push(
            "no time column was found: fill in `time: {column: …, format: …}`, without which a run is refused"
                .to_owned(),
        );
    }
    let own = |name: &str| reading.columns.iter().find(|column| column.depth == 0 && column.name() == name);
    let columns = schema.fields().iter().map(|field| ColumnNote {
        name: field.name().clone(),
        type_name: run::column(field).type_name,
        nulls: own(field.name()).map_or(0, probe::ReadColumn::nulls),
    });
    Ok(Proposal {
        columns: columns.collect(),
        type_name,
        files: Files {
            listed: listed.files,
            bytes: listed.bytes,
            read: listed.inputs.len(),
            is_whole: reading.survey.is_whole,
            skipped: listed.skipped.clone(),
        },
        notes: format_notes(listed).into_iter().chain(notes).collect(),
        certainty: time::certainty(&times),
        times,
        rows: reading.rows,
        sample: sample(reading),
        range,
        entry,
        to_do,
    })
}

/// Formats that the names or contents of the files tell, and how many files have them.
fn format_notes(listed: &Listed) -> Vec<String> {
    let mut formats: Vec<(SourceFormat, usize)> = Vec::new();
    for file in listed.inputs.iter().filter_map(Input::file) {
        match formats.iter_mut().find(|(format, _)| *format == file.format) {
            Some((_, count)) => *count += 1,
            None => formats.push((file.format, 1)),
        }
    }
    match formats.as_slice() {
        [(format, _)] => {
            let names = || listed.inputs.iter().map(|input| Extensions::of(input.name().as_ref()).named_format());
            let is_by_name = names().all(|named| named == Some(*format));
            vec![format!("{}, by the {}", format.name(), if is_by_name { "extension" } else { "content" })]
        }
        formats => {
            let each = formats.iter().map(|(format, count)| format!("{count} × {}", format.name()));
            vec![each.collect::<Vec<_>>().join(", ")]
        }
    }
}

/// The first rows, as text.
fn sample(reading: &Reading) -> Vec<Vec<Option<String>>> {
    let own: Vec<_> = reading.columns.iter().filter(|column| column.depth == 0).collect();
    let mut rows = Vec::new();
    for row in 0..SAMPLE_ROWS {
        let cells: Option<Vec<_>> = own.iter().map(|column| column.value(row)).collect();
        rows.extend(cells.filter(|cells| !cells.is_empty()));
    }
    rows
}
