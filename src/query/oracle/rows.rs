//! Batches of every type that the oracle knows, with their cells and the literals to compare them with.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::Int32Type;
use arrow::record_batch::RecordBatch;

/// A value as the oracle sees it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Null,
    Bool(bool),
    /// Mantissa and scale.
    Exact(i128, i32),
    Float(f64),
    Text(String),
    /// Nanoseconds.
    Nanos(i128),
    /// Not null, and nothing else is known.
    Some,
}

use Cell::{Bool, Exact, Float, Nanos, Null};

fn text(value: &str) -> Cell {
    Cell::Text(value.to_owned())
}

/// 2026-03-01T00:00:00Z.
const MARCH: i128 = 1_772_323_200 * SECOND;
const SECOND: i128 = 1_000_000_000;
const DAY: i128 = 86_400 * SECOND;

/// Column names; the pools of their cells and literals are below.
pub(super) const COLUMNS: [&str; 23] = [
    "i8", "i32", "u32", "i64", "u64", "f32", "f64", "d9_2", "d38_10", "d64_3", "tens", "bool", "text", "large", "dict",
    "ts_s", "ts_us", "ts_ns", "naive_ms", "date", "time", "list", "nothing",
];

fn cells(column: &str) -> Vec<Cell> {
    let mut cells: Vec<Cell> = match column {
        "i8" => [-128, -2, -1, 0, 1, 2, 127].map(|v| Exact(v, 0)).into(),
        "i32" => [i32::MIN.into(), -1, 0, 1, 2, i32::MAX.into()].map(|v| Exact(v, 0)).into(),
        "u32" => [0, 1, 2, u32::MAX.into()].map(|v| Exact(v, 0)).into(),
        "i64" => [i64::MIN.into(), -1, 0, 1, 2, 1 << 53, (1 << 53) + 1, i64::MAX.into()].map(|v| Exact(v, 0)).into(),
        "u64" => [0, 1, 2, i64::MAX.into(), u64::MAX.into()].map(|v| Exact(v, 0)).into(),
        "f32" => [-1.5, -0.0, 0.0, 0.1f32.into(), 1.0, 2.0, f64::INFINITY, f64::NAN].map(Float).into(),
        "f64" => [f64::NEG_INFINITY, -1.5, -0.0, 0.0, 0.1, 1.0, 2.0, 9007199254740992.0, f64::NAN].map(Float).into(),
        "d9_2" => [-999_999_999, -150, 0, 1, 10, 100, 150, 200].map(|v| Exact(v, 2)).into(),
        "d38_10" => {
            [-10i128.pow(30), 0, 1, 15_000_000_000, 20_000_000_000, 10i128.pow(30)].map(|v| Exact(v, 10)).into()
        }
        "d64_3" => [-1, 0, 1500, 2000, 9_999_999_999].map(|v| Exact(v, 3)).into(),
        "tens" => [-1, 0, 1, 2, 999].map(|v| Exact(v, -2)).into(),
        "bool" => vec![Bool(true), Bool(false)],
        "text" | "large" | "dict" => {
            let long = "a text that is too long for a view";
            ["", "a", "A", "ab", "b%", "a_b", "ä", "x\ny", "7", "a.b", long].map(text).into()
        }
        "ts_s" => [-SECOND, 0, MARCH, MARCH + SECOND].map(Nanos).into(),
        "ts_us" => [-1000, 0, MARCH - 1000, MARCH, MARCH + 1000].map(Nanos).into(),
        "ts_ns" => [-1, 0, MARCH - 1, MARCH, MARCH + 1].map(Nanos).into(),
        "naive_ms" => [-1_000_000, 0, MARCH - 1_000_000, MARCH, MARCH + 1_000_000].map(Nanos).into(),
        "date" => [-DAY, 0, MARCH, MARCH + DAY].map(Nanos).into(),
        "time" => [0, 1000, 43_200 * SECOND, 43_200 * SECOND + 1000].map(Nanos).into(),
        "list" => vec![Cell::Some],
        _ => vec![],
    };
    cells.push(Null);
    cells
}

/// Literals as SQL writes them, with what they mean.
pub(super) fn literals(column: &str) -> Vec<(String, Cell)> {
    let number = |text: &str, mantissa: i128, scale: i32| (text.to_owned(), Exact(mantissa, scale));
    let quoted = |text: &str, cell: Cell| (format!("'{text}'"), cell);
    match column {
        "bool" => vec![("TRUE".into(), Bool(true)), ("false".into(), Bool(false))],
        "text" | "large" | "dict" => ["", "a", "A", "b%", "ä", "zz"].iter().map(|t| quoted(t, text(t))).collect(),
        "ts_s" | "ts_us" | "ts_ns" => vec![
            quoted("2026-03-01T00:00:00Z", Nanos(MARCH)),
            quoted("2026-03-01T01:00:00+01:00", Nanos(MARCH)),
            quoted("2026-03-01 00:00:00", Nanos(MARCH)),
            quoted("2026-03-01", Nanos(MARCH)),
            ("TIMESTAMP '2026-03-01 00:00:00.000000001'".into(), Nanos(MARCH + 1)),
            ("DATE '1970-01-01'".into(), Nanos(0)),
            quoted("1969-12-31T23:59:59.9999995Z", Nanos(-500)),
            quoted("9999-12-30T00:00:00Z", Nanos(253_402_128_000 * SECOND)),
            quoted("-009998-01-01T00:00:00Z", Nanos(-377_673_580_800 * SECOND)),
        ],
        "naive_ms" => vec![
            quoted("2026-03-01T00:00:00", Nanos(MARCH)),
            quoted("2026-03-01", Nanos(MARCH)),
            quoted("1969-12-31T23:59:59.9995", Nanos(-500_000)),
        ],
        "date" => vec![
            quoted("2026-03-01", Nanos(MARCH)),
            ("DATE '1970-01-01'".into(), Nanos(0)),
            quoted("2026-03-01T12:00:00", Nanos(MARCH + DAY / 2)),
        ],
        "time" => vec![quoted("12:00:00", Nanos(43_200 * SECOND)), quoted("00:00:00.0000005", Nanos(500))],
        "list" => vec![],
        "nothing" => vec![number("1", 1, 0), quoted("x", text("x"))],
        // The numbers that are nearest in binary32, written as such.
        "f32" => vec![
            ("0".into(), Float(0.0)),
            ("-1.5".into(), Float(-1.5)),
            ("0.1".into(), Float(0.1f32.into())),
            ("2".into(), Float(2.0)),
            ("9007199254740993".into(), Float(9007199254740992.0)),
            ("1e39".into(), Float(1e39)),
        ],
        "f64" => vec![
            number("0", 0, 0),
            number("-1.5", -15, 1),
            number("0.1", 1, 1),
            number("2", 2, 0),
            number("9007199254740993", 9_007_199_254_740_993, 0),
        ],
        _ => vec![
            number("0", 0, 0),
            number("1", 1, 0),
            number("-1", -1, 0),
            number("1.5", 15, 1),
            number("1.50", 15, 1),
            number("-1.5", -15, 1),
            number("0.001", 1, 3),
            number("127", 127, 0),
            number("128", 128, 0),
            number("-129", -129, 0),
            number("2147483648", 1 << 31, 0),
            number("9007199254740993", (1 << 53) + 1, 0),
            number("9223372036854775807", i64::MAX.into(), 0),
            number("18446744073709551615", u64::MAX.into(), 0),
            number("18446744073709551616", i128::from(u64::MAX) + 1, 0),
            number("-1e25", -10i128.pow(25), 0),
            number("9007199254740992.5", 90_071_992_547_409_925, 1),
        ],
    }
}

fn array(column: &str, cells: &[Cell]) -> ArrayRef {
    let exact = |cell: &Cell| if let Exact(v, _) = cell { Some(*v) } else { None };
    let float = |cell: &Cell| if let Float(v) = cell { Some(*v) } else { None };
    let nanos = |cell: &Cell, unit: i128| if let Nanos(v) = cell { Some(v.div_euclid(unit)) } else { None };
    let string = |cell: &Cell| if let Cell::Text(v) = cell { Some(v.clone()) } else { None };
    let decimal = |precision, scale| {
        let array: Decimal128Array = cells.iter().map(exact).collect();
        Arc::new(array.with_precision_and_scale(precision, scale).unwrap()) as ArrayRef
    };
    macro_rules! integers {
        ($array:ty, $native:ty) => {
            Arc::new(cells.iter().map(|c| exact(c).map(|v| v as $native)).collect::<$array>())
        };
    }
    macro_rules! times {
        ($array:ty, $native:ty, $unit:expr) => {
            cells.iter().map(|c| nanos(c, $unit).map(|v| v as $native)).collect::<$array>()
        };
    }
    match column {
        "i8" => integers!(Int8Array, i8),
        "i32" => integers!(Int32Array, i32),
        "u32" => integers!(UInt32Array, u32),
        "i64" => integers!(Int64Array, i64),
        "u64" => integers!(UInt64Array, u64),
        "f32" => Arc::new(cells.iter().map(|c| float(c).map(|v| v as f32)).collect::<Float32Array>()),
        "f64" => Arc::new(cells.iter().map(float).collect::<Float64Array>()),
        "d9_2" => decimal(9, 2),
        "d38_10" => decimal(38, 10),
        "d64_3" => {
            let array: Decimal64Array = cells.iter().map(|c| exact(c).map(|v| v as i64)).collect();
            Arc::new(array.with_precision_and_scale(10, 3).unwrap())
        }
        "tens" => decimal(5, -2),
        "bool" => {
            Arc::new(cells.iter().map(|c| if let Bool(v) = c { Some(*v) } else { None }).collect::<BooleanArray>())
        }
        "text" => Arc::new(cells.iter().map(string).collect::<StringViewArray>()),
        "large" => Arc::new(cells.iter().map(string).collect::<LargeStringArray>()),
        "dict" => {
            let texts: Vec<_> = cells.iter().map(string).collect();
            Arc::new(texts.iter().map(|t| t.as_deref()).collect::<DictionaryArray<Int32Type>>())
        }
        "ts_s" => Arc::new(times!(TimestampSecondArray, i64, SECOND).with_timezone("UTC")),
        "ts_us" => Arc::new(times!(TimestampMicrosecondArray, i64, 1000).with_timezone("Europe/Berlin")),
        "ts_ns" => Arc::new(times!(TimestampNanosecondArray, i64, 1).with_timezone("UTC")),
        "naive_ms" => Arc::new(times!(TimestampMillisecondArray, i64, 1_000_000)),
        "date" => Arc::new(times!(Date32Array, i32, DAY)),
        "time" => Arc::new(times!(Time64MicrosecondArray, i64, 1000)),
        "list" => {
            let lists = cells.iter().map(|c| if *c == Null { None } else { Some(vec![Some(1), None]) });
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))
        }
        _ => Arc::new(NullArray::new(cells.len())),
    }
}

/// Rows of cells, by column.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    cells: Vec<Vec<Cell>>,
    pub(super) batch: RecordBatch,
}

impl Rows {
    /// Each number chooses a cell from its column's pool; a leading row is cut off, so that arrays have offsets.
    pub(super) fn new(choices: &[Vec<usize>]) -> Self {
        let cells: Vec<Vec<Cell>> = COLUMNS
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let pool = cells(name);
                let chosen = choices.iter().map(|row| pool[row[index] % pool.len()].clone());
                [pool[0].clone()].into_iter().chain(chosen).collect()
            })
            .collect();
        let arrays = COLUMNS.iter().zip(&cells).map(|(name, cells)| (*name, array(name, cells), true));
        let batch = RecordBatch::try_from_iter_with_nullable(arrays).unwrap();
        let cells = cells.into_iter().map(|c| c[1..].to_vec()).collect();
        Self { cells, batch: batch.slice(1, choices.len()) }
    }

    /// Every cell of every pool once at least.
    pub(super) fn all() -> Self {
        Self::new(&(0..24).map(|row| vec![row; COLUMNS.len()]).collect::<Vec<_>>())
    }

    pub(super) fn cell(&self, column: &str, row: usize) -> &Cell {
        &self.cells[COLUMNS.iter().position(|c| *c == column).unwrap()][row]
    }
}
