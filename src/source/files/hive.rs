//! Hive partitioning: `k=v` folders as constants of the files below.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, Field, Schema};

use crate::source::Input;

/// The folder value that Hive writes for null.
const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// Why folders cannot become columns although the catalog requests it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HiveError {
    /// A file column and a folder key of one name.
    #[error(
        "column {column} is both in the files and in the folder names of {file}; set `hive_partitioning: false` to read the files' column alone"
    )]
    AlsoInFile {
        /// The name.
        column: String,
        /// A file with such a folder.
        file: String,
    },
    /// A key twice in one path.
    #[error("{file} has the folder key {column} twice; set `hive_partitioning: false`, or rename a folder")]
    Twice {
        /// The key.
        column: String,
        /// The file.
        file: String,
    },
}

/// The `k=v` folders of a relative name, percent-decoded, from the outermost; the null marker becomes `None`.
pub(crate) fn keys_of(name: &str) -> Vec<(String, Option<String>)> {
    let folders = name.rsplit_once('/').map_or("", |(folders, _)| folders);
    let pairs = folders.split('/').filter_map(|segment| segment.split_once('='));
    let value = |text: &str| (text != NULL_PARTITION).then(|| percent_decode(text));
    pairs.filter(|(key, _)| !key.is_empty()).map(|(key, text)| (percent_decode(key), value(text))).collect()
}

/// Decodes `%41` to `A`. Invalid escapes stay unchanged, and so does text that would not decode to UTF-8, as in Spark.
fn percent_decode(text: &str) -> String {
    let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

/// The columns from the folders of a source, in order of first appearance.
///
/// `setting` is the catalog's `hive_partitioning`. With `None`, there are columns only if every file has the same keys, once
/// each, and `file_columns` (the columns of all files) contains none of them. With `Some(true)`, every key of any file is a
/// column, and a file without the key has null.
///
/// # Errors
/// [`HiveError`], only with `Some(true)`.
pub(crate) fn columns(inputs: &[Input], setting: Option<bool>, file_columns: &Schema) -> Result<Vec<Field>, HiveError> {
    if setting == Some(false) {
        return Ok(Vec::new());
    }
    let mut keys: Vec<&str> = Vec::new();
    let mut uniform = true;
    let first: BTreeSet<&str> =
        inputs.first().map(|f| f.constants().iter().map(|(k, _)| k.as_str()).collect()).unwrap_or_default();
    for input in inputs {
        let mut own = BTreeSet::new();
        for (key, _) in input.constants() {
            if !own.insert(key.as_str()) {
                if setting.is_none() {
                    return Ok(Vec::new());
                }
                return Err(HiveError::Twice { column: key.clone(), file: input.name().to_owned() });
            }
            if file_columns.column_with_name(key).is_some() {
                if setting.is_none() {
                    return Ok(Vec::new());
                }
                return Err(HiveError::AlsoInFile { column: key.clone(), file: input.name().to_owned() });
            }
            if !keys.contains(&key.as_str()) {
                keys.push(key);
            }
        }
        uniform &= own == first;
    }
    if setting.is_none() && !uniform {
        return Ok(Vec::new());
    }
    Ok(keys.into_iter().map(|key| Field::new(key, DataType::Utf8View, true)).collect())
}

#[cfg(test)]
pub(in crate::source) mod tests {
    use super::*;
    use crate::job::SourceCompression;
    use crate::job::SourceFormat;
    use crate::source::SourceFile;

    /// A CSV file of a name, with the constants of its folders.
    pub(in crate::source) fn input(name: &str) -> Input {
        Input::File(SourceFile {
            at: std::path::PathBuf::from(name).into(),
            name: name.to_owned(),
            bytes: 0,
            modified: jiff::Timestamp::UNIX_EPOCH,
            etag: None,
            format: SourceFormat::Csv,
            compression: SourceCompression::None,
            compression_is_declared: false,
            constants: keys_of(name),
        })
    }

    fn names(files: &[&str], setting: Option<bool>, file_columns: &[&str]) -> Result<Vec<String>, HiveError> {
        let files: Vec<_> = files.iter().map(|n| input(n)).collect();
        let fields: Vec<_> = file_columns.iter().map(|c| Field::new(*c, DataType::Int32, true)).collect();
        columns(&files, setting, &Schema::new(fields)).map(|f| f.into_iter().map(|f| f.name().clone()).collect())
    }

    #[test]
    fn folders_are_decoded_and_file_names_are_not_keys() {
        let pairs = |name| keys_of(name).into_iter().map(|(k, v)| format!("{k}:{}", v.unwrap())).collect::<Vec<_>>();
        assert_eq!(pairs("region=eu/d%3D1=a%2Fb%20c/x=y.csv"), ["region:eu", "d=1:a/b c"]);
        assert_eq!(pairs("a=b=c/=x/plain/k=/f.csv"), ["a:b=c", "k:"]);
        assert_eq!(pairs("k=100%/k2=%zz%4/k3=%ff/f.csv"), ["k:100%", "k2:%zz%4", "k3:%ff"]);
        assert_eq!(pairs("k=v.csv"), [""; 0]);
    }

    #[test]
    fn automatic_columns_need_the_same_keys_everywhere_and_no_column_of_that_name() {
        assert_eq!(names(&["r=eu/y=1/a", "r=us/y=2/a"], None, &["x"]), Ok(vec!["r".into(), "y".into()]));
        assert_eq!(names(&["r=eu/a", "a"], None, &[]), Ok(vec![]));
        assert_eq!(names(&["r=eu/a", "r=us/y=2/a"], None, &[]), Ok(vec![]));
        assert_eq!(names(&["r=eu/a"], None, &["r"]), Ok(vec![]));
        assert_eq!(names(&["r=eu/r=us/a"], None, &[]), Ok(vec![]));
        assert_eq!(names(&["r=eu/a"], Some(false), &[]), Ok(vec![]));
        assert_eq!(names(&[], None, &[]), Ok(vec![]));
    }

    #[test]
    fn demanded_columns_are_the_union_and_conflicts_are_errors() {
        assert_eq!(names(&["r=eu/a", "y=2/a"], Some(true), &[]), Ok(vec!["r".into(), "y".into()]));
        assert!(matches!(names(&["r=eu/a"], Some(true), &["r"]), Err(HiveError::AlsoInFile { .. })));
        assert!(matches!(names(&["r=eu/r=us/a"], Some(true), &[]), Err(HiveError::Twice { .. })));
    }
}
