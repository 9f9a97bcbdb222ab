//! Selects and orders the exported rows: `filters`, `where` and `order` over record batches.
//!
//! A [`Predicate`] is compiled once from the spec and the source's schema, which finds every mistake, and can be evaluated
//! by any number of workers. polars evaluates it over the columns that it reads, and no others. It receives arrays through
//! the Arrow C data interface and returns a selection; it parses nothing and opens nothing.
//!
//! The semantics of conditions, in `filters` and `where` alike:
//!
//! - **Null.** SQL's three-valued logic. A comparison with null is null, AND, OR and NOT are Kleene's, and a row is
//!   selected only if the whole condition is true. So `ne` and `not_in` do not select nulls; only `is_null` does.
//! - **Numbers** are compared exactly: a literal keeps all its digits and need not fit the column (for integers,
//!   `> 1.5` means `>= 2`, `= 1.5` is never true, and `< 1e30` is true of every value). Columns of integers and decimals are
//!   compared exactly with each other. If one side is a float, both are compared in binary64.
//! - **`number`**, text that keeps the digits of a number, is compared exactly with constants and with every numeric
//!   column; a float means the number that shards show. Arithmetic on it is not allowed.
//! - **`float32`.** A literal compared with such a column (or a `float16` one, which shards show as `float32`) is first
//!   rounded to binary32, as DuckDB does: `= 0.1` selects the rows that a shard shows as `0.1`. Literals beyond the range
//!   of binary32 are not rounded. Compared with other columns and in arithmetic, the value counts, not its text.
//! - **NaN** equals itself and is greater than every other number, as in PostgreSQL and DuckDB (not as in IEEE 754);
//!   `-0.0` equals `0.0`.
//! - **Text** is compared by its bytes, case-sensitively, even if it looks like a time or number: a text time column is
//!   ordered as text. Text that holds JSON is compared as the source wrote it.
//! - **Times.** A literal is RFC 3339 text, or a date, which is its first instant. For a column with a zone, a
//!   literal without an offset is in UTC; for a column without one, an offset is an error. A literal finer than the
//!   column's unit is compared exactly.
//! - **Booleans** support `=`, `<>` and IN, but have no order.
//! - **Nested and binary columns** can only be tested for null.
//! - **Arithmetic** is exact on integers and decimals up to 38 digits and fails beyond; `/` is in binary64; `%` has the
//!   sign of its dividend; division by zero is null.
//!
//! Invariant: no other module uses polars.

mod arithmetic;
mod check;
mod expr;
mod ffi;
mod filters;
mod frame;
mod kind;
mod like;
mod literal;
mod lower;
mod number_text;
#[cfg(test)]
mod oracle;
mod order;
mod sql;

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use polars::prelude::{Expr, IntoLazy, PolarsError};

use crate::diagnostic::{Diagnostic, Located};
use crate::error::ErrorCode;
use crate::job::Filter;
use crate::panics;

use expr::{Input, Inputs, Node, Origin};

pub(crate) use order::sort_permutation;

/// The names that `where` compares, of columns or paths. Empty if it is not SQL, which [`Predicate::compile`] reports.
pub(crate) fn names_in(where_sql: &Located<String>) -> Vec<String> {
    sql::names(where_sql)
}

/// Checks what can be known of a `where` before the source is read.
///
/// # Errors
/// The mistake in its syntax.
pub(crate) fn check_syntax(where_sql: &Located<String>) -> Result<(), Vec<Diagnostic>> {
    sql::check(where_sql)
}

/// The compiled `filters` and `where` of one job.
#[derive(Debug, Clone)]
pub(crate) struct Predicate {
    /// In the order of the spec, `where` last.
    tests: Vec<Test>,
    inputs: Vec<Input>,
    columns: Vec<String>,
    types: Vec<DataType>,
}

/// One filter, or `where`.
#[derive(Debug, Clone)]
enum Test {
    /// The same for all rows.
    Constant(bool),
    /// Evaluated by polars.
    Expression(Expr),
}

/// The selected rows of a batch, and the filter that excludes each of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selection {
    kept: BooleanBuffer,
    /// For each test, the rows where it is true.
    passed: Vec<BooleanBuffer>,
}

impl Selection {
    /// Combines the rows where each test is true. Kleene's AND is true only if all are, so nulls may count as false.
    pub(crate) fn of(passed: Vec<BooleanBuffer>, rows: usize) -> Self {
        let kept = passed.iter().cloned().reduce(|all, one| &all & &one);
        Self { kept: kept.unwrap_or_else(|| BooleanBuffer::new_set(rows)), passed }
    }

    /// One bit per row, set where all conditions hold.
    pub(crate) fn kept(&self) -> &BooleanBuffer {
        &self.kept
    }

    /// The first test, in the order of the spec, that is false or null for a row. `None` for a selected row.
    pub(crate) fn left_out_by(&self, row: usize) -> Option<usize> {
        self.passed.iter().position(|passed| !passed.value(row))
    }
}

impl Predicate {
    /// Compiles filters and `where` against a schema. A row must satisfy all of them. `None` if there are none.
    ///
    /// # Errors
    /// All mistakes at once: columns that the source does not have, conditions that do not fit the type of their column,
    /// and SQL that does not parse or that `where` does not allow.
    pub(crate) fn compile(
        filters: &[Filter],
        where_sql: Option<&Located<String>>,
        schema: &Schema,
    ) -> Result<Option<Self>, Vec<Diagnostic>> {
        if filters.is_empty() && where_sql.is_none() {
            return Ok(None);
        }
        let (mut inputs, mut nodes, mut mistakes) = (Inputs::default(), Vec::new(), Vec::new());
        for filter in filters {
            match filters::filter(&mut inputs, filter, schema, &mistakes) {
                Ok(node) => nodes.push((node, inputs.0.len())),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if let Some(text) = where_sql {
            match sql::condition(&mut inputs, text, schema) {
                Ok(node) => nodes.push((node, inputs.0.len())),
                Err(found) => mistakes.extend(found),
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        // No row reaches the tests after one that no row passes, so their columns are not read.
        let is_barrier = |node: &Node| matches!(node, Node::Constant(Some(false) | None));
        let reached = nodes.iter().position(|(node, _)| is_barrier(node)).map_or(nodes.len(), |barrier| barrier + 1);
        let needed = nodes.get(reached - 1).map_or(0, |(_, inputs)| *inputs);
        inputs.0.truncate(needed);
        let test = |(i, (node, _)): (usize, (Node, usize))| match node {
            Node::Constant(value) => Test::Constant(value == Some(true)),
            _ if i >= reached => Test::Constant(false),
            node => Test::Expression(lower::lower(&node, &inputs)),
        };
        let tests = nodes.into_iter().enumerate().map(test).collect();
        Ok(Some(Self::new(tests, inputs, schema)))
    }

    fn new(tests: Vec<Test>, inputs: Inputs, schema: &Schema) -> Self {
        let mut names = Vec::new();
        for input in &inputs.0 {
            match &input.origin {
                Origin::Column(name) => names.push(name.as_str()),
                Origin::Computed(arithmetic) => arithmetic.columns(&mut names),
                Origin::Compared(comparison) => comparison.columns(&mut names),
            }
        }
        let (mut columns, mut types) = (Vec::<String>::new(), Vec::new());
        for name in names {
            if let (false, Some((_, field))) = (columns.iter().any(|c| c == name), schema.column_with_name(name)) {
                columns.push(name.to_owned());
                types.push(field.data_type().clone());
            }
        }
        Self { tests, inputs: inputs.0, columns, types }
    }

    /// The source columns that the condition reads, without duplicates. Empty if the result is the same for all rows.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// How many conditions there are: one for each filter, and one for `where`.
    pub(crate) fn tests(&self) -> usize {
        self.tests.len()
    }

    /// Which rows are kept, and what leaves out the others.
    ///
    /// `rows` has at least [`Predicate::columns`], in the types of the schema that the predicate was compiled for.
    /// Runs on the calling thread and, for large batches, in polars' own pool; nothing is kept between calls.
    ///
    /// # Errors
    /// [`QueryError`] where a column is missing or of another type, arithmetic leaves its range, or polars fails or
    /// panics. Never for what a text or number holds.
    pub(crate) fn evaluate(&self, rows: &RecordBatch) -> Result<Selection, QueryError> {
        for (column, planned) in self.columns.iter().zip(&self.types) {
            let found =
                rows.column_by_name(column).ok_or_else(|| QueryError::MissingColumn { column: column.clone() })?;
            if found.data_type() != planned {
                return Err(QueryError::ColumnType {
                    column: column.clone(),
                    found: found.data_type().to_string(),
                    planned: planned.to_string(),
                });
            }
        }
        let length = rows.num_rows();
        let mut evaluated = self.evaluate_expressions(rows)?.into_iter();
        let none = || BooleanBuffer::new_unset(length);
        let passed: Vec<BooleanBuffer> = self
            .tests
            .iter()
            .map(|test| match test {
                Test::Constant(true) => BooleanBuffer::new_set(length),
                Test::Constant(false) => none(),
                Test::Expression(_) => evaluated.next().unwrap_or_else(none),
            })
            .collect();
        Ok(Selection::of(passed, length))
    }

    /// The tests that are not the same for all rows, in their order.
    fn evaluate_expressions(&self, rows: &RecordBatch) -> Result<Vec<BooleanBuffer>, QueryError> {
        let named = |(i, test): (usize, &Test)| match test {
            Test::Expression(expression) => Some(expression.clone().alias(format!("test{i}"))),
            Test::Constant(_) => None,
        };
        let expressions: Vec<Expr> = self.tests.iter().enumerate().filter_map(named).collect();
        if expressions.is_empty() || rows.num_rows() == 0 {
            return Ok(vec![BooleanBuffer::new_unset(rows.num_rows()); expressions.len()]);
        }
        guarded(|| {
            let frame = frame::frame(&self.inputs, rows)?;
            // The condition was optimized when it was compiled.
            let lazy = frame.lazy().without_optimizations().select(expressions);
            frame::selections(&lazy.collect().map_err(QueryError::Engine)?, rows.num_rows())
        })
    }
}

/// Turns a panic inside polars into a failed query, so that the worker survives.
fn guarded<T>(work: impl FnOnce() -> Result<T, QueryError>) -> Result<T, QueryError> {
    // Unwind safe: the closure only reads what it borrows, and its own values are dropped.
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|payload| Err(QueryError::Panicked { message: panics::text(&*payload) }))
}

/// Why a condition or order cannot be evaluated on the data.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueryError {
    /// The reader omitted a planned column.
    #[error("the batch has no column `{column}`")]
    MissingColumn {
        /// The column.
        column: String,
    },
    /// The reader returned a type that was not planned.
    #[error("column `{column}` is {found}, but {planned} was planned")]
    ColumnType {
        /// The column.
        column: String,
        /// Arrow type in the batch.
        found: String,
        /// Arrow type in the schema.
        planned: String,
    },
    /// A value does not fit its storage.
    #[error("column `{column}` cannot be converted for the query")]
    Convert {
        /// The column.
        column: String,
        /// The cause.
        source: ArrowError,
    },
    /// A result has more than 38 digits.
    #[error("the arithmetic in `where` exceeds 38 digits; divide or compare smaller terms")]
    Arithmetic(#[source] ArrowError),
    /// polars does not accept an array.
    #[error("column `{column}` cannot be passed to the query engine: {why}")]
    Import {
        /// Input name.
        column: String,
        /// The cause.
        why: String,
    },
    /// polars returned an error.
    #[error("the query engine failed")]
    Engine(#[source] PolarsError),
    /// polars panicked.
    #[error("the query engine panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// polars returned something else than a selection.
    #[error("the query engine did not return one boolean per row: {what}")]
    Unexpected {
        /// What.
        what: String,
    },
    /// The rows cannot be sorted.
    #[error("rows cannot be ordered by `{column}`: {why}")]
    Order {
        /// The column.
        column: String,
        /// The cause.
        why: String,
    },
}

impl QueryError {
    /// The error code in manifests.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::MissingColumn { .. } | Self::ColumnType { .. } => ErrorCode::SchemaMismatch,
            Self::Arithmetic(_) | Self::Engine(_) | Self::Convert { .. } | Self::Order { .. } => ErrorCode::QueryFailed,
            Self::Import { .. } | Self::Panicked { .. } | Self::Unexpected { .. } => ErrorCode::Internal,
        }
    }
}

#[cfg(test)]
mod tests;
